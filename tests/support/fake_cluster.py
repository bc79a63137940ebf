"""A cluster in memory with the calls that the emulators make."""

from __future__ import annotations

import copy
from typing import Any

from sandbox.stack_file import merged

Json = dict[str, Any]


class FakeCluster:
    """Stands in for `sandbox.cluster.watched.Watched`: objects by kind, namespace and name, and events."""

    def __init__(self) -> None:
        self.items: dict[tuple[str, str, str], Json] = {}
        self.events: list[tuple[str, str, str]] = []
        self._version = 0

    def add(self, kind: str, name: str, namespace: str = "", **item: Any) -> Json:
        metadata = {"name": name, "uid": f"uid-{kind}-{name}", "generation": 1, **item.pop("metadata", {})}
        if namespace:
            metadata["namespace"] = namespace
        metadata.setdefault("creationTimestamp", "2026-01-01T00:00:00Z")
        self.items[kind, namespace, name] = {**item, "metadata": metadata}
        return self._touch((kind, namespace, name))

    def operator(self, name: str, namespace: str, replicas: int = 1, **pod: Any) -> None:
        """Add an operator's Deployment, Available while it has replicas; `pod` is of its pod spec."""
        available = {"type": "Available", "status": "True" if replicas else "False"}
        self.add(
            "Deployment",
            name,
            namespace,
            metadata={"labels": {"app.kubernetes.io/name": name}},
            spec={"template": {"spec": pod}},
            status={"availableReplicas": replicas, "conditions": [available]},
        )

    def list(self, kind: str, namespace: str | None = None) -> list[Json]:
        return [
            item for key, item in sorted(self.items.items()) if key[0] == kind and namespace in (None, key[1])
        ]

    def get(self, kind: str, namespace: str, name: str) -> Json | None:
        return self.items.get((kind, namespace, name))

    def create(self, kind: str, item: Json, manager: str = "") -> Json | None:
        metadata = item["metadata"]
        namespace, name = metadata.get("namespace", ""), metadata["name"]
        if (kind, namespace, name) in self.items:
            return None
        return self.add(kind, name, namespace, **copy.deepcopy(item))

    def update(self, kind: str, item: Json, manager: str = "") -> Json | None:
        key = (kind, item["metadata"].get("namespace", ""), item["metadata"]["name"])
        self.items[key] = copy.deepcopy(item)
        return self._touch(key)

    def patch(self, kind: str, item: Json, changes: Json, subresource: str = "") -> Json | None:
        key = (kind, item["metadata"].get("namespace", ""), item["metadata"]["name"])
        self.items[key] = merged(self.items[key], changes)
        return self._touch(key)

    def delete(self, kind: str, item: Json, grace_seconds: int | None = None) -> None:
        self.items.pop((kind, item["metadata"].get("namespace", ""), item["metadata"]["name"]), None)

    def event(self, kind: str, item: Json, level: str, reason: str, message: str, source: str) -> None:
        self.events.append((level, reason, message))

    def _touch(self, key: tuple[str, str, str]) -> Json:
        self._version += 1
        self.items[key]["metadata"]["resourceVersion"] = str(self._version)
        return self.items[key]
