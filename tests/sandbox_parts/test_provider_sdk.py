"""Names, values and differences as every provider stand-in treats them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty
from pulumi.provider.experimental.property_value import PropertyValue
from pulumi.provider.experimental.provider import PropertyDiffKind
from pulumi.runtime import rpc
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc, provider_pb2, status_pb2

from sandbox.plugins.sdk import check_inputs, check_names, input_names
from sandbox.plugins.server import InitFailed, init_status, warn
from sandbox.plugins.values import (
    UNKNOWN,
    detailed_diff,
    has_unknown,
    path_text,
    plain,
    plain_map,
    property_map,
    property_value,
    under,
)


def test_names_of_resources_providers_and_functions() -> None:
    assert input_names("random", "random:index/randomBytes:RandomBytes") == {"length", "keepers"}
    assert "clusterIdentifier" in input_names("kubernetes", "pulumi:providers:kubernetes")
    assert input_names("gcp", "gcp:container/getCluster:getCluster") >= {"name", "location", "project"}


def test_an_unknown_token_is_a_lookup_error() -> None:
    with pytest.raises(LookupError, match=r"kubernetes:demo\.dev/v1:Widget"):
        input_names("kubernetes", "kubernetes:demo.dev/v1:Widget")


def test_a_misspelt_name_deep_inside_is_named_with_the_nearest_one() -> None:
    container = {"name": "c", "imagee": "nginx", "resources": {"limits": {"nvidia.com/gpu": 1}}}
    inputs = {"spec": {"template": {"spec": {"containers": [container]}}}}
    (failure,) = check_inputs("kubernetes", "kubernetes:apps/v1:Deployment", inputs)
    assert failure.property == "spec.template.spec.containers[0].imagee"
    assert 'did you mean "image"' in failure.reason


def test_free_form_values_are_not_checked() -> None:
    inputs = {"chart": "c", "values": {"anything": {"goes": 1}}}
    assert check_inputs("kubernetes", "kubernetes:helm.sh/v3:Release", inputs) == []


def test_check_names_covers_the_top_level() -> None:
    (failure,) = check_names("provider", {"kubeconfg": ""}, {"kubeconfig", "context"})
    assert 'did you mean "kubeconfig"' in failure.reason


def test_plain_values() -> None:
    value = PropertyValue(
        {
            "whole": PropertyValue(2.0),
            "part": PropertyValue(0.5),
            "none": PropertyValue(None),
            "later": PropertyValue(rpc.UNKNOWN),
            "list": PropertyValue([PropertyValue("a", is_secret=True)]),
        }
    )
    assert plain(value) == {"whole": 2, "part": 0.5, "later": UNKNOWN, "list": ["a"]}
    assert has_unknown(plain(value))


def test_outputs_are_secret_where_the_inputs_were() -> None:
    env = PropertyValue([PropertyValue({"value": PropertyValue("x", is_secret=True)})])
    given = {"spec": PropertyValue({"env": env, "n": PropertyValue(1.0)})}
    outputs = {"spec": {"env": [{"value": "x", "name": "N"}], "n": 1}, "status": {"ready": True}}
    out = property_map(outputs, given)
    spec = out["spec"].value
    assert not out["spec"].is_secret
    assert spec["env"].value[0].value["value"].is_secret  # type: ignore[index, union-attr]
    assert not spec["n"].contains_secret()  # type: ignore[index, union-attr]
    assert not out["status"].contains_secret()
    assert plain_map(out)["spec"]["n"] == 1


def test_a_list_of_another_length_is_secret_as_a_whole() -> None:
    model = PropertyValue([PropertyValue("x", is_secret=True)])
    assert property_value(["a", "b"], model).is_secret


def test_differences_are_deep_and_paths_are_quoted() -> None:
    old = {"metadata": {"labels": {"a.b/c": "1"}}, "spec": {"n": 1, "list": [1, 2]}, "gone": True}
    new = {"metadata": {"labels": {"a.b/c": "2"}}, "spec": {"n": 1, "list": [1]}, "more": UNKNOWN}
    diff = detailed_diff(old, new, under("spec"))
    assert {path: change.kind for path, change in diff.items()} == {
        'metadata.labels["a.b/c"]': PropertyDiffKind.UPDATE,
        "spec.list[1]": PropertyDiffKind.DELETE_REPLACE,
        "gone": PropertyDiffKind.DELETE,
        "more": PropertyDiffKind.ADD,
    }


def test_unknown_is_always_a_change_and_true_is_not_one() -> None:
    assert detailed_diff({"a": UNKNOWN, "b": 1}, {"a": UNKNOWN, "b": True}, under()).keys() == {"a", "b"}


def test_under_matches_at_inside_and_around() -> None:
    test = under("spec.selector")
    assert test(("spec", "selector", "matchLabels"))
    assert test(("spec",))
    assert not test(("spec", "replicas"))


def test_path_text_of_indexes() -> None:
    assert path_text(("spec", "containers", 0, "image")) == "spec.containers[0].image"


def test_a_failed_wait_carries_the_resource_to_the_engine() -> None:
    status = init_status(InitFailed("ns/x", {"a": PropertyValue("b")}, ["not ready"]))
    body = status_pb2.Status.FromString(dict(status.trailing_metadata)["grpc-status-details-bin"])  # type: ignore[attr-defined]
    detail = provider_pb2.ErrorResourceInitFailed()
    assert body.details[0].Unpack(detail)
    assert (detail.id, list(detail.reasons), detail.properties["a"]) == ("ns/x", ["not ready"], "b")


def test_a_warning_reaches_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[Any] = []

    class Engine(engine_pb2_grpc.EngineServicer):
        def Log(self, request: Any, context: Any) -> Any:
            heard.append((request.severity, request.urn, request.message))
            return Empty()

    server = grpc.server(ThreadPoolExecutor(1))
    engine_pb2_grpc.add_EngineServicer_to_server(Engine(), server)
    monkeypatch.setattr("sys.argv", ["provider", f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"])
    server.start()
    warn("urn", "failed")
    server.stop(None).wait()
    warn("urn", "to an engine that is gone")
    assert heard == [(engine_pb2.WARNING, "urn", "failed")]
