"""The kubernetes stand-in where it needs no cluster: checks, differences, readiness, the real provider's errors."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, cast

import pytest
from pulumi.provider.experimental.property_value import PropertyValue
from pulumi.provider.experimental.provider import (
    CheckRequest,
    CheckResponse,
    ConfigureRequest,
    CreateRequest,
    DiffResponse,
    UpdateRequest,
)

from sandbox.cluster.client import ApiError
from sandbox.errors import SandboxError
from sandbox.plugins.kubernetes import awaits, objects, release
from sandbox.plugins.kubernetes.cluster import Cluster, NoMatch, active_cluster
from sandbox.plugins.kubernetes.provider import CONFIGURATION, PROVIDER, RELEASE, KubernetesProvider
from sandbox.plugins.sdk import input_names
from sandbox.plugins.server import DiffRequest, InitFailed
from sandbox.plugins.values import UNKNOWN, plain_map, property_map

DEPLOYMENT = "kubernetes:apps/v1:Deployment"
# What the program gives a Release, and what its SDK sends with it.
TAKEN = release.EMULATED | {"allowNullValues", "compat", "resourceNames"}


def kubeconfig(server: str = "https://127.0.0.1:6443") -> str:
    return json.dumps(
        {
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
            "clusters": [{"name": "k", "cluster": {"server": server}}],
            "users": [{"name": "u", "user": {"token": "t"}}],
        }
    )


def urn(token: str) -> str:
    return f"urn:pulumi:dev::p::{token}::thing"


def check(token: str, new: dict[str, Any], old: dict[str, Any] | None = None) -> CheckResponse:
    request = CheckRequest(urn(token), property_map(old or {}), property_map(new), b"seed")
    return asyncio.run(KubernetesProvider().check(request))


def check_config(config: dict[str, Any]) -> dict[str, str]:
    request = CheckRequest(urn(PROVIDER), {}, property_map(config), b"")
    answer = asyncio.run(KubernetesProvider().check_config(request))
    return {failure.property: failure.reason for failure in answer.failures or []}


def diff(token: str, old: dict[str, Any], new: dict[str, Any]) -> DiffResponse:
    request = DiffRequest(urn(token), "x", property_map(old), property_map(new), [])
    request.old_inputs = property_map(old)
    method = KubernetesProvider().diff_config if token == PROVIDER else KubernetesProvider().diff
    return asyncio.run(method(request))


def body(kind: str, api_version: str = "v1", **rest: Any) -> dict[str, Any]:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": "x", "namespace": "n"}, **rest}


class TestProviderConfiguration:
    def test_a_good_one_passes(self) -> None:
        assert check_config({"kubeconfig": kubeconfig(), "clusterIdentifier": "c"}) == {}
        assert check_config({"kubeconfig": UNKNOWN}) == {}

    def test_without_the_setting_the_file_of_kubeconfig_is_read(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """As a default provider has it; the real one reads the same."""
        file = tmp_path / "kubeconfig"
        monkeypatch.setenv("KUBECONFIG", str(file))
        assert "KUBECONFIG" in check_config({})["kubeconfig"]
        file.write_text(kubeconfig())
        assert check_config({}) == {}
        provider = KubernetesProvider()
        asyncio.run(provider.configure(ConfigureRequest({}, {}, True, True)))
        assert provider._connected.kubeconfig == kubeconfig()  # pyright: ignore[reportPrivateUsage]
        file.write_text(kubeconfig("https://34.1.2.3"))
        assert "34.1.2.3" in check_config({})["kubeconfig"]
        assert check_config({"kubeconfig": kubeconfig()}) == {}
        monkeypatch.delenv("KUBECONFIG")
        assert "KUBECONFIG" in check_config({})["kubeconfig"]

    def test_a_misspelt_key_is_named(self) -> None:
        assert 'did you mean "kubeconfig"' in check_config({"kubeconfg": ""})["kubeconfg"]

    @pytest.mark.parametrize("name", sorted(input_names("kubernetes", PROVIDER) - CONFIGURATION))
    def test_what_is_not_emulated_is_refused_by_name(self, name: str) -> None:
        assert name in check_config({"kubeconfig": kubeconfig(), name: "true"})

    @pytest.mark.parametrize("server", ["https://34.1.2.3", "https://127.0.0.1.example.com"])
    def test_only_loopback_is_let_through(self, server: str) -> None:
        assert server in check_config({"kubeconfig": kubeconfig(server)})["kubeconfig"]
        with pytest.raises(SandboxError, match="refused"):
            Cluster(kubeconfig(server))

    def test_a_broken_kubeconfig_says_so(self) -> None:
        with pytest.raises(SandboxError, match="current-context"):
            active_cluster("{}")

    def test_only_another_cluster_identifier_replaces(self) -> None:
        old = {"kubeconfig": kubeconfig(), "clusterIdentifier": "a"}
        assert diff(PROVIDER, old, old).changes is False
        moved = diff(PROVIDER, old, {**old, "kubeconfig": kubeconfig("https://127.0.0.1:1")})
        assert (moved.changes, moved.replaces) == (True, [])
        assert diff(PROVIDER, old, {**old, "clusterIdentifier": "b"}).replaces == ["clusterIdentifier"]


def test_the_state_keeps_the_inputs_for_the_real_provider_and_a_secrets_data_encrypted() -> None:
    given = property_map(body("Secret", stringData={"a": "b"}, type="Opaque"))
    live = body("Secret", data={"a": "Yg=="})
    token = "kubernetes:core/v1:Secret"
    kept = KubernetesProvider()._outputs(token, live, plain_map(given), given)  # pyright: ignore[reportPrivateUsage]
    inputs = cast(dict[str, PropertyValue], kept["__inputs"].value)
    assert plain_map(inputs) == plain_map(given)
    assert kept["data"].is_secret
    assert [name for name, value in inputs.items() if value.is_secret] == ["stringData"]
    assert not kept["__inputs"].is_secret


def test_a_releases_inputs_are_a_secret_in_the_state() -> None:
    """The real provider takes no others: parseCheckpointRelease in pulumi-kubernetes' helm_release.go."""
    given = property_map({"chart": "c", "name": "r", "namespace": "n"})
    kept = KubernetesProvider()._outputs(RELEASE, {"status": {}}, plain_map(given), given)  # pyright: ignore[reportPrivateUsage]
    assert kept["__inputs"].is_secret


