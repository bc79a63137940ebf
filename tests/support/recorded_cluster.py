"""A cluster as it was when an `up` had failed: objects as the API server returns them, and ends of logs."""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]


class RecordedCluster:
    """Stands in for `tools.explain.cluster.Cluster`."""

    def __init__(self, objects: list[Object], logs: dict[str, str] | None = None) -> None:
        self.objects = objects
        self.logs = logs or {}

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        return next((item for item in self.items(kind, namespace) if item["metadata"]["name"] == name), None)

    def items(self, kind: str, namespace: str, labels: dict[str, str] | None = None) -> list[Object]:
        return [
            item
            for item in self.objects
            if item["kind"] == kind
            and namespace in ("", item["metadata"].get("namespace", ""))
            and (labels or {}).items() <= (item["metadata"].get("labels") or {}).items()
        ]

    def events(self, subject: Object) -> list[Object]:
        uid = subject["metadata"]["uid"]
        return [
            event
            for event in self.objects
            if event["kind"] == "Event" and event["involvedObject"]["uid"] == uid
        ]

    def log(self, pod: Object, container: str, *, previous: bool) -> str:
        return self.logs.get(f"{pod['metadata']['name']}/{container}", "")
