"""The operators' CRDs: fetched once from their own Go modules, and served by the control plane.

On GKE they arrive with the operators' charts. The contract charts do not carry them (they are megabytes), so
the sandbox installs them at its start, and the program's edge "CRD served" is not proven with these. Other charts
(`--charts upstream`, `--charts FOLDER`) bring them. Each group of crds.json names its chart. `operator` stands where the
proxy has no module of the operator's version: what the CRDs of an older module stand for.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml

from sandbox.charts.compare import Crds
from sandbox.cluster.client import Client
from sandbox.errors import SandboxError
from sandbox.paths import Home
from sandbox.toolchain.cache import cache, fingerprint, locked, workspace
from sandbox.toolchain.golang import go_command

PINS = Path(__file__).with_suffix(".json")

_SERVED_TIMEOUT = 30.0  # seconds
_DOCUMENT = re.compile(r"^---\s*$", re.MULTILINE)
_NAME = re.compile(r"^  name: (?P<plural>[a-z]+)\.(?P<group>[a-z.-]+)$", re.MULTILINE)
_DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


def fetch_crds(home: Home) -> None:
    """Have every group's CRDs in the home, downloading what this machine does not have yet.

    Raises SandboxError when a module cannot be had or is not the pinned one.
    """
    home.crds.mkdir(parents=True, exist_ok=True)
    for group, pin in json.loads(PINS.read_text()).items():
        link = home.crds / f"{group}.yaml"
        link.unlink(missing_ok=True)
        link.symlink_to(_cached(group, pin))


def install_crds(api: Client, home: Home) -> None:
    """Apply every CRD and wait until the API server serves them. Needs `fetch_crds(home)` before.

    Raises SandboxError when they are not served in time.
    """
    manifests = _manifests(home)
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: api.apply(path + name, manifests[name].encode()), manifests))
    deadline = time.monotonic() + _SERVED_TIMEOUT
    while missing := set(manifests) - _served(api):
        if time.monotonic() > deadline:
            raise SandboxError(
                f"CRDs that are not served {_SERVED_TIMEOUT:.0f} s after they were applied: {', '.join(sorted(missing))}. "
                "Run the same command again; if it stays so, the log of kube-apiserver says why."
            )
        time.sleep(0.1)


def crds_served(api: Client, home: Home) -> bool:
    """Whether the API server serves every CRD. Needs `fetch_crds(home)` before."""
    return set(_manifests(home)) <= _served(api)


def of_chart(home: Home, chart: str) -> Crds | None:
    """What the sandbox serves in a chart's stead, None where the chart has no CRDs. Needs `fetch_crds(home)` before."""
    for group, pin in json.loads(PINS.read_text()).items():
        if pin["chart"] == chart:
            documents = yaml.load_all((home.crds / f"{group}.yaml").read_text(), Loader=yaml.CSafeLoader)
            definitions = {document["metadata"]["name"]: document for document in documents if document}
            return Crds(version=pin["version"], definitions=definitions)
    return None


def _manifests(home: Home) -> dict[str, str]:
    """Every CRD, as YAML by its name."""
    documents = (
        document
        for group in json.loads(PINS.read_text())
        for document in _DOCUMENT.split((home.crds / f"{group}.yaml").read_text())
        if document.strip()
    )
    return {_name(document): document for document in documents}


def _name(manifest: str) -> str:
    found = _NAME.search(manifest)
    if not found:
        raise SandboxError(f"a CRD without a name in the pinned modules of {PINS.name}")
    return f"{found['plural']}.{found['group']}"


def _served(api: Client) -> set[str]:
    """Every resource that discovery lists, as plural.group: a CRD's is there once it is Established."""
    return {
        f"{resource['resource']}.{group['metadata']['name']}"
        for group in api.get("/apis", accept=_DISCOVERY)["items"]
        for version in group.get("versions", ())
        for resource in version.get("resources", ())
    }


def _cached(group: str, pin: dict[str, Any]) -> Path:
    directory = cache() / "crds"
    content = {key: pin[key] for key in ("module", "version", "sum", "files")}
    file = directory / f"{group}-{fingerprint(json.dumps(content))}.yaml"
    if file.exists():
        return file
    with locked(directory), workspace(directory) as work:
        if not file.exists():
            module = _download(pin, work)
            sources = sorted(path for pattern in pin["files"] for path in module.glob(pattern))
            if not sources:
                raise SandboxError(
                    f"{pin['module']} {pin['version']} has no {pin['files']}: correct {PINS.name}."
                )
            unfinished = Path(work, file.name)
            unfinished.write_text("\n---\n".join(source.read_text() for source in sources))
            unfinished.rename(file)
    return file


def _download(pin: dict[str, Any], work: str) -> Path:
    """The unpacked module, its content checked against the pinned sum by Go itself and by us."""
    go, environment = go_command()
    target = f"{pin['module']}@{pin['version']}"
    # An empty folder: inside a module, Go would resolve the request against its go.mod.
    answer = subprocess.run(
        [*go, "mod", "download", "-json", target],
        env={**environment, "GOFLAGS": "-modcacherw"},
        cwd=work,
        capture_output=True,
        text=True,
    )
    if answer.returncode:
        reason = json.loads(answer.stdout)["Error"] if answer.stdout else answer.stderr.strip()
        raise SandboxError(
            f"could not download {target}, which holds CRDs the sandbox serves: {reason}\n"
            "Check that Go can reach a module proxy (`go env GOPROXY`), and run the same command again."
        )
    module = json.loads(answer.stdout)
    if module["Sum"] != pin["sum"]:
        raise SandboxError(
            f"{target} is not the pinned module: its sum is {module['Sum']}, {PINS.name} says {pin['sum']}. "
            "Write the new sum there if you have just raised the version. Else do not use it: find out who changed it."
        )
    return Path(module["Dir"])
