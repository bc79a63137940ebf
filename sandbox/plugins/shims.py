"""The programs of a sandbox: small scripts in its bin folder and in the engine's plugin folder.

Stand-ins are made only for what is not installed, where the real ones would be: a plugin on the user's PATH, which the
engine prefers, is used as it is.
"""

from __future__ import annotations

import os
import shlex
import shutil
from importlib.metadata import version
from pathlib import Path

from sandbox.environment import user_path
from sandbox.paths import HOME_VARIABLE, PROGRAM_VARIABLE, REPOSITORY, Home
from sandbox.processes import fork_command
from sandbox.toolchain.build import Toolchain
from sandbox.toolchain.cache import cache

_PROVIDERS = {
    "gcp": "sandbox.plugins.gcp",
    "kubernetes": "sandbox.plugins.kubernetes.provider",
    "random": "sandbox.plugins.random",
}
# The environment selects a stack and its settings for one program: the program of another folder has its own.
_OWN_STACK_ONLY = f"""\
folder=. next=
for argument; do
  [ -z "$next" ] || folder=$argument
  next=
  case $argument in
    -C | --cwd) next=folder ;;
    -C?*) folder=${{argument#-C}} ;;
    --cwd=*) folder=${{argument#--cwd=}} ;;
  esac
done
folder=$(cd "$folder" 2>/dev/null && pwd -P)
while [ "${{folder:-/}}" != / ]; do
  [ ! -e "$folder/Pulumi.yaml" ] && [ ! -e "$folder/Pulumi.yml" ] && [ ! -e "$folder/Pulumi.json" ] || break
  folder=$(dirname "$folder")
done
[ "$folder" = "${PROGRAM_VARIABLE}" ] || unset PULUMI_STACK PULUMI_OPTION_CONFIG_FILE
"""
# Emulated even where the real one is installed: that one would ask Google.
_ALWAYS_EMULATED = "gcp"


def write_shims(home: Home, toolchain: Toolchain) -> list[str]:
    """Make the home's programs and plugins; returns the names of the stand-ins among them."""
    shutil.rmtree(home.bin, ignore_errors=True)
    programs = {"pulumi": toolchain.pulumi, "helm": toolchain.helm, "kubectl": toolchain.kubectl}
    for name, program in programs.items():
        before = _OWN_STACK_ONLY if name == "pulumi" else ""
        _write(home.bin / name, [str(link_program(home, name, program))], before)
    stand_ins = ["gke-gcloud-auth-plugin"]
    _write(home.bin / stand_ins[0], _module(home, "sandbox.plugins.auth_plugin"))
    if not toolchain.language_host:
        stand_ins.append("pulumi-language-python")
        _write_language_host(home, toolchain)
    for package, module in _PROVIDERS.items():
        real_is_fine = package != _ALWAYS_EMULATED
        program = f"pulumi-resource-{package}"
        if real_is_fine and shutil.which(program, path=user_path()):
            continue
        name = f"resource-{package}-v{version(f'pulumi-{package}')}"
        real = _user_plugins() / name
        plugin = home.plugins / name
        shutil.rmtree(plugin, ignore_errors=True)
        if real_is_fine and (real / program).exists():
            # A folder of links and not a link to the folder, which the engine would skip.
            plugin.mkdir(parents=True)
            for entry in real.iterdir():
                (plugin / entry.name).symlink_to(entry.resolve())
            continue
        stand_ins.append(program)
        # The engine prefers PATH to its plugin folder: the stand-in goes before a real gcp plugin of the user's there.
        target = (
            home.bin if package == _ALWAYS_EMULATED and shutil.which(program, path=user_path()) else plugin
        )
        _write(target / program, _module(home, module))
    return stand_ins


def link_program(home: Home, name: str, program: Path) -> Path:
    """A link in the home to run a binary by, as that tells which sandbox's process it is."""
    home.programs.mkdir(exist_ok=True)
    link = home.programs / name
    link.unlink(missing_ok=True)
    link.symlink_to(program)
    return link


def _user_plugins() -> Path:
    return Path(os.environ.get("PULUMI_HOME", Path.home() / ".pulumi")) / "plugins"


def _write_language_host(home: Home, toolchain: Toolchain) -> None:
    """Give the engine its language host.

    The engine looks beside its own binary, which sandboxes share, and on PATH, with a warning at every run. So the
    file beside a Pulumi of ours only passes on to the sandbox it is called in.
    """
    _write(home.language_host, _module(home, "sandbox.plugins.language_host"))
    beside = toolchain.pulumi.resolve().parent
    if not beside.is_relative_to(cache().resolve()):
        _write(home.bin / home.language_host.name, [str(home.language_host)])
        return
    relative = home.language_host.relative_to(home.root)
    unfinished = beside / f".{home.language_host.name}-{os.getpid()}"
    unfinished.write_text(f'#!/bin/sh\nexec "${{{HOME_VARIABLE}:?}}/{relative}" "$@"\n')
    unfinished.chmod(0o755)
    unfinished.rename(beside / home.language_host.name)


def _module(home: Home, module: str) -> list[str]:
    return ["env", f"PYTHONPATH={REPOSITORY}", *fork_command(home, module)]


def _write(shim: Path, command: list[str], before: str = "") -> None:
    shim.parent.mkdir(parents=True, exist_ok=True)
    shim.write_text(f'#!/bin/sh\n{before}exec {shlex.join(command)} "$@"\n')
    shim.chmod(0o755)
