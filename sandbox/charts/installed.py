"""`python -m sandbox charts`: the charts of a sandbox's Releases, each compared with its contract chart.

Helm keeps in the cluster what it installed: the chart's files, without its subcharts, and the values. So what is compared is what
the last `up` installed, and nothing is downloaded.
"""

from __future__ import annotations

import base64
import gzip
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from sandbox.charts import compare, schema
from sandbox.cluster import control_plane, crds
from sandbox.cluster.client import Client
from sandbox.errors import SandboxError
from sandbox.paths import Home
from sandbox.phases import say
from sandbox.toolchain.build import Manifest

_DEPLOYED = "/api/v1/secrets?labelSelector=owner%3Dhelm,status%3Ddeployed"
_CONTRACT = "Contract chart:"


def compare_all(home: Home) -> int:
    """Say of each chart in what it differs from its contract chart. Returns 1 where one does.

    Raises SandboxError where there is no other chart than the contract charts to compare.
    """
    if not control_plane.is_up(home):
        raise SandboxError(
            f"no sandbox runs at {home.root}: `make up OPTIONS='--charts upstream'` brings it up."
        )
    contracts = {folder.name: folder for folder in schema.charts()}
    records = [
        record
        for record in _records(control_plane.api(home))
        if record["chart"]["metadata"]["name"] in contracts
    ]
    ours = [record["name"] for record in records if _is_contract(record["chart"]["metadata"])]
    if ours or not records:
        what = f"{', '.join(ours)} is of the contract charts themselves" if ours else "no Release is there"
        raise SandboxError(
            f"nothing to compare: {what}. Bring the stack up with other charts: `make up OPTIONS='--charts upstream'`, or "
            "`--charts FOLDER`."
        )
    helm = compare.Renderer(str(home.bin / "helm"), Manifest.read().version("kube-apiserver"))
    differs = False
    for record in records:
        metadata = record["chart"]["metadata"]
        with tempfile.TemporaryDirectory() as folder:
            release = _unpacked(record, Path(folder))
            found = compare.differences(
                helm, contracts[metadata["name"]], release, crds.of_chart(home, metadata["name"])
            )
        say(f"{metadata['name']} {metadata['version']}: {'differs' if found else 'as the contract chart'}")
        for sentence in found:
            say(f"  {metadata['name']} {sentence}")
        differs = differs or bool(found)
    return 1 if differs else 0


def _records(api: Client) -> list[Mapping[str, Any]]:
    """What Helm keeps of each Release's newest revision."""
    return [
        json.loads(gzip.decompress(base64.b64decode(base64.b64decode(secret["data"]["release"]))))
        for secret in api.get(_DEPLOYED)["items"]
    ]


def _is_contract(metadata: Mapping[str, Any]) -> bool:
    return str(metadata.get("description")).startswith(_CONTRACT)


def _unpacked(record: Mapping[str, Any], folder: Path) -> compare.Release:
    """The Release of a record, its chart's files written into a folder."""
    chart = record["chart"]
    # Helm refuses a chart whose dependencies are not there.
    metadata = {key: value for key, value in chart["metadata"].items() if key != "dependencies"}
    texts = {"Chart.yaml": yaml.safe_dump(metadata), "values.yaml": yaml.safe_dump(chart.get("values") or {})}
    for name, text in texts.items():
        (folder / name).write_text(text)
    if chart.get("schema"):
        (folder / "values.schema.json").write_bytes(base64.b64decode(chart["schema"]))
    for file in (*chart["templates"], *(chart.get("files") or [])):
        path = folder / file["name"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(file["data"] or ""))
    return compare.Release(
        name=record["name"],
        namespace=record["namespace"],
        values=record.get("config") or {},
        chart=folder,
        subcharts=frozenset(
            name
            for needed in chart["metadata"].get("dependencies") or []
            for name in (needed["name"], needed.get("alias"))
            if name
        ),
    )