def test_a_release_has_every_default_that_the_real_provider_fills_in() -> None:
    """Seen in states that it made: what is missing there is an update in its first preview."""
    given = {"chart": "oci://127.0.0.1:1/none", "name": "r", "namespace": "n", "values": {"a": UNKNOWN}}
    checked = plain_map(check(RELEASE, given).inputs or {})
    texts = {name for name, value in checked.items() if value == ""}
    switches = {name for name, value in checked.items() if value is False}
    assert texts == {"description", "keyring", "postrender"}
    assert switches | texts | {"compat"} == input_names("kubernetes", RELEASE) - {
        *("chart", "name", "namespace", "values", "timeout", "version", "repositoryOpts", "valueYamlFiles"),
        *("resourceNames", "status", "checksum", "manifest", "maxHistory"),
    }


class Refusing:
    """A cluster that has some objects or none, and refuses every write."""

    def __init__(self, error: SandboxError, live: dict[str, Any] | None = None) -> None:
        self._error = error
        self._live = live

    def get(self, *place: Any) -> dict[str, Any] | None:
        return self._live

    def plural(self, wanted: dict[str, Any]) -> str:
        return "configmaps"

    def create(self, *given: Any) -> None:
        raise self._error

    def apply(self, *given: Any, **how: Any) -> None:
        raise self._error


THERE = ApiError(409, "AlreadyExists", 'configmaps "x" already exists')
CONFLICT = ApiError(409, "Conflict", 'Apply failed with 1 conflict: conflict with "kubectl": .data.a')
UNSERVED = NoMatch('no matches for kind "ConfigMap" in version "v1"')


