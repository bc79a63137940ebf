"""The gcp stand-in: a project's APIs and accounts, networks, and the private cluster in them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.errors import SandboxError
from sandbox.google import firewall
from sandbox.google.cloud import ACCESSOR_ROLE, Cloud, CloudError, project_number
from sandbox.google.project import enable
from sandbox.paths import HOME_VARIABLE
from sandbox.plugins.gcp import Gcp
from sandbox.plugins.values import UNKNOWN, plain_map
from tests.sandbox_parts.test_provider_gcp import AUTO, GET_CLUSTER, MEMBER, SECRET, Engine, Json, principal

SERVICE = "gcp:projects/service:Service"
GET_SERVICE = "gcp:projects/getProjectService:getProjectService"
ACCOUNT = "gcp:serviceaccount/account:Account"
GRANT = "gcp:projects/iAMMember:IAMMember"
ACTS_AS = "gcp:serviceaccount/iAMMember:IAMMember"
NETWORK = "gcp:compute/network:Network"
SUBNET = "gcp:compute/subnetwork:Subnetwork"
ROUTER = "gcp:compute/router:Router"
NAT = "gcp:compute/routerNat:RouterNat"
FIREWALL = "gcp:compute/firewall:Firewall"
CLUSTER = "gcp:container/cluster:Cluster"
VPC = {"name": "vpc", "autoCreateSubnetworks": False}
WRITER = {"project": "demo", "role": "roles/logging.logWriter", "member": "user:a@example.com"}
NODES: dict[str, Any] = {
    "name": "nodes",
    "region": "europe-west4",
    "network": "projects/demo/global/networks/vpc",
    "ipCidrRange": "10.0.0.0/20",
    "secondaryIpRanges": [
        {"rangeName": "pods", "ipCidrRange": "10.4.0.0/14"},
        {"rangeName": "services", "ipCidrRange": "10.8.0.0/20"},
    ],
}
RANGES = {"clusterSecondaryRangeName": "pods", "servicesSecondaryRangeName": "services"}
NO_RANGE = {**RANGES, "clusterSecondaryRangeName": "p"}
PRIVATE: dict[str, Any] = {
    "name": "private",
    "location": "europe-west4",
    "network": "projects/demo/global/networks/vpc",
    "subnetwork": "projects/demo/regions/europe-west4/subnetworks/nodes",
    "ipAllocationPolicy": RANGES,
    "privateClusterConfig": {"enablePrivateNodes": True, "masterIpv4CidrBlock": "172.16.0.0/28"},
    "workloadIdentityConfig": {"workloadPool": "demo.svc.id.goog"},
    "removeDefaultNodePool": True,
    "initialNodeCount": 1,
}
RULE: dict[str, Any] = {
    "name": "webhooks",
    "network": "vpc",
    "sourceRanges": ["172.16.0.0/28"],
    "allows": [{"protocol": "tcp", "ports": ["8443", "9000-9999"]}],
}


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """A project as Google makes it."""
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path))
    cloud = Cloud(tmp_path / "cloud.db")
    cloud.ensure_project("demo", bare=True)
    cloud.set_control_plane("127.0.0.1:6443", "Q0E=")
    engine = Engine(Gcp(cloud), cloud)
    assert engine.configure({"project": "demo"}) == {}
    yield engine
    cloud.close()


@pytest.fixture
def engine(bare: Engine) -> Engine:
    """One with the APIs enabled, a network and a subnetwork."""
    for api in ("cloudresourcemanager", "compute", "container", "iam", "secretmanager"):
        bare.create(SERVICE, {"service": f"{api}.googleapis.com"})
    bare.create(NETWORK, VPC)
    bare.create(SUBNET, NODES)
    return bare


@pytest.mark.parametrize(
    ("token", "inputs", "api"),
    [
        (NETWORK, VPC, "compute"),
        (CLUSTER, PRIVATE, "container"),
        (ACCOUNT, {"accountId": "gateway-nodes"}, "iam"),
        (SECRET, AUTO, "secretmanager"),
        (GRANT, WRITER, "cloudresourcemanager"),
    ],
)
def test_an_api_that_is_not_enabled_refuses(bare: Engine, token: str, inputs: Json, api: str) -> None:
    with pytest.raises(SandboxError, match=rf"Error 403: {api}.googleapis.com has not been used"):
        bare.create(token, inputs)


def test_an_unknown_api_is_refused_and_an_enabled_one_stays(bare: Engine) -> None:
    with pytest.raises(SandboxError, match=r"does not know the API secrets\.googleapis\.com"):
        bare.create(SERVICE, {"service": "secrets.googleapis.com"})
    made, state = bare.create(SERVICE, {"service": "iam.googleapis.com"})
    assert bare.create(SERVICE, {"service": "iam.googleapis.com"})[0] == made
    bare.delete(SERVICE, made, state)
    assert bare.cloud.get("service", made)


def test_the_lookup_of_an_api_finds_what_was_enabled_and_nothing_else(bare: Engine) -> None:
    asked = {"project": "demo", "service": "aiplatform.googleapis.com"}
    with pytest.raises(SandboxError, match=r"cloudresourcemanager\.googleapis\.com has not been used"):
        bare.invoke(GET_SERVICE, asked)
    bare.create(SERVICE, {"service": "cloudresourcemanager.googleapis.com"})
    assert bare.invoke(GET_SERVICE, asked) == {}
    bare.create(SERVICE, {"service": "aiplatform.googleapis.com"})
    assert bare.invoke(GET_SERVICE, asked)["id"] == "demo/aiplatform.googleapis.com"
    with pytest.raises(SandboxError, match=r"Project Service other/aiplatform.* Error 403"):
        bare.invoke(GET_SERVICE, {**asked, "project": "other"})


def test_a_project_in_use_has_the_apis_of_gke_and_not_those_of_models(bare: Engine) -> None:
    bare.cloud.ensure_project("used")
    for api, there in (("container", True), ("containerfilesystem", True), ("aiplatform", False)):
        found = bare.invoke(GET_SERVICE, {"project": "used", "service": f"{api}.googleapis.com"})
        assert bool(found) is there, api
    enable(bare.cloud, "used", "aiplatform.googleapis.com")
    assert bare.invoke(GET_SERVICE, {"project": "used", "service": "aiplatform.googleapis.com"})
    with pytest.raises(SandboxError, match="does not know the API"):
        enable(bare.cloud, "used", "maps.googleapis.com")


def test_the_cluster_that_was_there_cannot_be_imported(bare: Engine) -> None:
    bare.cloud.ensure_cluster("demo", "europe-west4", "platform", "127.0.0.1:6443", "Q0E=")
    with pytest.raises(SandboxError, match="clusters/platform was there before any stack"):
        bare.read(CLUSTER, "projects/demo/locations/europe-west4/clusters/platform")
    assert bare.read(CLUSTER, "projects/demo/locations/europe-west4/clusters/none").resource_id == ""


def test_a_cluster_is_what_the_lookup_finds(engine: Engine) -> None:
    made, state = engine.create(CLUSTER, PRIVATE)
    assert made == "projects/demo/locations/europe-west4/clusters/private"
    found = engine.invoke(GET_CLUSTER, {"name": "private", "location": "europe-west4"})
    assert found["endpoint"] == plain_map(state)["endpoint"] == "127.0.0.1:6443"
    assert found["servicesIpv4Cidr"] == "10.8.0.0/20"
    assert found["network"] == "projects/demo/global/networks/vpc"
    engine.cloud.set_control_plane("127.0.0.1:7443", "Q0I=")
    assert engine.cloud.get("cluster", made)["endpoint"] == "127.0.0.1:7443"


def test_a_preview_knows_the_control_planes_range(engine: Engine) -> None:
    state = engine.preview(CLUSTER, {**PRIVATE, "network": UNKNOWN})
    assert state["privateClusterConfig"]["masterIpv4CidrBlock"] == "172.16.0.0/28"
    assert state["endpoint"] is UNKNOWN


def control_plane_in(block: str) -> Json:
    return {"privateClusterConfig": {"enablePrivateNodes": True, "masterIpv4CidrBlock": block}}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"network": "projects/demo/global/networks/none"}, "Error 404"),
        ({"location": "us-east1"}, "is not in"),
        ({"initialNodeCount": 0}, "initial_node_count must be greater than zero"),
        ({"workloadIdentityConfig": {"workloadPool": "other.svc.id.goog"}}, "demo.svc.id.goog"),
        ({"ipAllocationPolicy": NO_RANGE}, 'secondary range "p" does not exist'),
        (control_plane_in("172.16.0.0/24"), "must be a /28"),
        (control_plane_in("10.8.0.16/28"), "overlaps subnetwork"),
    ],
)
def test_a_wrong_cluster_is_refused(engine: Engine, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(SandboxError, match=words):
        engine.create(CLUSTER, {**PRIVATE, **changes})


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"enableAutopilot": True}, "enableAutopilot"),
        ({"removeDefaultNodePool": False}, "removeDefaultNodePool"),
        ({"nodeConfig": {"machineType": "e2-standard-4"}}, "nodeConfig.machineType"),
        ({"releaseChannel": {"channel": "FAST"}}, "releaseChannel.channel"),
        (
            {"privateClusterConfig": {"enablePrivateEndpoint": True}},
            "privateClusterConfig.enablePrivateEndpoint",
        ),
        ({"workloadIdentity": {}}, "workloadIdentity"),
    ],
)
def test_what_is_not_emulated_or_wrong_is_named(engine: Engine, changes: dict[str, Any], path: str) -> None:
    assert path in engine.check(CLUSTER, {**PRIVATE, **changes})[1]


def test_a_sandbox_has_one_cluster_once(engine: Engine) -> None:
    made, state = engine.create(CLUSTER, {**PRIVATE, "deletionProtection": False})
    with pytest.raises(SandboxError, match="one control plane"):
        engine.create(CLUSTER, {**PRIVATE, "name": "second"})
    engine.delete(CLUSTER, made, state)
    with pytest.raises(SandboxError, match="has it, or had"):
        engine.create(CLUSTER, PRIVATE)


def test_a_cluster_is_protected_by_default(engine: Engine) -> None:
    made, state = engine.create(CLUSTER, PRIVATE)
    with pytest.raises(SandboxError, match="deletionProtection=false"):
        engine.delete(CLUSTER, made, state)
    assert engine.cloud.get("cluster", made)


def test_what_is_in_use_is_not_deleted(engine: Engine) -> None:
    cluster, state = engine.create(CLUSTER, {**PRIVATE, "deletionProtection": False})
    with pytest.raises(SandboxError, match=f"already being used by '{cluster}'"):
        engine.delete(SUBNET, PRIVATE["subnetwork"], {})
    engine.delete(CLUSTER, cluster, state)
    with pytest.raises(SandboxError, match="already being used by"):
        engine.delete(NETWORK, PRIVATE["network"], {})
    engine.delete(SUBNET, PRIVATE["subnetwork"], {})
    engine.delete(NETWORK, PRIVATE["network"], {})
    with pytest.raises(CloudError):
        engine.cloud.get("network", PRIVATE["network"])


def test_workload_identity_comes_with_the_cluster(engine: Engine) -> None:
    engine.create(SECRET, AUTO)
    reader = {"secretId": "key", "role": ACCESSOR_ROLE, "member": principal(project_number("demo"))}
    with pytest.raises(SandboxError, match="Identity Pool does not exist"):
        engine.create(MEMBER, reader)
    engine.create(CLUSTER, PRIVATE)
    engine.create(MEMBER, reader)


def test_ranges_do_not_overlap(engine: Engine) -> None:
    other = {"name": "other", "region": "us-east1", "network": "vpc", "ipCidrRange": "10.5.0.0/20"}
    with pytest.raises(SandboxError, match=r"10.5.0.0/20 conflicts with existing subnetwork '.*/nodes'"):
        engine.create(SUBNET, other)
    with pytest.raises(SandboxError, match="has host bits set"):
        engine.create(SUBNET, {**other, "ipCidrRange": "10.16.0.1/20"})
    engine.create(SUBNET, {**other, "ipCidrRange": "10.16.0.0/20"})


def test_references_are_one_however_they_are_written(engine: Engine) -> None:
    link = {**NODES, "network": "https://www.googleapis.com/compute/v1/projects/demo/global/networks/vpc"}
    assert engine.diff(SUBNET, NODES, link) == ([], [])
    assert engine.diff(SUBNET, NODES, {**NODES, "network": "vpc"}) == ([], [])
    access = "privateIpGoogleAccess"
    assert engine.diff(SUBNET, NODES, {**NODES, access: True}) == ([access], [])
    assert engine.diff(CLUSTER, PRIVATE, {**PRIVATE, "network": "vpc", "subnetwork": "nodes"}) == ([], [])


def test_a_nat_goes_with_its_router(engine: Engine) -> None:
    nat = {
        "name": "nat",
        "region": "europe-west4",
        "router": "router",
        "natIpAllocateOption": "AUTO_ONLY",
        "sourceSubnetworkIpRangesToNat": "ALL_SUBNETWORKS_ALL_IP_RANGES",
    }
    with pytest.raises(SandboxError, match="Error 404"):
        engine.create(NAT, nat)
    router, state = engine.create(ROUTER, {"name": "router", "region": "europe-west4", "network": "vpc"})
    made, _ = engine.create(NAT, nat)
    by_hand = {**nat, "natIpAllocateOption": "MANUAL_ONLY"}
    assert engine.check(NAT, by_hand)[1].keys() == {"natIpAllocateOption"}
    engine.delete(ROUTER, router, state)
    assert engine.read(NAT, made, nat).resource_id == ""


def test_a_grant_is_to_an_account_that_exists(engine: Engine) -> None:
    grant = {
        "project": "demo",
        "role": "roles/container.defaultNodeServiceAccount",
        "member": "serviceAccount:gateway-nodes@demo.iam.gserviceaccount.com",
    }
    with pytest.raises(SandboxError, match=r"gateway-nodes@demo\.iam\.gserviceaccount\.com does not exist"):
        engine.create(GRANT, grant)
    _, account = engine.create(ACCOUNT, {"accountId": "gateway-nodes"})
    assert plain_map(account)["member"] == grant["member"]
    made, state = engine.create(GRANT, grant)
    assert engine.read(GRANT, made, grant).resource_id == made
    engine.delete(GRANT, made, state)
    assert engine.read(GRANT, made, grant).resource_id == ""
    with pytest.raises(SandboxError, match="Role roles/nodes is not supported"):
        engine.create(GRANT, {**grant, "role": "roles/nodes"})


@pytest.mark.parametrize(
    ("changes", "port", "reached"),
    [
        ({}, 9443, True),
        ({}, 8443, True),
        ({}, 443, True),
        ({}, 10250, True),
        ({}, 8080, False),
        ({"allows": [{"protocol": "tcp"}]}, 8080, True),
        ({"allows": [{"protocol": "udp", "ports": ["9443"]}]}, 9443, False),
        ({"disabled": True}, 9443, False),
        ({"sourceRanges": ["172.16.0.0/29"]}, 9443, False),
        ({"sourceRanges": ["172.16.0.0/12"]}, 9443, True),
    ],
)
def test_the_control_plane_reaches_what_the_firewall_opens(
    engine: Engine, changes: dict[str, Any], port: int, reached: bool
) -> None:
    engine.create(CLUSTER, PRIVATE)
    engine.create(FIREWALL, {**RULE, **changes})
    refused = firewall.refusal(engine.cloud, port)
    assert (refused is None) is reached
    assert reached or f"reach port {port}" in str(refused)


def test_a_cluster_that_was_there_before_is_open(engine: Engine) -> None:
    engine.cloud.ensure_cluster("demo", "europe-west4", "platform", "127.0.0.1:6443", "Q0E=")
    assert firewall.refusal(engine.cloud, 9443) is None


@pytest.mark.parametrize("ports", [["https"], ["9000-8000"], ["70000"]])
def test_a_wrong_port_is_refused(engine: Engine, ports: list[str]) -> None:
    with pytest.raises(SandboxError, match=r"resource.allowed\[0\].ports\[0\]"):
        engine.create(FIREWALL, {**RULE, "allows": [{"protocol": "tcp", "ports": ports}]})
    assert engine.check(FIREWALL, {**RULE, "denies": [{"protocol": "all"}]})[1].keys() == {"denies"}


def test_what_was_made_is_read_back_as_it_was_asked_for(engine: Engine) -> None:
    asked = {
        ROUTER: {"name": "router", "region": "europe-west4", "network": "vpc"},
        FIREWALL: RULE,
        CLUSTER: PRIVATE,
        ACCOUNT: {"accountId": "gateway-nodes", "displayName": "Nodes"},
    }
    for token, inputs in asked.items():
        made, _ = engine.create(token, inputs)
        found = plain_map(engine.read(token, made, inputs).inputs)
        assert engine.diff(token, inputs, found) == ([], []), token
        assert engine.diff(token, found, inputs) == ([], []), token


def test_a_pod_may_act_as_an_account_that_is_there(bare: Engine) -> None:
    account = "projects/demo/serviceAccounts/database@demo.iam.gserviceaccount.com"
    role = "roles/iam.workloadIdentityUser"
    granted = {"serviceAccountId": account, "role": role, "member": "user:a@example.com"}
    with pytest.raises(SandboxError, match=r"iam\.googleapis\.com has not been used"):
        bare.create(ACTS_AS, granted)
    bare.create(SERVICE, {"service": "iam.googleapis.com"})
    with pytest.raises(
        SandboxError, match=rf'Error retrieving IAM policy for service account "{account}".*404'
    ):
        bare.create(ACTS_AS, granted)
    bare.create(ACCOUNT, {"accountId": "database"})
    made, state = bare.create(ACTS_AS, granted)
    assert made == f"{account}/{role}/user:a@example.com"
    assert plain_map(state)["serviceAccountId"] == account
    with pytest.raises(SandboxError, match=r"Role roles/owner is not supported"):
        bare.create(ACTS_AS, {**granted, "role": "roles/owner"})
    with pytest.raises(SandboxError, match="not of the form"):
        bare.create(ACTS_AS, {**granted, "serviceAccountId": "database"})
