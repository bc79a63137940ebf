"""The programs of a sandbox: small scripts in its bin folder, first on PATH.

Stand-ins are put there only for what is not installed: the engine takes an executable on PATH before a plugin of the
user's, so a stand-in beside the real one would hide it.
"""

from __future__ import annotations

import os
import shlex
import shutil
from importlib.metadata import version
from pathlib import Path

from sandbox.environment import user_path
from sandbox.paths import REPOSITORY, Home
from sandbox.processes import python_command
from sandbox.toolchain import Toolchain


def write_shims(home: Home, toolchain: Toolchain) -> list[str]:
    """Fill the home's bin folder and link the user's provider plugins of the exact version into its Pulumi home.

    Returns the names of what is stood in for.
    """
    shutil.rmtree(home.bin, ignore_errors=True)
    home.bin.mkdir()
    programs = {"pulumi": toolchain.pulumi, "helm": toolchain.helm}
    if kubectl := shutil.which("kubectl", path=user_path()):
        programs["kubectl"] = Path(kubectl)
    for name, program in programs.items():
        _write(home, name, [str(program)])

    stand_ins = {
        "gke-gcloud-auth-plugin": "sandbox.auth_plugin",
        "pulumi-resource-gcp": "sandbox.providers.gcp",
    }
    if not toolchain.language_host:
        stand_ins["pulumi-language-python"] = "sandbox.language_host"
    for package in ("kubernetes", "random"):
        if not _installed(home, package):
            stand_ins[f"pulumi-resource-{package}"] = f"sandbox.providers.{package}"
    for name, module in stand_ins.items():
        _write(home, name, ["env", f"PYTHONPATH={REPOSITORY}", *python_command(home, module)])
    return sorted(stand_ins)


def _installed(home: Home, package: str) -> bool:
    """Whether the real provider is there: on PATH, or in the user's plugin folder, from where it is linked."""
    if shutil.which(f"pulumi-resource-{package}", path=user_path()):
        return True
    name = f"resource-{package}-v{version(f'pulumi-{package}')}"
    plugins = Path(os.environ.get("PULUMI_HOME", Path.home() / ".pulumi")) / "plugins"
    link = home.pulumi_home / "plugins" / name
    link.unlink(missing_ok=True)
    if not (plugins / name / f"pulumi-resource-{package}").exists():
        return False
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(plugins / name)
    return True


def _write(home: Home, name: str, command: list[str]) -> None:
    shim = home.bin / name
    shim.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
    shim.chmod(0o755)