class TestRefusals:
    """The real provider's words, provider/pkg/provider/provider.go and pkg/await/await.go."""

    URN = urn("kubernetes:core/v1:ConfigMap")

    def refused(
        self,
        error: SandboxError,
        live: dict[str, Any] | None = None,
        *,
        update: bool,
        preview: bool = False,
    ) -> SandboxError:
        plugin, given = KubernetesProvider(), property_map(body("ConfigMap", data={"a": "1"}))
        plugin._cluster = cast(Cluster, Refusing(error, live))  # pyright: ignore[reportPrivateUsage]
        asyncio.run(plugin.cancel())  # no patience with what is not there yet
        state = given | property_map({objects.FIELD_MANAGER: "m"})
        asked = (
            plugin.update(UpdateRequest(self.URN, "n/x", state, given, 0, [], preview))
            if update
            else plugin.create(CreateRequest(self.URN, given, 0, preview))
        )
        with pytest.raises(SandboxError) as raised:
            asyncio.run(cast(Coroutine[Any, Any, Any], asked))
        return raised.value

    def test_an_object_that_is_there(self) -> None:
        created = f'resource "{self.URN}" was not successfully created by the Kubernetes API server: '
        assert str(self.refused(THERE, update=False)) == f'{created}configmaps "x" already exists'

    @pytest.mark.parametrize(
        ("update", "words"),
        [
            (False, f'creation of resource "{URN}" with kind v1/ConfigMap failed because'),
            (True, f'update of resource "{URN}" failed because'),
        ],
    )
    def test_a_kind_that_is_not_served(self, update: bool, words: str) -> None:
        assert str(self.refused(UNSERVED, body("ConfigMap"), update=update)) == (
            f"{words} the Kubernetes API server reported that the apiVersion for this resource does not exist. Verify that "
            f"any required CRDs have been created: {UNSERVED}"
        )

    def test_an_object_that_is_gone(self) -> None:
        gone = 'configmaps "x" not found'
        assert str(self.refused(THERE, update=True)) == (
            f'update of resource "{self.URN}" failed: {gone}\nunable to get cluster state: {gone}'
        )

    @pytest.mark.parametrize("update", [False, True])
    def test_a_preview_has_the_same_words(self, update: bool) -> None:
        refused = ApiError(422, "Invalid", "spec: Invalid value")
        live = body("ConfigMap") if update else None
        preview = self.refused(refused, live, update=update, preview=True)
        assert str(preview) == str(self.refused(refused, live, update=update))

    def test_a_field_that_another_manager_has(self) -> None:
        said = str(self.refused(CONFLICT, body("ConfigMap"), update=True))
        assert said.startswith(
            'the Kubernetes API server reported that "n/x" failed to fully initialize or become live: '
            "Server-Side Apply field conflict detected. See https://"
        )
        assert said.endswith(f'\nThe resource managed by field manager "m" had an apply conflict: {CONFLICT}')

    def test_a_refused_update_leaves_the_new_inputs_in_the_state_and_the_cluster_as_it_is(self) -> None:
        failed = self.refused(CONFLICT, body("ConfigMap", data={"a": "0"}), update=True)
        assert isinstance(failed, InitFailed)
        state = plain_map(failed.properties)
        assert (state["data"], state["__inputs"]["data"]) == ({"a": "0"}, {"a": "1"})


