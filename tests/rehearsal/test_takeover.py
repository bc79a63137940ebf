"""What a GitOps tool installed from the same charts becomes this program's, as docs/from-gitops.md says."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from sandbox.cluster import control_plane
from sandbox.cluster.client import Client
from sandbox.paths import REPOSITORY
from tests.rehearsal.test_secrets_life import ADOPT, in_cluster, stored, values, volumes
from tests.support.driver import Result, Sandbox
from tests.support.load import failures, loading
from tests.support.sandboxes import Sandboxes
from tests.support.serving import PODS_RUN, new_keys
from tests.support.waiting import wait_for

Json = dict[str, Any]
MERGE = "application/merge-patch+json"
ARGO_CD = "argocd-controller"
OURS = ("llm-gateway/", "meta.helm.sh/", "pulumi.com/")
PROXY = "/apis/apps/v1/namespaces/llm-gateway/deployments/litellm"
DATABASE = "/apis/postgresql.cnpg.io/v1/namespaces/llm-gateway/clusters/litellm-pg"
SERVICE = "/api/v1/namespaces/llm-gateway/services/litellm"
APPLICATIONS = "/apis/argoproj.io/v1alpha1/namespaces/llm-gateway/applications"


def objects(api: Client) -> Iterator[tuple[str, Json]]:
    """Every object that can be patched, with its path."""
    groups = [
        "/api/v1",
        *(f"/apis/{group['preferredVersion']['groupVersion']}" for group in api.get("/apis")["groups"]),
    ]
    for group in groups:
        for kind in api.get(group)["resources"]:
            if "/" in kind["name"] or not {"list", "patch"} <= {*kind["verbs"]}:
                continue
            for item in api.get(f"{group}/{kind['name']}")["items"]:
                namespace = item["metadata"].get("namespace")
                where = f"{group}/namespaces/{namespace}" if namespace else group
                yield f"{where}/{kind['name']}/{item['metadata']['name']}", item


def become_argo_cds(sandbox: Sandbox) -> None:
    """Leave the cluster as if Argo CD had applied all that this program did: no mark of ours, of Helm or of a state."""
    api = control_plane.api(sandbox.home)
    for path, item in list(objects(api)):
        metadata = item["metadata"]
        if (metadata.get("labels") or {}).get("owner") == "helm":
            api.send("DELETE", path, {})
            continue
        annotations = metadata.get("annotations") or {}
        marks: Json = {key: None for key in annotations if key.startswith(OURS)}
        if not marks:
            continue
        marks |= {"argocd.argoproj.io/tracking-id": f"gateway:{path}", "argocd.argoproj.io/sync-wave": "3"}
        managers = [
            {**entry, "manager": ARGO_CD} if entry["manager"] in ("llm-gateway", "helm") else entry
            for entry in metadata["managedFields"]
        ]
        changed: Json = {"annotations": marks, "managedFields": managers}
        if (metadata.get("labels") or {}).get("app.kubernetes.io/managed-by") == "Helm":
            changed["labels"] = {"app.kubernetes.io/managed-by": None}
        api.send("PATCH", path, {"metadata": changed}, MERGE)
    sandbox.home.checkpoint(sandbox.stack).unlink()


def differ(sandbox: Sandbox) -> None:
    """Have Argo CD apply what this program does not say: a variable of the proxy, and a parameter of the database."""
    api = control_plane.api(sandbox.home)
    variable = {"name": "FROM_GITOPS", "value": "yes"}
    containers = [{"name": "litellm", "env": [variable]}]
    deployment = {"spec": {"template": {"spec": {"containers": containers}}}}
    api.send("PATCH", f"{PROXY}?fieldManager={ARGO_CD}", deployment, "application/strategic-merge-patch+json")
    parameters = {"spec": {"postgresql": {"parameters": {"work_mem": "8MB", "max_connections": "77"}}}}
    api.send("PATCH", f"{DATABASE}?fieldManager={ARGO_CD}", parameters, MERGE)


def manage(sandbox: Sandbox) -> None:
    """Bring in Argo CD's Application that manages the proxy: its kind, as far as the API server must know it."""
    api = control_plane.api(sandbox.home)
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1alpha1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {
        "plural": "applications",
        "singular": "application",
        "kind": "Application",
        "listKind": "ApplicationList",
    }
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "applications.argoproj.io"},
        "spec": {"group": "argoproj.io", "scope": "Namespaced", "names": names, "versions": [version]},
    }
    api.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition)
    wait_for(lambda: api.answers(APPLICATIONS))
    resources = [
        {
            "group": "apps",
            "version": "v1",
            "kind": "Deployment",
            "namespace": "llm-gateway",
            "name": "litellm",
        }
    ]
    application = {"metadata": {"name": "gateway"}, "status": {"resources": resources}}
    api.create(APPLICATIONS, {"apiVersion": "argoproj.io/v1alpha1", "kind": "Application", **application})


