"""Every image comes from the mirrors that the settings name, and every pod logs in to them where a secret says how."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml

import settings
import versions
from sandbox.charts import schema
from settings.images import REGISTRIES, Images
from tests.support.engine import EVERYTHING, SETTINGS, Recording, Registration, run_program
from tests.unit.test_images import images

MIRROR = "mirror.example.com:5000"
MIRRORS = {host: f"{MIRROR}/{host.partition('.')[0]}" for host in REGISTRIES}
CHARTS = {"mirror": "oci://mirror.example.com:5000/charts"}
LOGIN = "registry-login"
BY_NODES = MIRRORS | {"ghcr.io": "europe-west4-docker.pkg.dev/example-llm-dev/ghcr"}
ES_OFF: Mapping[str, Any] = {"externalSecrets": {"install": False}}
OFF = {
    ("cert-manager", "startupapicheck.image"): "startupapicheck.enabled is false",
    ("vllm-stack", "servingEngineSpec.sidecar"): "no model sets enableLoRA, the chart's own way to adapters",
    ("vllm-stack", "loraController.image"): "loraController.enableLoraController is false",
    ("vllm-stack", "sharedPvcStorage.image"): "sharedPvcStorage.enabled is false",
}
"""Images that a chart names and does not run with the program's values, and why."""


@pytest.fixture(scope="module")
def mirrored() -> Recording:
    return run_program({**EVERYTHING, "charts": CHARTS, "images": {"mirrors": MIRRORS}})


@pytest.fixture(scope="module")
def with_login() -> Recording:
    return run_program({**EVERYTHING, "images": {"mirrors": BY_NODES, "pullSecret": LOGIN}})


def texts(value: Any) -> Iterator[str]:
    """Every text in a tree of values."""
    if isinstance(value, str):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from texts(item)


def test_each_image_keeps_its_path_and_tag_behind_the_mirror(mirrored: Recording) -> None:
    named = {image for registration in mirrored.resources.values() for image in images(registration.inputs)}
    there = {f"{MIRRORS[image.registry]}/{image.path}:{image.pinned_tag}" for image in versions.IMAGES}
    connector = str(Images(mirrors=MIRRORS).at(versions.CLOUD_SQL_PROXY_IMAGE))
    assert named == there - {connector}  # of Cloud SQL alone: test_cloud_sql.py
    assert set(mirrored.outputs["images"]) == there
    assert f"{MIRROR}/docker/valkey/valkey:{versions.VALKEY_IMAGE.tag}" in named


def test_no_text_of_any_resource_names_an_upstream_registry(mirrored: Recording) -> None:
    paths = {f"{image.path}:" for image in versions.IMAGES} | {f"{host}/" for host in REGISTRIES}
    for registration in mirrored.resources.values():
        for text in texts(registration.inputs):
            rest = text.replace(f"{MIRROR}/", "")
            if rest == text:
                assert not any(path in text for path in paths), registration.urn


