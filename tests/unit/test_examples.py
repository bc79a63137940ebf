"""The programs in examples/ on a mocked engine: what they register, and what they refuse."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pulumi
import pytest
import yaml
from pulumi.runtime import mocks

from components.litellm import PORT, PROXY
from components.owner import owner_label, owner_of
from sandbox.network.policies import End, Policies
from settings import Settings
from tests.support.engine import EVERYTHING, ROOT, SETTINGS, Mocks, Recording, run, run_program

CLUSTER = {"gcp": {"project": "example-llm-dev"}, "name": "gateway-dev", "region": "europe-west4"}
CONSUMER = {"gateway": "organization/llm-gateway/dev", "namespace": "search", "virtualKey": "search-app"}
OUTPUTS: Mapping[str, Any] = {
    "gatewayUrl": "http://gateway.test:4000",
    "virtualKeyStore": {"project": "example-secrets", "serviceAccount": "reader"},
    "cluster": {"name": "gateway-dev", "location": "europe-west4", "project": "example-llm-dev"},
    "modelAliases": ["small", "large"],
    "virtualKeySecrets": {"search-app": "projects/1/secrets/litellm-key-search-app"},
}


class Answers(Mocks):
    """What the providers compute for the examples' resources; `outputs` are those of the gateway's stack."""

    def __init__(self, outputs: Mapping[str, Any] = OUTPUTS) -> None:
        super().__init__()
        self._outputs = dict(outputs)

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        if args.typ == "pulumi:pulumi:StackReference":
            return args.name, {**args.inputs, "outputs": self._outputs, "secretOutputNames": []}
        if args.typ == "gcp:serviceaccount/account:Account":
            email = f"{args.inputs['accountId']}@example-llm-dev.iam.gserviceaccount.com"
            return args.name, {**args.inputs, "email": email, "member": f"serviceAccount:{email}"}
        return super().new_resource(args)


def run_example(
    name: str, settings: Mapping[str, Any], answers: Mocks | None = None, *, preview: bool = False
) -> Recording:
    """Run an example as the engine would, with its own modules first on the path."""
    folder = ROOT / "examples" / name
    modules = {file.stem for file in folder.glob("*.py")} - {"__main__"}
    sys.path.insert(0, str(folder))
    try:
        return run(folder, f"llm-gateway-{name}", settings, answers or Answers(), preview=preview)
    finally:
        sys.path.remove(str(folder))
        for module in modules:
            sys.modules.pop(module, None)


def test_the_cluster_is_private_and_shut() -> None:
    cluster = run_example("cluster", CLUSTER).one("Cluster", "gke-cluster").inputs
    assert cluster["privateClusterConfig"]["enablePrivateNodes"] is True
    assert cluster["masterAuthorizedNetworksConfig"] == {"cidrBlocks": []}
    assert cluster["workloadIdentityConfig"] == {"workloadPool": "example-llm-dev.svc.id.goog"}
    assert cluster["datapathProvider"] == "ADVANCED_DATAPATH"
    assert cluster["deletionProtection"] is True


def test_nodes_have_an_account_with_one_role_and_a_way_out() -> None:
    recording = run_example("cluster", CLUSTER)
    roles = [role.inputs for (type_, _), role in recording.resources.items() if "IAMMember" in type_]
    email = "gateway-dev-nodes@example-llm-dev.iam.gserviceaccount.com"
    role = "roles/container.defaultNodeServiceAccount"
    assert roles == [{"project": "example-llm-dev", "member": f"serviceAccount:{email}", "role": role}]
    pool = recording.one("NodePool", "gke-nodes")
    assert pool.inputs["nodeConfig"]["serviceAccount"] == email
    waits = recording.waits_for(pool)
    assert recording.one("RouterNat", "vpc-nat").urn in waits
    assert recording.one("IAMMember", "gke-node-role").urn in waits


@pytest.mark.parametrize("preview", [False, True])
def test_everything_comes_after_the_apis(preview: bool) -> None:
    recording = run_example("cluster", CLUSTER, preview=preview)
    apis = {api.urn for api in recording.all("Service")}
    assert len(apis) == 6
    waiting = (("Network", "vpc-network"), ("Account", "gke-node-account"), ("Cluster", "gke-cluster"))
    for kind, name in waiting:
        assert apis <= recording.waits_for(recording.one(kind, name))


def test_the_firewall_lets_the_control_plane_in_and_nobody_else() -> None:
    recording = run_example("cluster", {**CLUSTER, "webhookPorts": [9443, 10250]})
    rule = recording.one("Firewall", "gke-webhooks").inputs
    assert rule["sourceRanges"] == ["172.16.0.0/28"]
    assert rule["allows"] == [{"protocol": "tcp", "ports": ["9443", "10250"]}]


def test_the_clusters_outputs_name_it() -> None:
    recording = run_example("cluster", CLUSTER)
    assert recording.outputs == {
        "clusterName": "gateway-dev",
        "clusterLocation": "europe-west4",
        "clusterProject": "example-llm-dev",
        "nodeServiceAccount": "gateway-dev-nodes@example-llm-dev.iam.gserviceaccount.com",
    }
    assert not recording.secret_outputs


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({**CLUSTER, "region": "europe-west4-a"}, "llm-gateway-cluster:region: String should match pattern"),
        ({**CLUSTER, "node": {}}, "llm-gateway-cluster:node: Extra inputs are not permitted"),
        ({**CLUSTER, "ranges": {"pods": "10.4.0.1/14"}}, "ranges.pods: Input is not a valid IPv4 network"),
        ({"gcp": CLUSTER["gcp"]}, "llm-gateway-cluster:name: Field required"),
    ],
)
def test_wrong_settings_of_the_cluster_are_named(settings: Mapping[str, Any], words: str) -> None:
    with pytest.raises(pulumi.RunError, match=words):
        run_example("cluster", settings)


def test_the_caller_asks_a_model_with_a_key_that_it_alone_reads() -> None:
    recording = run_example("consumer", {**CONSUMER, "model": "large"})
    pod = recording.one("Deployment", "caller-deployment").inputs["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    environment = {entry["name"]: entry["value"] for entry in container["env"]}
    assert environment["URL"] == "http://gateway.test:4000/v1/chat/completions"
    assert '"model": "large"' in environment["REQUEST"]
    assert pod["volumes"][0]["secret"] == {"secretName": "caller-key"}
    key = recording.one("ExternalSecret", "caller-key")
    (entry,) = key.inputs["spec"]["data"]
    assert entry == {"secretKey": "key", "remoteRef": {"key": "litellm-key-search-app"}}
    assert key.inputs["spec"]["secretStoreRef"] == {"kind": "SecretStore", "name": "virtual-keys"}
    store = recording.one("SecretStore", "caller-store").inputs
    assert store["metadata"]["namespace"] == "search"
    assert store["spec"]["provider"]["gcpsm"] == {
        "projectID": "example-secrets",
        "auth": {
            "workloadIdentity": {
                "clusterProjectID": "example-llm-dev",
                "clusterLocation": "europe-west4",
                "clusterName": "gateway-dev",
                "serviceAccountRef": {"name": "reader"},
            }
        },
    }
    assert key.urn in recording.waits_for(recording.one("Deployment", "caller-deployment"))


def test_the_first_model_is_asked_where_none_is_named() -> None:
    caller = run_example("consumer", CONSUMER).one("Deployment", "caller-deployment").inputs["spec"]
    (container,) = caller["template"]["spec"]["containers"]
    assert '"model": "small"' in {entry["name"]: entry["value"] for entry in container["env"]}["REQUEST"]


@pytest.mark.parametrize(
    ("settings", "outputs", "words"),
    [
        ({"model": "huge"}, {}, "no model 'huge', so every call would be refused. Write one of small, large"),
        ({"virtualKey": "chat"}, {}, "no virtual key 'chat', .*virtualKeys .declared now: search-app"),
        ({}, {"gatewayUrl": None}, "organization/llm-gateway/dev has no output gatewayUrl"),
        ({"namespace": "Search"}, {}, "llm-gateway-consumer:namespace: String should match pattern"),
    ],
)
def test_what_the_gateway_does_not_have_is_named(
    settings: Mapping[str, Any], outputs: Mapping[str, Any], words: str
) -> None:
    with pytest.raises(Exception, match=words):
        run_example("consumer", {**CONSUMER, **settings}, Answers({**OUTPUTS, **outputs}))


def inside(recording: Recording, gateway: str) -> set[tuple[str, str]]:
    """Type and name of everything in a gateway; the names are without its own in front."""
    return {
        (type_, name.removeprefix(f"{gateway}-"))
        for type_, name in recording.resources
        if name.startswith(f"{gateway}-") and not type_.startswith("pulumi:")
    }


def test_a_program_of_its_own_holds_the_whole_gateway() -> None:
    config = yaml.safe_load((ROOT / "examples/embedded/Pulumi.dev.yaml").read_text())["config"]
    embedded = run_example("embedded", config)
    alone = run_program({key.removeprefix("llm-gateway:"): value for key, value in config.items()})
    assert inside(embedded, "llm") == inside(alone, "gateway")
    assert embedded.outputs == {"gatewayUrl": alone.outputs["gatewayUrl"]}
    # Without it no create takes over what an interrupted one left, and a preview keeps a field that was dropped.
    assert embedded.one("kubernetes", "gke").inputs == alone.one("kubernetes", "gke").inputs
    made = embedded.one("Namespace", "search")
    policy = embedded.one("NetworkPolicy", "search-calls-the-gateway")
    assert made.urn in embedded.direct_dependencies(policy)
    source, proxy = End("10.8.0.1", "search"), End("10.8.0.2", "llm-gateway", PROXY.labels)
    policies = Policies([rule.inputs for rule in embedded.all("NetworkPolicy")])
    assert policies.allow(source, proxy, PORT)
    assert not policies.allow(source, End("10.8.0.3", "vllm"), 8000)


def two_gateways(folder: Path, answers: Mocks, **changes: Any) -> Recording:
    program = (ROOT / "__main__.py").read_text()
    made = program[program.index('LlmGateway(\n    "gateway"') : program.index("outputs.export")]
    folder.joinpath("__main__.py").write_text(program + made.replace('"gateway"', '"second"'))
    return run(folder, "llm-gateway", {**SETTINGS, **EVERYTHING, **changes}, answers)


@pytest.mark.parametrize("owner", [None, "p/s"])
def test_two_gateways_in_one_program_share_no_name_and_no_mark(tmp_path: Path, owner: str | None) -> None:
    both = two_gateways(tmp_path, Mocks(), **({"owner": owner} if owner else {}))
    assert inside(both, "second") == inside(both, "gateway")
    assert {name.partition("-")[0] for name in both.hooks} == {"gateway", "second"}
    mark = owner or "llm-gateway/dev"
    for gateway, ours in (("gateway", mark), ("second", f"{mark}/second")):
        secret = both.one("Secret", f"{gateway}-secrets-litellm-master-key").inputs
        assert secret["annotations"]["llm-gateway-owner"] == ours
        labels = both.one("Bucket", f"{gateway}-backups-bucket").inputs["labels"]
        pool = both.one("NodePool", f"{gateway}-gpu-pool-nodes").inputs["nodeConfig"]["resourceLabels"]
        assert labels == pool == {"llm-gateway-owner": owner_label(ours)}
        declared = both.one("ConfigMap", f"{gateway}-tenants-declared").inputs
        assert json.loads(declared["data"]["declared.json"])["managed_by"] == ours
        assert (
            declared["metadata"]["annotations"]["llm-gateway/owner"] == f"{ours}/{gateway}-tenants-declared"
        )


def test_a_gateway_adopts_no_secret_of_another_one_in_its_program(tmp_path: Path) -> None:
    first = {"llm-gateway-owner": "llm-gateway/dev", "llm-gateway-salt-version": "1"}
    google = Mocks({"litellm-salt-key": first}, [("litellm-salt-key", "1")])
    with pytest.raises(pulumi.RunError) as refused:
        two_gateways(tmp_path, google)
    said = str(refused.value)
    assert (
        "litellm-salt-key in example-llm-dev belongs to llm-gateway/dev; this is llm-gateway/dev/second."
        in said
    )
    # As a taken-over one's place, this is what the settings must say.
    found = re.search(r"llm-gateway:owner: (\S+)\.", said)
    assert found
    assert owner_of(Settings.model_construct(owner=found[1]), "second") == "llm-gateway/dev"