def take_over(sandbox: Sandbox, *options: str) -> Result:
    """Run `tools.takeover` as `make takeover` does."""
    line = (
        "env",
        f"PYTHONPATH={REPOSITORY}",
        sys.executable,
        "-m",
        "tools.takeover",
        "--stack",
        sandbox.stack,
    )
    return sandbox.run("exec", "--", *line, *options)


@pytest.fixture
def own_dev(sandboxes: Sandboxes) -> Iterator[Sandbox]:
    """Dev with pods that run."""
    with sandboxes.served() as sandbox:
        sandbox.up().succeeded()
        yield sandbox


@PODS_RUN
def test_what_argo_cd_installed_becomes_this_programs(own_dev: Sandbox) -> None:
    keys = new_keys(own_dev, 2)
    kept, rows, claims = values(own_dev), stored(own_dev), volumes(own_dev)
    become_argo_cds(own_dev)
    differ(own_dev)
    manage(own_dev)
    uids = {path: own_dev.get(path)["metadata"]["uid"] for path in (PROXY, DATABASE, SERVICE)}
    key = {"name": "search-app", "team": "search", "budget": 20, "rpm": 600, "adopt": 1}
    adopt: Json = {
        "llm-gateway:secrets": {"adopt": dict.fromkeys(ADOPT, 1)},
        "llm-gateway:virtualKeys": [key],
    }
    own_dev.configure(adopt)
    assert "docs/from-gitops.md" in own_dev.up().failed().text

    own_dev.configure({"llm-gateway:recover": True})
    own_dev.run("preview").succeeded()
    refused = take_over(own_dev).failed().text
    assert "Deployment llm-gateway/litellm is managed by Argo CD's Application llm-gateway/gateway" in refused
    assert "meta.helm.sh/release-name" not in own_dev.get(PROXY)["metadata"]["annotations"]
    control_plane.api(own_dev.home).send("DELETE", f"{APPLICATIONS}/gateway", {})
    with loading(own_dev.run("url").succeeded().text.strip(), keys) as answers:
        wait_for(lambda: len(answers) > 5, 60)
        become_ours(own_dev)
        assert values(own_dev) == kept == in_cluster(own_dev)
        assert stored(own_dev) == rows
        assert volumes(own_dev) == claims
        assert {path: own_dev.get(path)["metadata"]["uid"] for path in uids} == uids
        finish(own_dev)
        so_far = len(answers)
        wait_for(lambda: len(answers) > so_far + 5, 60)
    print(f"{len(answers)} requests: {failures(answers)}")
    assert not failures(answers)
    assert {path: own_dev.get(path)["metadata"]["uid"] for path in uids} == uids

    own_dev.configure({"llm-gateway:recover": False})
    own_dev.up().succeeded()
    assert own_dev.changed("up") == {}


def become_ours(own_dev: Sandbox) -> None:
    """Take over, bring up, and mend what that names."""
    print(take_over(own_dev).succeeded().text)
    print(own_dev.up().failed().text)
    own_dev.mend()
    print(own_dev.up().succeeded().text)
    assert not {step.op for step in own_dev.steps("up")} & {"replace", "create-replacement", "delete"}
    assert "FROM_GITOPS" in json.dumps(own_dev.get(PROXY)["spec"])


def finish(own_dev: Sandbox) -> None:
    """Take away what only the GitOps tool had said."""
    finished = take_over(own_dev, "--finish").succeeded().text
    assert "Deployment llm-gateway/litellm: changed" in finished
    assert "Service llm-gateway/litellm: as it was" in finished
    assert "FROM_GITOPS" not in json.dumps(own_dev.get(PROXY)["spec"])
    parameters = own_dev.get(DATABASE)["spec"]["postgresql"]["parameters"]
    assert "work_mem" not in parameters
    assert parameters["max_connections"] != "77"
