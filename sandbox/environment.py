"""The environment of everything that runs in a sandbox: nothing of the user's logins, projects or clusters is in it.

It is an allow-list, so that a credential variable nobody thought of does not leak in.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from sandbox.paths import HOME_VARIABLE, Home, write_atomically

_KEPT = ("COLORTERM", "LANG", "LOGNAME", "NO_COLOR", "SHELL", "TERM", "TMPDIR", "TZ", "USER")


def environment(home: Home, stack: str, ambient: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The complete environment for pulumi, its plugins, the emulators and shells of this sandbox.

    `ambient` is the user's environment, of which only what names no account, project or server is kept.
    """
    kept = {name: value for name, value in ambient.items() if name in _KEPT or name.startswith("LC_")}
    return kept | {
        HOME_VARIABLE: str(home.root),
        "HOME": str(home.user),
        "PATH": os.pathsep.join([str(home.bin), user_path(ambient)]),
        "KUBECONFIG": str(home.kubeconfig),
        # An API server starts with a third less work when Go collects its garbage less often; it takes 0.4 GB more.
        "GOGC": "400",
        "CLOUDSDK_CONFIG": str(home.user / "gcloud"),
        "HELM_CACHE_HOME": str(home.user / "helm" / "cache"),
        "HELM_CONFIG_HOME": str(home.user / "helm" / "config"),
        "HELM_DATA_HOME": str(home.user / "helm" / "data"),
        "PULUMI_HOME": str(home.pulumi_home),
        "PULUMI_BACKEND_URL": home.state.as_uri(),
        "PULUMI_CONFIG_PASSPHRASE_FILE": str(home.passphrase),
        "PULUMI_STACK": stack,
        # Every command's --config-file: the engine reads the prepared copy.
        "PULUMI_OPTION_CONFIG_FILE": str(home.stack_file(stack)),
        "PULUMI_CREDENTIAL_STORE": "plaintext",
        # Gives --event-log to the operations.
        "PULUMI_DEBUG_COMMANDS": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        "PULUMI_DIY_BACKEND_DISABLE_CHECKPOINT_BACKUPS": "true",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
    }


def user_path(ambient: Mapping[str, str] = os.environ) -> str:
    """The user's PATH, without the programs of a sandbox whose shell we may be in."""
    outer = ambient.get(HOME_VARIABLE)
    own = str(Home(Path(outer)).bin) if outer else None
    return os.pathsep.join(
        entry for entry in ambient.get("PATH", os.defpath).split(os.pathsep) if entry and entry != own
    )


def make_directories(home: Home) -> None:
    """Make the home's folders, closed to other users, and its passphrase, once."""
    home.root.mkdir(parents=True, exist_ok=True)
    home.root.chmod(0o700)
    for directory in (home.bin, home.state, home.pulumi_home, home.logs, home.user):
        directory.mkdir(exist_ok=True)
    for directory in (home.stacks, home.events):
        (directory / home.project).mkdir(parents=True, exist_ok=True)
    if not home.passphrase.exists():
        write_atomically(home.passphrase, secrets.token_urlsafe(32))