class TestCheck:
    def test_identity_is_filled_in_and_the_name_is_stable(self) -> None:
        first = plain_map(check("kubernetes:core/v1:ConfigMap", {"data": {"a": "1"}}).inputs or {})
        assert (first["apiVersion"], first["kind"]) == ("v1", "ConfigMap")
        assert first["metadata"]["name"].startswith("thing-")
        assert first["metadata"]["namespace"] == "default"
        again = plain_map(check("kubernetes:core/v1:ConfigMap", {"data": {"a": "2"}}, first).inputs or {})
        assert again["metadata"] == first["metadata"]

    def test_a_misspelt_field_of_a_typed_kind_is_named(self) -> None:
        failures = check(DEPLOYMENT, {"metadata": {"name": "x"}, "spec": {"replica": 1}}).failures or []
        assert [failure.property for failure in failures] == ["spec.replica"]

    def test_kinds_the_sdk_does_not_know_pass(self) -> None:
        answer = check(
            "kubernetes:postgresql.cnpg.io/v1:Cluster", {"metadata": {"name": "x"}, "spec": {"any": 1}}
        )
        assert not answer.failures
        assert plain_map(answer.inputs or {})["apiVersion"] == "postgresql.cnpg.io/v1"

    @pytest.mark.parametrize("token", ["kubernetes:core/v1:ConfigMapPatch", "kubernetes:helm.sh/v4:Chart"])
    def test_what_is_not_emulated_is_refused_by_name(self, token: str) -> None:
        with pytest.raises(SandboxError, match=token):
            check(token, {})


class TestDiff:
    def test_scaling_updates(self) -> None:
        old, new = (
            body("Deployment", "apps/v1", spec={"replicas": 1}),
            body("Deployment", "apps/v1", spec={"replicas": 2}),
        )
        answer = diff(DEPLOYMENT, old, new)
        assert (list(answer.detailed_diff), answer.replaces) == (["spec.replicas"], [])

    @pytest.mark.parametrize(
        ("kind", "api_version", "field"),
        [
            ("Deployment", "apps/v1", {"spec": {"selector": {"matchLabels": {"a": "b"}}}}),
            ("Job", "batch/v1", {"spec": {"template": {"spec": {"x": 1}}}}),
            ("PersistentVolumeClaim", "v1", {"spec": {"storageClassName": "fast"}}),
            ("StorageClass", "storage.k8s.io/v1", {"parameters": {"a": "b"}}),
            ("Secret", "v1", {"stringData": {"a": "b"}}),
            ("ConfigMap", "v1", {"data": {"a": "b"}}),
        ],
    )
    def test_immutable_fields_replace_and_a_set_name_is_deleted_first(
        self, kind: str, api_version: str, field: dict[str, Any]
    ) -> None:
        answer = diff(
            f"kubernetes:{api_version}:{kind}", body(kind, api_version), body(kind, api_version, **field)
        )
        assert answer.replaces
        assert answer.delete_before_replace

    def test_an_autonamed_object_is_replaced_without_deleting_first(self) -> None:
        named = {"name": "x-1", "annotations": {"pulumi.com/autonamed": "true"}}
        old = {**body("ConfigMap", data={"a": "1"}), "metadata": named}
        answer = diff("kubernetes:core/v1:ConfigMap", old, {**old, "data": {"a": "2"}})
        assert answer.replaces == ["data.a"]
        assert not answer.delete_before_replace

    def test_the_default_namespace_written_out_is_no_change(self) -> None:
        old = {**body("ConfigMap"), "metadata": {"name": "x"}}
        new = {**body("ConfigMap"), "metadata": {"name": "x", "namespace": "default"}}
        assert diff("kubernetes:core/v1:ConfigMap", old, new).changes is False


class Lists:
    """Answers list calls from `items`, by kind."""

    def __init__(self, **items: list[dict[str, Any]]) -> None:
        self.items = items
        self.namespace = "default"

    def list(
        self, _api_version: str, kind: str, _namespace: str | None, **_selectors: str
    ) -> list[dict[str, Any]]:
        return self.items.get(kind, [])


def unready(live: dict[str, Any], **items: list[dict[str, Any]]) -> str | None:
    return awaits.unready(cast(Cluster, Lists(**items)), live)


