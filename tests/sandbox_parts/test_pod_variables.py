"""A container's environment and command, as the kubelet makes them."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from sandbox.nodes.pods import variables
from sandbox.nodes.pods.variables import ConfigError, command, environment, expand

Json = dict[str, Any]


class Objects:
    """Objects by kind and name, all of one namespace but the Service `kubernetes`."""

    def __init__(self, **kinds: dict[str, Json]) -> None:
        self._kinds = kinds

    def get(self, kind: str, namespace: str, name: str) -> Json | None:
        return self._kinds.get(kind, {}).get(name)

    def list(self, kind: str, namespace: str | None = None) -> list[Json]:
        return [item for name, item in self._kinds.get(kind, {}).items() if name != "kubernetes"]


def secret(**data: str) -> Json:
    return {"data": {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}}


def service(name: str, address: str, *ports: Json) -> Json:
    return {"metadata": {"name": name}, "spec": {"clusterIP": address, "ports": list(ports)}}


API = Objects(
    Secret={"keys": secret(MASTER="sk-1", password="pw")},
    ConfigMap={"settings": {"data": {"level": "INFO", "bad key": "x"}}},
    Service={
        "kubernetes": service("kubernetes", "10.0.0.1", {"name": "https", "port": 443}),
        "litellm-pg-rw": service("litellm-pg-rw", "10.0.0.7", {"name": "postgres", "port": 5432}),
        "headless": service("headless", "None", {"port": 1}),
    },
)
NODE = {"status": {"allocatable": {"cpu": "3920m", "memory": "1Gi"}}}


def pod(container: Json, **spec: Any) -> Json:
    return {
        "metadata": {"name": "p", "namespace": "n", "uid": "u", "labels": {"a/b": "c"}, "annotations": {}},
        "spec": {"containers": [container], "nodeName": "node-1", "enableServiceLinks": False, **spec},
        "status": {"podIP": "10.8.128.1", "hostIP": "10.0.0.2"},
    }


def made(*entries: Json, source: list[Json] | None = None, **spec: Any) -> dict[str, str]:
    container: Json = {"name": "c", "env": list(entries), "envFrom": source or []}
    container["resources"] = {"requests": {"cpu": "250m"}, "limits": {"memory": "64Mi"}}
    return environment(pod(container, **spec), container, API, NODE)


def ref(kind: str, name: str, key: str, **more: Any) -> Json:
    return {"name": "V", "valueFrom": {kind: {"name": name, "key": key, **more}}}


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ({"name": "V", "value": "plain"}, "plain"),
        ({"name": "V"}, ""),
        (ref("secretKeyRef", "keys", "MASTER"), "sk-1"),
        (ref("configMapKeyRef", "settings", "level"), "INFO"),
        ({"name": "V", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}, "10.8.128.1"),
        ({"name": "V", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['a/b']"}}}, "c"),
        ({"name": "V", "valueFrom": {"resourceFieldRef": {"resource": "requests.cpu"}}}, "1"),
        (
            {"name": "V", "valueFrom": {"resourceFieldRef": {"resource": "requests.cpu", "divisor": "1m"}}},
            "250",
        ),
        ({"name": "V", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory"}}}, "67108864"),
        ({"name": "V", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}}, "4"),
    ],
)
def test_a_variable_has_the_value_its_source_says(entry: Json, value: str) -> None:
    assert made(entry)["V"] == value


def test_variables_are_put_in_in_order_and_what_is_unknown_stays() -> None:
    found = made(
        {"name": "USER", "value": "u"},
        {"name": "URL", "value": "postgresql://$(USER):$(LATER)@$$(USER)"},
        {"name": "LATER", "value": "x"},
    )
    assert found["URL"] == "postgresql://u:$(LATER)@$(USER)"


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        (ref("secretKeyRef", "none", "MASTER"), 'secret "none" not found'),
        (ref("secretKeyRef", "keys", "none"), "couldn't find key none in Secret n/keys"),
        (ref("configMapKeyRef", "none", "level"), 'configmap "none" not found'),
        (
            {"name": "V", "valueFrom": {"fieldRef": {"fieldPath": "spec.none"}}},
            "unsupported fieldPath: spec.none",
        ),
        ({"name": "V", "valueFrom": {"fileKeyRef": {}}}, "fileKeyRef is not emulated"),
    ],
)
def test_what_is_missing_is_said_as_the_kubelet_says_it(entry: Json, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        made(entry)


def test_binary_data_is_no_variable() -> None:
    binary = {"data": {"a": "1"}, "binaryData": {"b": "AAE="}}
    api = Objects(ConfigMap={"settings": binary}, Service={})
    container: Json = {"name": "c", "envFrom": [{"configMapRef": {"name": "settings"}}]}
    assert environment(pod(container), container, api, NODE) == {"a": "1"}
    container = {
        "name": "c",
        "env": [{"name": "B", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "b"}}}],
    }
    with pytest.raises(ConfigError, match="couldn't find key b in ConfigMap n/settings"):
        environment(pod(container), container, api, NODE)


def test_what_is_optional_may_be_missing() -> None:
    assert "V" not in made(ref("secretKeyRef", "keys", "none", optional=True))
    assert "V" not in made(ref("secretKeyRef", "none", "none", optional=True))


def test_all_of_an_object_comes_with_its_prefix_and_single_entries_win() -> None:
    sources = [{"secretRef": {"name": "keys"}}, {"prefix": "P_", "configMapRef": {"name": "settings"}}]
    found = made({"name": "password", "value": "mine"}, source=sources)
    assert (found["MASTER"], found["P_level"], found["password"]) == ("sk-1", "INFO", "mine")


def test_services_of_the_namespace_are_variables_unless_the_pod_has_no_links() -> None:
    linked = made(enableServiceLinks=True)
    assert linked["LITELLM_PG_RW_SERVICE_HOST"] == "10.0.0.7"
    assert linked["LITELLM_PG_RW_PORT"] == "tcp://10.0.0.7:5432"
    assert linked["LITELLM_PG_RW_PORT_5432_TCP_ADDR"] == "10.0.0.7"
    assert not [name for name in linked if name.startswith("HEADLESS")]
    unlinked = made()
    assert unlinked["KUBERNETES_SERVICE_HOST"] == "10.0.0.1"
    assert "LITELLM_PG_RW_PORT" not in unlinked


def test_own_variables_hide_those_of_services() -> None:
    assert (
        made({"name": "LITELLM_PG_RW_PORT", "value": "1"}, enableServiceLinks=True)["LITELLM_PG_RW_PORT"]
        == "1"
    )


def test_commands_take_variables() -> None:
    container = {
        "command": ["valkey-server"],
        "args": ["--requirepass", "$(PASSWORD)", "$(NONE)", "$$(PASSWORD)"],
    }
    words, arguments = command(container, {"PASSWORD": "pw"})
    assert (words, arguments) == (["valkey-server"], ["--requirepass", "pw", "$(NONE)", "$(PASSWORD)"])


def test_expand_leaves_what_is_no_reference() -> None:
    assert expand("a$b $( $(A", {"A": "1"}) == "a$b $( $(A"


def test_labels_of_the_downward_api_are_lines() -> None:
    found = pod({"name": "c"})
    found["metadata"]["labels"] = {"b": 'say "hi"', "a": "1"}
    assert variables.field(found, "metadata.labels") == 'a="1"\nb="say \\"hi\\""'
