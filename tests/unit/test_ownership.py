"""The mark on every object, and what a create makes of what it finds."""

from __future__ import annotations

import base64
import gzip
import itertools
import json
from types import SimpleNamespace
from typing import Any, cast

import pulumi
import pytest

from components import ownership
from tests.support.engine import EVERYTHING, Recording, run_program

ARGS = cast(
    pulumi.ResourceHookArgs,
    SimpleNamespace(
        name="gateway-x",
        new_inputs={"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "n"}},
    ),
)
LIVE = {"apiVersion": "v1", "kind": "ConfigMap"}
OURS = {"llm-gateway/owner": "p/s/gateway-x"}


def admit(
    monkeypatch: pytest.MonkeyPatch, annotations: dict[str, str] | None, recover: bool = False
) -> str | None:
    metadata = {"name": "x", "namespace": "n", "annotations": annotations}
    monkeypatch.setattr(ownership, "live_object", lambda *_: LIVE | {"metadata": metadata})
    return ownership.admit(cast(Any, None), ARGS, "p/s", recover)


def test_every_object_is_marked_and_every_create_looks_first() -> None:
    for (type_, name), made in run_program(EVERYTHING).resources.items():
        if not type_.startswith("kubernetes:"):
            continue
        hooks = made.request.hooks
        assert "gateway-is-changed" in {*hooks.after_create} & {*hooks.after_update}, name
        if type_ == ownership.RELEASE:
            assert "gateway-release-is-ours" in hooks.before_create, name
            assert "gateway-release-is-not-pending" in hooks.before_update, name
        else:
            assert "gateway-object-is-ours" in hooks.before_create, name
            annotations = made.inputs["metadata"]["annotations"]
            assert annotations["llm-gateway/owner"].endswith(f"/{name}")
            assert annotations["pulumi.com/patchFieldManager"] == "llm-gateway"


def test_what_refuses_a_change_refuses_it_in_the_preview() -> None:
    """A hook runs in an `up` alone unless it says otherwise; those that are not here wait for the cluster, or change it."""
    hooks = run_program(EVERYTHING).hooks
    values = ("litellm-master-key", "litellm-db-password", "vllm-api-key", "litellm-redis-password")
    assert {name for name, hook in hooks.items() if hook.opts and hook.opts.on_dry_run} == {
        "gateway-cluster-wide-is-ours",
        "gateway-postgres-volumes",
        "gateway-vllm-volumes",
        "gateway-secret-sync-same-salt",
        "gateway-secrets-new-salt",
        *(f"gateway-secrets-{value}-new-value" for value in (*values, "litellm-key-search-app")),
    }


def test_creates_go_by_server_side_apply(program: Recording) -> None:
    """After a POST the next preview still validates what was left out, `restore` for example, and fails."""
    assert program.one("kubernetes", "gke").inputs["upsertExistingObjects"] == "true"


def test_what_an_interrupted_up_left_is_taken_over(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "it is taken over" in (admit(monkeypatch, OURS) or "")


@pytest.mark.parametrize(
    ("annotations", "message"),
    [
        (None, "no mark of a stack"),
        ({**OURS, "llm-gateway/recorded": "true"}, "this stack made it"),
    ],
)
def test_what_the_state_lost_is_taken_over_only_to_recover(
    monkeypatch: pytest.MonkeyPatch, annotations: dict[str, str] | None, message: str
) -> None:
    with pytest.raises(pulumi.RunError, match=message):
        admit(monkeypatch, annotations)
    assert admit(monkeypatch, annotations, recover=True)


@pytest.mark.parametrize(
    ("api_version", "kind", "resource"),
    [
        ("v1", "ConfigMap", "configmap"),
        # Other operators have a Cluster, too: by its kind alone, kubectl may look for one of theirs.
        ("postgresql.cnpg.io/v1", "Cluster", "cluster.postgresql.cnpg.io"),
    ],
)
def test_the_command_for_what_left_the_state_names_the_object_as_kubectl_does(
    monkeypatch: pytest.MonkeyPatch, api_version: str, kind: str, resource: str
) -> None:
    monkeypatch.setitem(LIVE, "apiVersion", api_version)
    monkeypatch.setitem(LIVE, "kind", kind)
    with pytest.raises(pulumi.RunError) as refused:
        admit(monkeypatch, {**OURS, "llm-gateway/recorded": "true"})
    command = f"kubectl annotate --namespace n {resource} x llm-gateway/recorded-"
    assert str(refused.value).endswith(command)


@pytest.mark.parametrize("seconds", [1, 100])
def test_what_is_being_deleted_is_waited_for(monkeypatch: pytest.MonkeyPatch, seconds: int) -> None:
    clock = itertools.count()
    gone = {"kind": "ConfigMap", "metadata": {"name": "x", "namespace": "n", "deletionTimestamp": "now"}}
    lives = iter([gone] * seconds + [None])
    monkeypatch.setattr(ownership, "live_object", lambda *_: next(lives))
    waiting = SimpleNamespace(monotonic=lambda: next(clock), sleep=lambda _: None)
    monkeypatch.setattr(ownership, "time", waiting)
    if seconds == 1:
        assert ownership.admit(cast(Any, None), ARGS, "p/s", False) is None
    else:
        with pytest.raises(pulumi.RunError, match="ConfigMap n/x is still being deleted"):
            ownership.admit(cast(Any, None), ARGS, "p/s", False)


@pytest.mark.parametrize("owner", ["p/other/gateway-x", "p/s/gateway-y", "q/s/gateway-x"])
def test_what_is_another_resources_is_never_taken_over(monkeypatch: pytest.MonkeyPatch, owner: str) -> None:
    with pytest.raises(pulumi.RunError, match=f"belongs to {owner}"):
        admit(monkeypatch, {"llm-gateway/owner": owner}, recover=True)


class Patched:
    """A cluster that keeps the one patch that it is sent."""

    def __init__(self) -> None:
        self.resources = self
        self.body: dict[str, Any] = {}

    def get(self, **_: str) -> Any:
        return self

    def patch(self, *, body: dict[str, Any], **_: Any) -> None:
        self.body = body["metadata"]


def test_a_tools_fields_become_this_stacks_when_its_object_is_taken_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else the apply conflicts with that tool, and what its manifest said and the program does not stays for good."""

    def entry(manager: str, field: str, **more: str) -> dict[str, Any]:
        fields = {"f:spec": {f"f:{field}": {}}}
        return {"manager": manager, "operation": "Update", "apiVersion": "v1", "fieldsV1": fields, **more}

    operators = [entry("manager", "a"), entry("argocd-controller", "b", subresource="status")]
    theirs = [entry("kubectl-client-side-apply", "c"), entry("argocd-controller", "d")]
    metadata = {
        "name": "x",
        "namespace": "n",
        "resourceVersion": "7",
        "managedFields": [*operators, *theirs],
    }
    monkeypatch.setattr(ownership, "live_object", lambda *_: LIVE | {"metadata": metadata})
    cluster = Patched()
    assert "carried no mark" in (ownership.admit(cast(Any, cluster), ARGS, "p/s", True) or "")
    fields = {"f:spec": {"f:c": {}, "f:d": {}}}
    ours = entry("llm-gateway", "") | {"operation": "Apply", "fieldsV1": fields}
    assert cluster.body == {"managedFields": [*operators, ours], "resourceVersion": "7"}


class Secrets:
    """A cluster that has the records of one release, and keeps what is done to them."""

    def __init__(self, *statuses: str) -> None:
        packed = base64.b64encode(gzip.compress(json.dumps({"info": {"status": "x"}, "version": 1}).encode()))
        data = {"release": base64.b64encode(packed).decode()}
        self.items = [
            {
                "metadata": {
                    "name": f"r.v{n}",
                    "uid": f"u{n}",
                    "labels": {"version": str(n), "status": status},
                },
                "data": data,
            }
            for n, status in enumerate(statuses, 1)
        ]
        self.resources = self
        self.patched: dict[str, Any] = {}
        self.deleted: list[str] = []

    def get(self, **query: str) -> Any:
        return self if "kind" in query else SimpleNamespace(to_dict=lambda: {"items": self.items})

    def patch(self, body: dict[str, Any], name: str, **_: str) -> None:
        self.patched[name] = body

    def delete(self, name: str, namespace: str) -> None:
        self.deleted.append(name)


RELEASE = cast(
    pulumi.ResourceHookArgs, SimpleNamespace(name="gateway-r", new_inputs={"name": "r", "namespace": "n"})
)


def test_a_pending_revision_counts_as_failed_before_an_upgrade() -> None:
    cluster = Secrets("deployed", "pending-upgrade")
    said = ownership.end_pending(cast(Any, cluster), RELEASE)
    assert "release n/r was left pending-upgrade" in (said or "")
    (body,) = cluster.patched.values()
    record = json.loads(gzip.decompress(base64.b64decode(base64.b64decode(body["data"]["release"]))))
    assert (record["info"]["status"], record["version"]) == ("failed", 1)
    assert ownership.end_pending(cast(Any, Secrets("superseded", "deployed")), RELEASE) is None


@pytest.mark.parametrize(
    ("namespace", "message"),
    [
        (None, "not this stack's"),
        ({"llm-gateway/owner": "p/other/ns"}, "not this stack's"),
        ({"llm-gateway/owner": "p/s/second/ns"}, "not this stack's"),
        ({"llm-gateway/owner": "p/s/ns", "llm-gateway/recorded-r": "u1"}, "this stack made it"),
    ],
)
def test_a_release_that_is_not_left_over_is_kept(
    monkeypatch: pytest.MonkeyPatch, namespace: dict[str, str] | None, message: str
) -> None:
    monkeypatch.setattr(
        ownership,
        "live_object",
        lambda *_: {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": "n", "annotations": namespace},
        },
    )
    cluster = Secrets("deployed")
    with pytest.raises(pulumi.RunError, match=message):
        ownership.admit_release(cast(Any, cluster), RELEASE, "p/s", recover=False)
    assert cluster.deleted == []


def test_a_release_left_in_a_namespace_of_this_stack_is_installed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mark = {"llm-gateway/owner": "p/s/ns", "llm-gateway/recorded-r": "of an earlier install"}
    monkeypatch.setattr(ownership, "live_object", lambda *_: {"metadata": {"annotations": mark}})
    cluster = Secrets("pending-install")
    said = ownership.admit_release(cast(Any, cluster), RELEASE, "p/s", recover=False)
    assert "release n/r was left pending-install" in (said or "")
    assert cluster.deleted == ["r.v1"]