class TestReadiness:
    def test_deployment(self) -> None:
        live = body("Deployment", "apps/v1", spec={"replicas": 1})
        live["metadata"]["generation"] = 2
        status = {"replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}
        available = {"conditions": [{"type": "Available", "status": "True"}]}
        assert "generation" in str(unready({**live, "status": {"observedGeneration": 1}}))
        assert "replicas" in str(unready({**live, "status": {"observedGeneration": 2}}))
        surplus = {"observedGeneration": 2, **status, "replicas": 2, **available}
        assert "earlier version" in str(unready({**live, "status": surplus}))
        assert unready({**live, "status": {"observedGeneration": 2, **status, **available}}) is None

    def test_job(self) -> None:
        live = body("Job", "batch/v1")
        assert unready({**live, "status": {"conditions": [{"type": "Complete", "status": "True"}]}}) is None
        assert unready(live) == "the Job has not completed"
        failed = {
            "type": "Failed",
            "status": "True",
            "reason": "BackoffLimitExceeded",
            "message": "too often",
        }
        with pytest.raises(awaits.NotReady) as raised:
            unready({**live, "status": {"conditions": [failed]}})
        assert str(raised.value) == "Resource 'x' was created but failed to initialize"

    def test_a_claim_of_a_class_that_waits_for_its_pod_is_ready_at_once(self) -> None:
        default = {"storageclass.kubernetes.io/is-default-class": "true"}
        late = {
            "metadata": {"name": "standard", "annotations": default},
            "volumeBindingMode": "WaitForFirstConsumer",
        }
        assert unready(body("PersistentVolumeClaim", spec={}), StorageClass=[late]) is None
        assert unready(body("PersistentVolumeClaim", spec={"storageClassName": "now"}), StorageClass=[late])

    def test_service_wants_a_ready_endpoint(self) -> None:
        live = body("Service", spec={"selector": {"a": "b"}, "clusterIP": "10.0.0.1"})
        assert unready(live, EndpointSlice=[{"endpoints": [{"conditions": {"ready": False}}]}])
        assert unready(live, EndpointSlice=[{"endpoints": [{"conditions": {"ready": True}}]}]) is None
        assert unready(body("Service", spec={"clusterIP": "10.0.0.1"})) is None

    def test_config_maps_and_custom_resources_are_ready(self) -> None:
        assert unready(body("ConfigMap")) is None
        assert unready(body("Widget", "demo.dev/v1")) is None


class TestWaitFor:
    @staticmethod
    def lacks(expression: str, live: dict[str, Any]) -> str | None:
        return awaits.waited_for(expression)(live)

    def test_conditions(self) -> None:
        live = body("Widget", status={"conditions": [{"type": "Ready", "status": "False"}]})
        assert "condition Ready is False" in str(self.lacks("condition=Ready", live))
        assert self.lacks("condition=Ready=False", live) is None

    def test_json_path(self) -> None:
        live = body("Widget", status={"phase": "Healthy", "conditions": [{"type": "A", "status": "True"}]})
        assert self.lacks("jsonpath={.status.phase}=Healthy", live) is None
        assert self.lacks("jsonpath={.status.phase}", live) is None
        assert self.lacks('jsonpath={.status.conditions[?(@.type=="A")].status}=True', live) is None
        assert "'Healthy'" in str(self.lacks("jsonpath={.status.phase}=Other", live))

    def test_all_of_an_array_must_hold(self) -> None:
        live = body("Widget", status={"phase": "P"})
        assert self.lacks('["jsonpath={.status.phase}=P", "condition=Ready"]', live)

    @pytest.mark.parametrize("expression", ["Ready", "condition=", "jsonpath=.status", "jsonpath={.a..b}"])
    def test_anything_else_is_refused(self, expression: str) -> None:
        with pytest.raises(SandboxError):
            self.lacks(expression, body("Widget"))

    def test_a_timeout_names_no_cause(self) -> None:
        condition = {
            "type": "Ready",
            "status": "False",
            "reason": "SecretSyncedError",
            "message": "no secret",
        }
        live = body("ExternalSecret", "external-secrets.io/v1", status={"conditions": [condition]})
        live["metadata"] |= {"uid": "u", "annotations": {awaits.WAIT_FOR: "condition=Ready"}}
        with pytest.raises(awaits.NotReady) as raised:
            awaits.wait_ready(cast(Cluster, Lists()), live, live, -1, threading.Event())
        assert str(raised.value) == "timed out waiting for the condition"

    def test_a_timeout_of_a_workload_names_no_cause(self) -> None:
        live = body("Deployment", "apps/v1", status={})
        with pytest.raises(awaits.NotReady) as raised:
            awaits.wait_ready(cast(Cluster, Lists()), live, live, -1, threading.Event())
        assert str(raised.value) == "'x' timed out waiting to be Ready"

    @pytest.mark.parametrize(
        ("annotations", "said"),
        [
            ({awaits.WAIT_FOR: "condition=Ready"}, "context canceled"),
            ({}, 'Resource operation was cancelled for "x"'),
        ],
    )
    def test_a_cancelled_wait(self, annotations: dict[str, str], said: str) -> None:
        live = body("Deployment", "apps/v1", status={})
        live["metadata"]["annotations"] = annotations
        cancelled = threading.Event()
        cancelled.set()
        with pytest.raises(awaits.NotReady) as raised:
            awaits.wait_ready(cast(Cluster, Lists()), live, live, 60, cancelled)
        assert str(raised.value) == said


def test_live_inputs_differ_only_where_the_cluster_really_does() -> None:
    inputs = {"spec": {"cpu": "1000m", "replicas": 1, "gone": "x"}, "list": [{"a": 1}]}
    would_be = {"spec": {"cpu": "1", "replicas": 1, "gone": "x", "default": True}, "list": [{"a": 1, "d": 2}]}
    live = {"spec": {"cpu": "1", "replicas": 3, "default": True}, "list": [{"a": 1, "d": 2}], "status": {}}
    found = objects.as_live(inputs, would_be, live)
    assert found == {"spec": {"cpu": "1000m", "replicas": 3}, "list": [{"a": 1}]}


class TestRelease:
    @pytest.mark.parametrize("name", sorted(input_names("kubernetes", RELEASE) - TAKEN | {"valus"}))
    def test_what_is_not_emulated_is_refused_by_name(self, name: str) -> None:
        failures = check(RELEASE, {"chart": "c", name: True}).failures or []
        assert [failure.property for failure in failures] == [name]

    def test_of_a_repository_only_its_address_is_taken(self) -> None:
        failures = check(RELEASE, {"chart": "c", "repositoryOpts": {"repo": "r", "username": "u"}}).failures
        assert [failure.property for failure in failures or []] == ["repositoryOpts.username"]

    def test_defaults_are_those_of_the_real_provider(self) -> None:
        given = {"chart": UNKNOWN, "compat": "true"}
        checked, failures = release.check(RELEASE, "r", b"", {}, given, "ns")
        assert failures == []
        assert (checked["namespace"], checked["timeout"]) == ("ns", 300)
        assert checked["name"].startswith("r-")
        assert "compat" not in checked

    def test_name_and_namespace_replace_and_values_update(self) -> None:
        old = {"name": "r", "namespace": "n", "values": {"a": 1}}
        assert release.diff(old, {**old, "values": {"a": 2}}).replaces == []
        assert release.diff(old, {**old, "name": "s"}).replaces == ["name"]

    def test_a_failed_one_is_told_in_the_real_providers_words(self) -> None:
        inputs = {"name": "r", "namespace": "n"}
        said = release.failure(inputs, "context deadline exceeded", "was created, but ")
        assert said == (
            'Helm release "n/r" was created, but failed to initialize completely. Use Helm CLI to investigate: failed '
            "to become available within allocated timeout. Error: Helm Release n/r: context deadline exceeded"
        )
        assert release.failure(inputs, "x", "").startswith(
            'Helm release "n/r" failed to initialize completely. '
        )
        assert release.warning(inputs, "x").endswith("correct it, then retry. Reason: x")
