"""Runs the helm binary against a cluster; neither kubeconfig nor values stay on disk."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from sandbox.errors import SandboxError
from sandbox.plugins.kubernetes.cluster import Cluster, private_directory

# The real provider carries Helm in its own process: whatever kills it ends Helm at once, with a pending release.
_MORTAL = (
    "import ctypes, os, sys; libc = ctypes.CDLL(None); "
    "hasattr(libc, 'prctl') and libc.prctl(1, 9); os.execvp(sys.argv[1], sys.argv[1:])"
)


class HelmError(SandboxError):
    """What helm said when it failed."""


def helm(arguments: list[str], *, stdin: str = "", cancelled: threading.Event | None = None) -> str:
    """Helm's standard output; raises HelmError with its whole error text.

    A set `cancelled` interrupts helm, which then marks the release as failed.
    """
    if not shutil.which("helm"):
        raise HelmError("there is no helm on PATH: run this through the sandbox (`make up`, `make shell`).")
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _MORTAL, "helm", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    given: str | None = stdin
    while True:
        try:
            output, errors = process.communicate(given, timeout=1)
            break
        except subprocess.TimeoutExpired:
            given = None
            if cancelled and cancelled.is_set():
                process.terminate()
    if process.returncode < 0:  # what it and the credential plugin printed before is no cause
        raise HelmError(
            f"Helm was ended by {signal.Signals(-process.returncode).name} before it was done: the machine ran out of "
            "memory, or somebody ended it. Run `pulumi up` again: it goes on from what Helm left."
        )
    if process.returncode:
        # The SDK's errors are without the warnings before them and the command's own words.
        said = re.sub(
            r"^(INSTALLATION|UPGRADE) FAILED: ", "", f"\n{errors.strip()}".rpartition("\nError: ")[2]
        )
        raise HelmError(
            said.strip()
            or f"Helm ended with code {process.returncode} and said nothing. Run `pulumi up` again."
        )
    return output


def helm_on(
    cluster: Cluster,
    namespace: str,
    arguments: list[str],
    *,
    stdin: str = "",
    cancelled: threading.Event | None = None,
) -> str:
    """`helm` on a cluster and namespace."""
    with _kubeconfig(cluster) as path:
        where = ["--kubeconfig", path, "--namespace", namespace]
        return helm([*arguments, *where], stdin=stdin, cancelled=cancelled)


def live_release(cluster: Cluster, namespace: str, name: str) -> dict[str, Any] | None:
    """The newest revision of a release as helm keeps it (info, config, manifest, hooks, version), or None."""
    try:
        return json.loads(helm_on(cluster, namespace, ["status", name, "--output", "json"]))
    except HelmError as error:
        if "release: not found" in str(error):
            return None
        raise


@contextmanager
def _kubeconfig(cluster: Cluster) -> Generator[str]:
    descriptor, path = tempfile.mkstemp(prefix="kubeconfig-", dir=private_directory())
    try:
        with open(descriptor, "w") as file:
            file.write(cluster.kubeconfig)
        yield path
    finally:
        os.unlink(path)
