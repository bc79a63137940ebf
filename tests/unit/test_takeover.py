"""What Argo CD installed, and what is marked of it. The cluster is played; tests/rehearsal/test_takeover.py has a real one."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from kubernetes.dynamic.exceptions import NotFoundError, ResourceNotFoundError

from tools import pulumi_cli, takeover

Json = dict[str, Any]
RELEASE = {
    "name": "litellm",
    "namespace": "gateway",
    "chart": "litellm-helm",
    "version": "1.2.3",
    "repositoryOpts": {"repo": "https://charts.example"},
    "values": {"replicaCount": 2},
}
STEPS = [
    {"op": "create", "newState": {"type": takeover.RELEASE, "inputs": RELEASE}},
    {"op": "same", "newState": {"type": takeover.RELEASE, "inputs": {"name": "is-there"}}},
    {
        "op": "create",
        "newState": {
            "type": "kubernetes:core/v1:ConfigMap",
            "inputs": {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "own", "namespace": "gateway"},
            },
        },
    },
]
MARKS = {"meta.helm.sh/release-name": "litellm", "meta.helm.sh/release-namespace": "gateway"}


class Cluster:
    """Objects by kind, namespace and name; `Application` is a kind where `managed` says what Argo CD has."""

    def __init__(self, *objects: Json, managed: list[Json] | None = None) -> None:
        self.objects = {
            (item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"]): item
            for item in objects
        }
        self.managed = managed
        self.patched: dict[str, Json] = {}
        self.resources = self
        self.version = {"kubernetes": {"gitVersion": "v1.36.3"}}

    def search(self) -> list[Any]:
        return [SimpleNamespace(group_version="apps/v1", kind="Deployment")]

    def get(self, api_version: str, kind: str) -> Any:
        if kind == "Unknown" or (kind == "Application" and self.managed is None):
            raise ResourceNotFoundError(kind)
        return Kind(self, kind)


class Kind:
    """One kind's requests."""

    def __init__(self, cluster: Cluster, kind: str) -> None:
        self._cluster, self._kind = cluster, kind
        self.namespaced = kind != "ClusterRole"

    def get(self, name: str = "", namespace: str | None = None) -> Any:
        if self._kind == "Application":
            metadata = {"namespace": "argocd", "name": "gateway"}
            items = [{"metadata": metadata, "status": {"resources": self._cluster.managed}}]
            return SimpleNamespace(to_dict=lambda: {"items": items})
        found = self._cluster.objects.get((self._kind, namespace, name))
        if found is None:
            raise NotFoundError(SimpleNamespace(status=404, reason="", data="", body="", headers={}))
        return SimpleNamespace(to_dict=lambda: found)

    def patch(self, body: Json, name: str, namespace: str | None, content_type: str) -> None:
        self._cluster.patched[f"{self._kind} {namespace} {name}"] = body["metadata"]


def live(kind: str, name: str, namespace: str | None = "gateway", **annotations: str) -> Json:
    metadata: Json = {
        "name": name,
        "annotations": {key.replace("_", "/"): text for key, text in annotations.items()},
    }
    if namespace:
        metadata["namespace"] = namespace
    return {"apiVersion": "apps/v1" if kind == "Deployment" else "v1", "kind": kind, "metadata": metadata}


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> None:
    chart = [
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "litellm"}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "litellm", "namespace": "gateway"}},
        {"apiVersion": "v1", "kind": "ClusterRole", "metadata": {"name": "litellm"}},
        {"apiVersion": "x/v1", "kind": "Unknown", "metadata": {"name": "litellm"}},
    ]
    monkeypatch.setattr(takeover, "rendered", lambda *_: json.loads(json.dumps(chart)))
    monkeypatch.setattr(pulumi_cli, "run", lambda *_: json.dumps({"steps": STEPS}))


@pytest.mark.usefixtures("played")
def test_what_the_cluster_has_of_a_chart_is_marked_and_nothing_else() -> None:
    cluster = Cluster(
        live("Deployment", "litellm"), live("ClusterRole", "litellm", None), live("Service", "other")
    )
    takeover.take_over("dev", cluster)  # type: ignore[arg-type]
    marked = {"labels": {"app.kubernetes.io/managed-by": "Helm"}, "annotations": MARKS}
    assert cluster.patched == {"Deployment gateway litellm": marked, "ClusterRole None litellm": marked}


@pytest.mark.usefixtures("played")
@pytest.mark.parametrize(
    ("objects", "managed", "said"),
    [
        (
            [
                live(
                    "Service",
                    "litellm",
                    **{"meta.helm.sh_release-name": "other", "meta.helm.sh_release-namespace": "n"},
                )
            ],
            None,
            "Service gateway/litellm is of the Helm release n/other",
        ),
        (
            [live("Deployment", "litellm")],
            [{"group": "apps", "kind": "Deployment", "namespace": "gateway", "name": "litellm"}],
            "Deployment gateway/litellm is managed by Argo CD's Application argocd/gateway",
        ),
        (
            [live("Deployment", "litellm")],
            [{"kind": "ConfigMap", "namespace": "gateway", "name": "own"}],
            "ConfigMap gateway/own is managed by Argo CD's Application argocd/gateway",
        ),
    ],
    ids=["another release", "Argo CD", "Argo CD, without a chart"],
)
def test_what_is_somebody_elses_stops_it_before_anything_is_marked(
    objects: list[Json], managed: list[Json] | None, said: str
) -> None:
    cluster = Cluster(live("ClusterRole", "litellm", None), *objects, managed=managed)
    with pytest.raises(takeover.TakeoverError, match=said):
        takeover.take_over("dev", cluster)  # type: ignore[arg-type]
    assert not cluster.patched


def test_helm_renders_what_the_release_says(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    helm = tmp_path / "helm"
    helm.write_text(
        f"#!/bin/sh\necho \"$@\" > {tmp_path}/line\ncat > {tmp_path}/values\nprintf 'kind: A\\n---\\n---\\nkind: B\\n'\n"
    )
    helm.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    options = takeover.capabilities(Cluster())  # type: ignore[arg-type]
    assert takeover.rendered(RELEASE, options) == [{"kind": "A"}, {"kind": "B"}]
    line = (tmp_path / "line").read_text().split()
    assert line[:5] == ["template", "litellm", "litellm-helm", "--namespace", "gateway"]
    assert line[8:12] == ["--kube-version", "v1.36.3", "--api-versions", "apps/v1,apps/v1/Deployment"]
    assert line[-4:] == ["--repo", "https://charts.example", "--version", "1.2.3"]
    assert json.loads((tmp_path / "values").read_text()) == RELEASE["values"]


def test_without_helm_it_says_so(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(takeover.TakeoverError, match="helm is not on PATH"):
        takeover.rendered(RELEASE, [])
