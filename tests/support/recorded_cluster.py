"""A cluster as it was when an `up` had failed: objects as the API server returned them, and ends of logs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

Object = dict[str, Any]
DATA = Path(__file__).parents[1] / "unit" / "data" / "explain"


class RecordedCluster:
    """Stands in for `tools.explain.cluster.Cluster`."""

    def __init__(self, objects: list[Object], logs: dict[str, str] | None = None) -> None:
        self.objects = objects
        self.logs = logs or {}

    @classmethod
    def of(cls, name: str) -> RecordedCluster:
        """The recording of that name; `kubectl get -A -o json` made it, managed fields are taken out."""
        return cls(json.loads((DATA / f"{name}.json").read_text())["items"])

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        return next((each for each in self.items(kind, namespace) if each["metadata"]["name"] == name), None)

    def items(self, kind: str, namespace: str, labels: dict[str, str] | None = None) -> list[Object]:
        return [
            each
            for each in self.objects
            if each["kind"] == kind
            and namespace in ("", each["metadata"].get("namespace", ""))
            and (labels or {}).items() <= (each["metadata"].get("labels") or {}).items()
        ]

    def events(self, subject: Object) -> list[Object]:
        uid = subject["metadata"]["uid"]
        return [
            each for each in self.objects if each["kind"] == "Event" and each["involvedObject"]["uid"] == uid
        ]

    def log(self, pod: Object, container: str, *, previous: bool) -> str:
        return self.logs.get(f"{pod['metadata']['name']}/{container}", "")
