"""The sandbox itself: it starts, stops, keeps to itself, and stands beside another one."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from sandbox import stack_file
from sandbox.cluster import control_plane
from sandbox.toolchain.build import Manifest
from tests.support.driver import Sandbox
from tests.support.sandboxes import Sandboxes
from tests.support.waiting import wait_for


def processes_of(sandbox: Sandbox) -> list[str]:
    listing = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    return [line for line in listing.splitlines() if str(sandbox.home.root) in line]


def test_two_sandboxes_stop_clean_and_start_again(sandboxes: Sandboxes) -> None:
    with sandboxes.forked("empty") as one, sandboxes.forked("empty") as other:
        for sandbox in (one, other):
            sandbox.run("start").succeeded()
        assert {sandbox.get("/version")["gitVersion"] for sandbox in (one, other)} == {
            Manifest.read().version("kube-apiserver")
        }
        assert processes_of(one)
        one.run("down").succeeded()
        assert processes_of(one) == []
        assert other.run("status").succeeded()
        one.run("start").succeeded()
        assert len(one.get("/api/v1/nodes")["items"]) == 3


def test_cluster_is_named_by_another_stacks_outputs(empty: Sandbox) -> None:
    file = empty.root / "Pulumi.dev.yaml"
    settings = yaml.safe_load(file.read_text())
    settings["config"]["llm-gateway:cluster"] = {"stack": "organization/gke-cluster/dev"}
    file.write_text(yaml.safe_dump(settings))
    empty.run("preview").succeeded()
    steps = [event["resourcePreEvent"] for event in empty.events("preview") if "resourcePreEvent" in event]
    made = [step["metadata"] for step in steps if step["metadata"]["type"].endswith(":NodePool")]
    (pool,) = [step["new"]["inputs"] for step in made]
    assert (pool["location"], pool["cluster"]) == ("europe-west4", "of-another-stack")


def test_preview_comes_before_any_up(empty: Sandbox) -> None:
    empty.run("preview").succeeded()
    assert {step.op for step in empty.steps("preview")} == {"create", "read"}
    assert empty.get("/api/v1/namespaces?fieldSelector=metadata.name=llm-gateway")["items"] == []
    assert empty.cloud.list("secret") == []


def test_the_users_own_login_and_cluster_are_neither_used_nor_touched(
    empty: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = tmp_path / "user"
    (user / ".pulumi").mkdir(parents=True)
    (user / ".pulumi/credentials.json").write_text('{"current": "https://pulumi.example.com"}')
    (user / ".kube").mkdir()
    (user / ".kube/config").write_text("current-context: production")
    before = {path: path.read_bytes() for path in user.rglob("*") if path.is_file()}
    for name, value in {
        "HOME": str(user),
        "KUBECONFIG": str(user / ".kube/config"),
        "PULUMI_ACCESS_TOKEN": "pul-0123456789",
        "PULUMI_BACKEND_URL": "https://pulumi.example.com",
        "GOOGLE_APPLICATION_CREDENTIALS": str(user / "key.json"),
        "GOOGLE_CLOUD_PROJECT": "production",
        "LLM_GATEWAY_CACHE": os.environ.get("LLM_GATEWAY_CACHE") or str(Path.home() / ".cache/llm-gateway"),
    }.items():
        monkeypatch.setenv(name, value)
    stack_file = (empty.root / "Pulumi.dev.yaml").read_bytes()
    environment = empty.run("exec", "--", "env").succeeded().text
    assert "pul-0123456789" not in environment
    assert "production" not in environment
    empty.run("preview").succeeded()
    assert {path: path.read_bytes() for path in user.rglob("*") if path.is_file()} == before
    assert (empty.root / "Pulumi.dev.yaml").read_bytes() == stack_file


def test_an_upgraded_operator_is_proven_again_and_its_objects_stay(own_dev: Sandbox) -> None:
    own_dev.patch("components/operators.py", '_resources("100m", ', '_resources("110m", ')
    own_dev.up().succeeded()
    assert own_dev.changed("up") == {
        ("Release", "gateway-cnpg-release"): "update",
        ("ConfigMap", "gateway-cnpg-webhook-open"): "update",
    }


def kept(sandbox: Sandbox) -> dict[str, str]:
    """What the state has of what was made; what is only read, and providers, are as the last run found them."""
    return {
        # What is encrypted is so anew each time.
        f"{resource['urn']} {resource.get('delete', False)}": re.sub(
            r'"ciphertext": "[^"]*"', "", json.dumps([resource.get("inputs"), resource.get("outputs")])
        )
        for resource in sandbox.resources()
        if resource["custom"]
        and not resource.get("external")
        and not resource["type"].startswith("pulumi:providers:")
    }


def test_a_live_stack_is_not_moved_nor_recovered(own_dev: Sandbox) -> None:
    """Refused by the preview, and by an `up` without one: with the key, and with nothing touched."""
    own_dev.run("start").succeeded()
    own_dev.up().succeeded()  # the fork's API server has another address
    before = kept(own_dev)
    elsewhere = {"name": "platform-dev", "location": "europe-west1"}
    for changes, key in (
        *(
            ({"namespaces": {part: "other"}}, f"namespaces.{part}")
            for part in ("gateway", "serving", "cnpg", "externalSecrets")
        ),
        (
            {"gcp": {"project": "example-llm-other"}, "cluster": {**elsewhere, "project": own_dev.project}},
            "gcp.project",
        ),
        ({"secrets": {"prefix": "eu-"}}, "secrets.prefix"),
    ):
        config = {f"llm-gateway:{section}": value for section, value in changes.items()}
        text = own_dev.up(config=config).failed().text
        assert "These settings cannot be changed in place" in text
        assert f"llm-gateway:{key}: made with " in text
        assert kept(own_dev) == before
    assert (
        "cannot be changed in place"
        in own_dev.run("up", config={"llm-gateway:namespaces": {"serving": "other"}}).failed().text
    )
    text = own_dev.run("up", config={"llm-gateway:recover": True}).failed().text
    assert "llm-gateway:recover: this stack's state is not lost" in text
    assert kept(own_dev) == before
    own_dev.up().succeeded()
    assert own_dev.changed("up") == {}


def test_recover_takes_over_nothing_that_the_state_has(own_dev: Sandbox) -> None:
    """Where no `up` without `recover` came to its end yet."""
    own_dev.run("start").succeeded()
    own_dev.up().succeeded()
    state = own_dev.export()
    latest = state["checkpoint"]["latest"]
    latest["resources"] = [r for r in latest["resources"] if not r["urn"].endswith("::gateway-complete")]
    recover = {"llm-gateway:recover": True}

    def write() -> None:
        own_dev.home.checkpoint(own_dev.stack).write_text(json.dumps(state))

    write()
    named, anew = (
        f'{name},\n            api_version="external-secrets.io/v1",\n            kind="ExternalSecret"'
        for name in ("child", 'f"{child}-anew"')
    )
    own_dev.patch("components/secret_sync.py", named, anew)
    text = own_dev.run("preview", config=recover).failed().text
    assert "recover: ExternalSecret llm-gateway litellm-" in text
    assert "is in this stack's state, as urn:" in text
    own_dev.up(config=recover).failed()
    assert own_dev.namespaced("externalsecrets", "llm-gateway", "litellm-secrets", "external-secrets.io/v1")

    write()
    own_dev.patch("components/secret_sync.py", anew, named)
    (pending,) = [r for r in latest["resources"] if r["urn"].endswith("::gateway-namespaces-serving")]
    latest["resources"].append({**pending, "delete": True})
    write()
    text = own_dev.up(config=recover).failed().text
    assert "still to be deleted or replaced: gateway-namespaces-serving." in text
    latest["resources"].pop()
    write()
    own_dev.up(config=recover).succeeded()
    assert own_dev.changed("up") == {}


def test_charts_of_a_folder_bring_their_crds(empty: Sandbox, tmp_path: Path) -> None:
    """As the upstream charts do. Helm would refuse CRDs that are there and name no release."""
    empty.run("start").succeeded()
    definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    api = control_plane.api(empty.home)
    for item in api.get(definitions)["items"]:
        api.send("DELETE", f"{definitions}/{item['metadata']['name']}", {})
    wait_for(lambda: not api.get(definitions)["items"])

    charts = tmp_path / "charts"
    shutil.copytree(stack_file.CHARTS, charts)
    for chart, group in (("external-secrets", "external-secrets"), ("cloudnative-pg", "cnpg")):
        shutil.copy(empty.home.crds / f"{group}.yaml", charts / chart / "crds.yaml")
        (charts / chart / "templates" / "crds.yaml").write_text('{{ .Files.Get "crds.yaml" }}')
    for described in charts.glob("*/Chart.yaml"):
        described.write_text(described.read_text().replace("Contract chart:", "A copy:"))
    empty.up("--charts", str(charts)).succeeded()
    brought = {
        item["metadata"]["name"]: item["metadata"]["annotations"] for item in api.get(definitions)["items"]
    }
    assert brought["externalsecrets.external-secrets.io"]["meta.helm.sh/release-name"] == "external-secrets"
    assert brought["clusters.postgresql.cnpg.io"]["meta.helm.sh/release-name"] == "cnpg"
    assert not [name for name in brought if name.endswith("cert-manager.io")]

    compared = empty.run("charts").failed().text
    for chart in ("cloudnative-pg 0.28.3", "litellm-helm 1.89.2", "vllm-stack 0.1.12"):
        assert f"{chart}: as the contract chart" in compared
    assert "external-secrets 2.6.0: differs" in compared
    # Which only a chart with CRDs of its own would read.
    unread = "  external-secrets crds.annotations.helm.sh/resource-policy: the program gives it, and no template reads it"
    assert [line for line in compared.splitlines() if line.startswith("  ")] == [unread]