def chart_images(chart: str, values: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Where a chart's values name an image, and the image's repository."""
    if isinstance(values, dict):
        for key in ("repository", "image"):
            if isinstance(values.get(key), str) and (values[key] or "name" in values):
                yield path, f"{values.get('registry') or ''}/{values[key]}".strip("/")
        for key, inner in values.items():
            yield from chart_images(chart, inner, f"{path}.{key}".strip("."))


def merged(under: Any, over: Any) -> Any:
    if not (isinstance(under, dict) and isinstance(over, dict)):
        return over
    return {
        key: merged(under.get(key), over[key]) if key in over else under[key] for key in {**under, **over}
    }


def test_no_image_of_a_charts_defaults_is_left(mirrored: Recording) -> None:
    """A chart's new version with another image is seen here, once its values.yaml is the sandbox's."""
    left: set[tuple[str, str]] = set()
    for release in mirrored.all("Release"):
        name = release.inputs["chart"].rpartition("/")[2]
        defaults = yaml.safe_load((schema.CHARTS / name / "values.yaml").read_text())
        values = merged(defaults, release.inputs["values"])
        left |= {
            (name, path) for path, image in chart_images(name, values) if not image.startswith(f"{MIRROR}/")
        }
    assert left == OFF.keys()


def of_pods(recording: Recording) -> list[Registration]:
    """What makes pods: whatever names an image."""
    return [found for found in recording.resources.values() if any(images(found.inputs))]


def test_every_pod_logs_in_but_those_that_bring_the_login(with_login: Recording) -> None:
    makers = of_pods(with_login)
    assert {found.request.name for found in makers} >= {"gateway-litellm-release", "gateway-valkey-server"}
    for found in makers:
        inputs = json.dumps(found.inputs)
        if found.request.name == "gateway-external-secrets-release":
            assert "image-pull" not in inputs
            continue
        assert '"imagePullSecrets": [{"name": "image-pull"}]' in inputs, found.urn
        part = {"cnpg-system": "cnpg", "llm-gateway": "gateway", "vllm": "serving"}
        namespace = found.inputs.get("namespace") or found.inputs["metadata"]["namespace"]
        gate = f"gateway-secret-sync-image-pull-{part.get(namespace, namespace)}-synced"
        assert with_login.one("ConfigMap", gate).urn in with_login.waits_for(found), found.urn
    (engine,) = with_login.one("Release", "gateway-vllm-release").inputs["values"]["servingEngineSpec"][
        "modelSpec"
    ]
    assert engine["imagePullSecret"] == "image-pull"


def test_the_login_is_synced_as_kubernetes_reads_it(with_login: Recording) -> None:
    synced = [
        found
        for found in with_login.all("ExternalSecret")
        if found.inputs["metadata"]["name"] == "image-pull"
    ]
    namespaces = {found.inputs["metadata"]["namespace"] for found in synced}
    assert namespaces == {"llm-gateway", "vllm", "cnpg-system", "cert-manager"}
    store = with_login.one("ClusterSecretStore", "gateway-secret-sync-store").inputs["spec"]
    assert set(store["conditions"][0]["namespaces"]) == namespaces
    for found in synced:
        spec = found.inputs["spec"]
        assert spec["target"]["template"]["type"] == "kubernetes.io/dockerconfigjson"
        assert [read["secretKey"] for read in spec["data"]] == [".dockerconfigjson"]
        assert spec["data"][0]["remoteRef"]["key"] == LOGIN


def test_nothing_logs_in_where_nodes_need_no_secret(mirrored: Recording) -> None:
    assert not any("imagePullSecrets" in json.dumps(found.inputs) for found in of_pods(mirrored))
    store = mirrored.one("ClusterSecretStore", "gateway-secret-sync-store").inputs["spec"]
    assert store["conditions"] == [{"namespaces": ["llm-gateway", "vllm"]}]


def read(images: Mapping[str, Any], **others: Any) -> settings.Settings:
    sections = {**SETTINGS, "images": images, **others}
    entries = {f"llm-gateway:{key}": json.dumps(value) for key, value in sections.items()}
    return settings.parse(entries, "dev")


@pytest.mark.parametrize(
    ("images", "key", "said"),
    [
        (
            {"mirrors": dict.fromkeys(REGISTRIES, f"https://{MIRROR}")},
            "images.mirrors.docker.io",
            "String should match",
        ),
        ({"mirrors": MIRRORS | {"ghcr.io": "mirror/x"}}, "images.mirrors.ghcr.io", "String should match"),
        ({"mirrors": MIRRORS | {"ghcr.io": f"{MIRROR}/X"}}, "images.mirrors.ghcr.io", "String should match"),
        ({"mirrors": MIRRORS | {"ghcr.io": f"{MIRROR}/"}}, "images.mirrors.ghcr.io", "String should match"),
        ({"mirrors": MIRRORS | {"ecr.aws": MIRROR}}, "images.mirrors.ecr.aws", "no image comes from ecr.aws"),
        ({"mirrors": {"ghcr.io": MIRROR}}, "images.mirrors", "valkey/valkey, vllm/vllm-openai"),
        ({"mirrors": MIRRORS, "pullSecret": LOGIN}, "images.pullSecret", f"image comes from {MIRROR}"),
        ({"pullSecret": "litellm-master-key"}, "images.pullSecret", "the gateway's own secret"),
    ],
)
def test_refused(images: Mapping[str, Any], key: str, said: str) -> None:
    with pytest.raises(settings.SettingsError) as refused:
        read(images)
    assert any(key == mistake.key and said in mistake.problem for mistake in refused.value.mistakes)


@pytest.mark.parametrize(
    ("images", "operators"),
    [
        ({"mirrors": MIRRORS, "pullSecret": LOGIN}, ES_OFF),
        ({"mirrors": BY_NODES, "pullSecret": LOGIN}, {}),
        ({"pullSecret": LOGIN}, {}),  # Docker Hub's limits; External Secrets comes from ghcr.io
        ({"mirrors": {host: host for host in REGISTRIES}}, {}),
        ({"mirrors": dict.fromkeys(REGISTRIES, "registry:5000")}, {}),
    ],
)
def test_taken(images: Mapping[str, Any], operators: Mapping[str, Any]) -> None:
    taken = read(images, operators=operators)
    assert (LOGIN in taken.made_elsewhere) == ("pullSecret" in images)
