"""Why an `up` failed, told from objects in the form in which Kubernetes, the operators and GKE leave them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support.recorded import write_failed
from tests.support.recorded_cluster import RecordedCluster
from tools.explain import __main__ as command
from tools.explain.causes import causes
from tools.explain.cluster import PATHS, ExplainError, connected
from tools.explain.failures import Failure, failures, kubeconfig
from tools.explain.masks import mask, quoted
from tools.review import events

RELEASE = "kubernetes:helm.sh/v3:Release"
JOB = "kubernetes:batch/v1:Job"


def release(namespace: str, name: str) -> Failure:
    return Failure(f"gateway-{name}-release", RELEASE, {"namespace": namespace, "name": name}, "")


def resource(type_: str, namespace: str, name: str, **inputs: Any) -> Failure:
    return Failure("it", type_, {"metadata": {"namespace": namespace, "name": name}, **inputs}, "")


def gate(secret: str, namespace: str = "llm-gateway") -> Failure:
    proof = {"proven-by": f"syncedResourceVersion of ExternalSecret {secret}"}
    return resource("kubernetes:core/v1:ConfigMap", namespace, f"{secret}-synced", data=proof)


def told(cluster: RecordedCluster, failure: Failure) -> str:
    return "\n".join(str(cause) for cause in causes(cluster, failure))


def pod(**status: Any) -> dict[str, Any]:
    metadata = {"name": "p", "namespace": "n", "uid": "u", "labels": {"job-name": "j", "app": "a"}}
    return {"kind": "Pod", "metadata": metadata, "spec": {}, "status": {"phase": "Pending", **status}}


def owner(kind: str, **more: Any) -> dict[str, Any]:
    return {
        "kind": kind,
        "metadata": {"name": "j", "namespace": "n", "uid": "o"},
        "spec": {"selector": {"matchLabels": {"app": "a"}}},
        "status": {},
        **more,
    }


def event(uid: str, reason: str, message: str, level: str = "Warning") -> dict[str, Any]:
    return {
        "kind": "Event",
        "metadata": {"name": f"{uid}.1", "namespace": "n"},
        "involvedObject": {"uid": uid},
        "type": level,
        "reason": reason,
        "message": message,
    }


class TestContainers:
    """Objects in the form that Kubernetes documents: no container runs in the sandbox."""

    def test_a_crash_is_told_with_the_end_of_its_log_and_no_secret(self) -> None:
        ended = {"exitCode": 1, "reason": "Error"}
        crash = pod(
            containerStatuses=[
                {
                    "name": "migrate",
                    "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
                    "lastState": {"terminated": ended},
                }
            ]
        )
        log = "starting\nP1000: Authentication failed at postgresql://litellm:hunter2hunter2@litellm-pg-rw:5432\n"
        recorded = RecordedCluster([owner("Job"), crash], {"p/migrate": log})
        text = told(recorded, resource(JOB, "n", "j"))
        assert "Pod n/p: the database refuses the login" in text
        assert "exit code 1 Error" in text
        assert "postgresql://***@litellm-pg-rw:5432" in text
        assert "hunter2" not in text

    @pytest.mark.parametrize(
        ("waiting", "wrong"),
        [
            ({"reason": "ImagePullBackOff", "message": "Back-off pulling"}, "an image cannot be pulled"),
            (
                {"reason": "CreateContainerConfigError", "message": 'secret "x" not found'},
                "it needs the secret x, which is not there",
            ),
            (
                {
                    "reason": "CreateContainerConfigError",
                    "message": "couldn't find key K in Secret llm-gateway/litellm-secrets",
                },
                "Secret llm-gateway/litellm-secrets has no key K",
            ),
        ],
    )
    def test_what_a_container_waits_for(self, waiting: dict[str, str], wrong: str) -> None:
        stuck = pod(containerStatuses=[{"name": "c", "state": {"waiting": waiting}}])
        text = told(
            RecordedCluster([owner("Deployment"), stuck]), resource("kubernetes:apps/v1:Deployment", "n", "j")
        )
        assert text.startswith(f"Pod n/p: {wrong}")

    def test_what_a_container_waits_for_now_is_told_beside_its_earlier_end(self) -> None:
        stuck = {
            "name": "c",
            "state": {"waiting": {"reason": "CreateContainerConfigError", "message": 'secret "x" not found'}},
            "lastState": {"terminated": {"exitCode": 1, "reason": "Error"}},
        }
        text = told(RecordedCluster([owner("Job"), pod(containerStatuses=[stuck])]), resource(JOB, "n", "j"))
        assert text.startswith("Pod n/p: it needs the secret x, which is not there")
        assert "exit code 1 Error" in text

    def test_memory(self) -> None:
        killed = {"name": "c", "state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}
        text = told(RecordedCluster([owner("Job"), pod(containerStatuses=[killed])]), resource(JOB, "n", "j"))
        assert "needed more memory than its limit" in text

    @pytest.mark.parametrize(
        ("reason", "message", "wrong"),
        [
            ("FailedMount", 'configmap "c" not found', "it needs the configmap c, which is not there"),
            (
                "FailedAttachVolume",
                'Multi-Attach error for volume "pvc-1" Volume is already used by pod(s) q',
                "a pod on another node has its volume",
            ),
        ],
    )
    def test_an_event_explains_a_pod_that_says_nothing(self, reason: str, message: str, wrong: str) -> None:
        found = [owner("Job"), pod(), event("u", reason, message)]
        assert wrong in told(RecordedCluster(found), resource(JOB, "n", "j"))

    def test_a_pod_without_any_sign(self) -> None:
        assert "says no reason" in told(RecordedCluster([owner("Job"), pod()]), resource(JOB, "n", "j"))

    def test_a_ready_pod_and_one_that_is_done_are_no_cause(self) -> None:
        ready = pod(conditions=[{"type": "Ready", "status": "True"}])
        assert (
            told(
                RecordedCluster([owner("Job"), ready, pod(phase="Succeeded")]),
                resource(JOB, "n", "j"),
            )
            == ""
        )

    def test_a_jobs_own_end(self) -> None:
        failed = {"type": "Failed", "status": "True", "reason": "DeadlineExceeded", "message": "too long"}
        text = told(RecordedCluster([owner("Job", status={"conditions": [failed]})]), resource(JOB, "n", "j"))
        assert text.startswith("Job n/j: it did not end in time")

    def test_a_pod_that_is_not_admitted(self) -> None:
        refused = {
            "type": "ReplicaFailure",
            "status": "True",
            "reason": "FailedCreate",
            "message": 'pods "p" is forbidden: violates PodSecurity "restricted:latest"',
        }
        found = owner("Deployment", status={"conditions": [refused]})
        text = told(RecordedCluster([found]), resource("kubernetes:apps/v1:Deployment", "n", "j"))
        assert text.startswith("Deployment n/j: the namespace admits no such pod")

    def test_a_claim_of_a_class_that_is_not_there(self) -> None:
        unbound = {"kind": "PersistentVolumeClaim", "metadata": {"name": "c", "namespace": "n", "uid": "c"}}
        waiting = pod(
            conditions=[{"type": "PodScheduled", "status": "False", "message": "unbound immediate claims"}]
        )
        waiting["spec"] = {"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]}
        why = event("c", "ProvisioningFailed", 'storageclass.storage.k8s.io "fast" not found')
        text = told(RecordedCluster([owner("Job"), waiting, unbound, why]), resource(JOB, "n", "j"))
        assert "PersistentVolumeClaim n/c: the cluster has no StorageClass fast" in text

    def test_an_object_that_is_gone(self) -> None:
        assert "it is not in the cluster" in told(RecordedCluster([]), resource(JOB, "n", "j"))


SCHEDULER = "0/4 nodes are available: 3 Insufficient nvidia.com/gpu, 1 node(s) had untolerated taint(s)."


class TestScheduling:
    @staticmethod
    def waiting(message: str, *events: dict[str, Any], gpu: bool = True, **spec: Any) -> RecordedCluster:
        condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
        found = pod(conditions=[condition])
        limits = {"nvidia.com/gpu": "1"} if gpu else {"cpu": "1"}
        found["spec"] = {"containers": [{"name": "c", "resources": {"limits": limits}}], **spec}
        taint = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}
        with_gpu = {
            "kind": "Node",
            "metadata": {"name": "g"},
            "spec": {"taints": [taint]},
            "status": {"allocatable": {"nvidia.com/gpu": "1"}},
        }
        return RecordedCluster([owner("Job"), found, with_gpu, *events])

    def test_the_taint_that_is_not_tolerated_is_named_though_the_scheduler_does_not(self) -> None:
        text = told(self.waiting(SCHEDULER), resource(JOB, "n", "j"))
        assert "it does not tolerate the taint nvidia.com/gpu=present:NoSchedule" in text

    def test_the_autoscaler_names_it_where_there_is_no_such_node(self) -> None:
        says = event("u", "NotTriggerScaleUp", "1 node(s) had untolerated taint {a: b}", "Normal")
        tolerates = [{"key": "nvidia.com/gpu", "operator": "Exists"}]
        text = told(self.waiting(SCHEDULER, says, tolerations=tolerates), resource(JOB, "n", "j"))
        assert "it does not tolerate the taint a: b" in text

    def test_of_a_pod_without_gpu_the_taint_of_gpu_nodes_is_no_cause(self) -> None:
        message = "0/4 nodes are available: 3 Insufficient cpu, 1 node(s) had untolerated taint(s)."
        text = told(self.waiting(message, gpu=False), resource(JOB, "n", "j"))
        assert text.startswith("Pod n/p: no node has enough cpu free")

    def test_a_full_pool_is_the_cause_and_not_the_taint_of_other_nodes(self) -> None:
        tolerates = [{"key": "nvidia.com/gpu", "operator": "Exists"}]
        text = told(self.waiting(SCHEDULER, tolerations=tolerates), resource(JOB, "n", "j"))
        assert text.startswith("Pod n/p: no node has enough nvidia.com/gpu free")

    def test_a_full_pool_is_the_cause_and_not_the_labels_of_other_nodes(self) -> None:
        message = "0/4 nodes are available: 1 Insufficient nvidia.com/gpu, 3 node(s) didn't match Pod's node affinity/selector."
        text = told(self.waiting(message), resource(JOB, "n", "j"))
        assert text.startswith("Pod n/p: no node has enough nvidia.com/gpu free")

    @pytest.mark.parametrize(
        ("reason", "message", "wrong"),
        [
            (
                "FailedScaleUp",
                "GCE out of resources. ZONE_RESOURCE_POOL_EXHAUSTED",
                "Google has no such machine",
            ),
            ("FailedScaleUp", "GCE quota exceeded: QUOTA_EXCEEDED", "a quota of the project is used up"),
            (
                "FailedScaleUp",
                "QUOTA_EXCEEDED: Instance 'i' creation failed: Quota 'NVIDIA_L4_GPUS' exceeded. Limit: 0.0",
                "the project's quota NVIDIA_L4_GPUS is used up",
            ),
            ("NotTriggerScaleUp", "1 max node group size reached", "the node pool is at its maximum"),
            (
                "NotTriggerScaleUp",
                "1 node(s) had volume node affinity conflict",
                "its volume lies in a zone in which no node takes it",
            ),
        ],
    )
    def test_the_autoscalers_reason_comes_first(self, reason: str, message: str, wrong: str) -> None:
        lack = "0/4 nodes are available: 4 Insufficient nvidia.com/gpu."
        text = told(self.waiting(lack, event("u", reason, message)), resource(JOB, "n", "j"))
        assert text.startswith(f"Pod n/p: {wrong}")


class TestExternalSecret:
    @staticmethod
    def denied(message: str, *more: dict[str, Any]) -> RecordedCluster:
        item = {
            "kind": "ExternalSecret",
            "metadata": {"name": "s", "namespace": "llm-gateway", "uid": "s", "generation": 1},
            "spec": {
                "secretStoreRef": {"kind": "ClusterSecretStore", "name": "store"},
                "data": [
                    {"secretKey": "A", "remoteRef": {"key": "good", "version": "1"}},
                    {"secretKey": "B", "remoteRef": {"key": "bad", "version": "7"}},
                ],
            },
            "status": {"conditions": [{"type": "Ready", "status": "False", "reason": "SecretSyncedError"}]},
        }
        ready = {"conditions": [{"type": "Ready", "status": "True"}]}
        store = {"kind": "ClusterSecretStore", "metadata": {"name": "store", "uid": "st"}, "status": ready}
        labels = {"app.kubernetes.io/name": "external-secrets"}
        operator = {
            "kind": "Pod",
            "metadata": {"name": "o", "namespace": "e", "labels": labels},
            "status": ready,
        }
        return RecordedCluster([item, *(more or [store, operator]), event("s", "UpdateFailed", message)])

    @pytest.mark.parametrize(
        ("error", "wrong"),
        [
            (
                "rpc error: code = PermissionDenied desc = Permission 'secretmanager.versions.access' denied",
                "the operator may not read the secret bad in Secret Manager",
            ),
            ("Secret does not exist", "the secret bad has no version 7 in Secret Manager: not found"),
            (
                "rpc error: code = FailedPrecondition desc = it is in DISABLED state",
                "version 7 of the secret bad is disabled or destroyed",
            ),
            ("a new kind of error", "the secret bad cannot be read: a new kind of error"),
        ],
    )
    def test_the_secret_at_fault_is_named(self, error: str, wrong: str) -> None:
        recorded = self.denied(f"error processing spec.data[1] (key: bad), err: {error}")
        text = told(recorded, gate("s"))
        assert text.startswith(f"ExternalSecret llm-gateway/s: {wrong}")
        assert "good" not in text

    def test_a_value_that_its_reader_does_not_take_is_told_with_its_secret(self) -> None:
        recorded = self.denied(
            "could not apply template: could not execute template: unable to execute template at key A: template: A:1: "
            'executing "A" at <fail "secret hf-toke...>: error calling fail: secret hf-token: the value is empty, or has '
            "quotes, spaces, line ends or other characters that its reader does not take (wanted: ^[!#-&(-~]+$)."
        )
        text = told(recorded, gate("s"))
        assert text.startswith(
            "ExternalSecret llm-gateway/s: the value of the secret hf-token is empty, or has quotes"
        )
        assert "gcloud secrets versions add hf-token --data-file=-" in text

    def test_without_the_operator_nobody_copies(self) -> None:
        store = {"kind": "ClusterSecretStore", "metadata": {"name": "store", "uid": "st"}}
        assert "no pod of the External Secrets operator is ready" in told(self.denied("", store), gate("s"))

    def test_a_store_that_is_not_ready_comes_first(self) -> None:
        recorded = self.denied("store is not ready")
        recorded.objects[1]["status"] = {"conditions": [{"type": "Ready", "status": "False"}]}
        recorded.objects.append(event("st", "InvalidProviderConfig", "unable to create client"))
        text = told(recorded, gate("s"))
        assert text.startswith(
            "ClusterSecretStore store: the External Secrets operator cannot log in to Google"
        )

    def test_one_that_is_synced_by_now_is_no_cause(self) -> None:
        recorded = self.denied("")
        recorded.objects[0]["status"] = {
            "syncedResourceVersion": "1-x",
            "conditions": [{"type": "Ready", "status": "True"}],
        }
        assert told(recorded, gate("s")) == ""


class TestDatabase:
    CLUSTER = "kubernetes:postgresql.cnpg.io/v1:Cluster"

    def test_what_its_conditions_say(self) -> None:
        archiving = {
            "type": "ContinuousArchiving",
            "status": "False",
            "message": "x does not have storage.buckets.get access to bucket b",
        }
        recorded = RecordedCluster([owner("Cluster", spec={}, status={"conditions": [archiving]})])
        text = told(recorded, resource(self.CLUSTER, "n", "j"))
        assert text.startswith("Cluster n/j: the database may not look at the bucket of its backups")

    @pytest.mark.parametrize(
        ("phase", "reason", "wrong"),
        [
            (
                "Setting up primary",
                "Expected empty archive",
                "the bucket holds backups of a Cluster of this name",
            ),
            (
                "Not enough disk space",
                "Insufficient disk space detected in one or more pods is preventing PostgreSQL from running.",
                "a volume of the database is full",
            ),
        ],
    )
    def test_its_phase_where_nothing_else_says_more(self, phase: str, reason: str, wrong: str) -> None:
        status = {"phase": phase, "phaseReason": reason}
        recorded = RecordedCluster([owner("Cluster", spec={}, status=status)])
        text = told(recorded, resource(self.CLUSTER, "n", "j"))
        assert text.startswith(f"Cluster n/j: {wrong}")


def test_only_the_objects_of_a_release_are_followed() -> None:
    def deployment(name: str, of: str) -> dict[str, Any]:
        return owner(
            "Deployment",
            metadata={
                "name": name,
                "namespace": "n",
                "uid": name,
                "annotations": {"meta.helm.sh/release-name": of},
            },
            status={"conditions": [{"type": "ReplicaFailure", "status": "True", "message": name}]},
        )

    def hook(name: str, instance: str) -> dict[str, Any]:
        metadata = {
            "name": name,
            "namespace": "n",
            "uid": name,
            "annotations": {"helm.sh/hook": "pre-install"},
            "labels": {"app.kubernetes.io/instance": instance},
        }
        failed = {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "often"}
        return owner("Job", metadata=metadata, status={"conditions": [failed]})

    found = [deployment("ours", "r"), deployment("theirs", "s"), hook("migrate", "r"), hook("other", "s")]
    text = told(RecordedCluster(found), release("n", "r"))
    assert "Deployment n/ours" in text
    assert "Job n/migrate" in text
    assert "theirs" not in text
    assert "other" not in text


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        (release("n", "r"), "Error: Helm Release n/r: context canceled"),
        (release("n", "r"), "error reading from server: EOF"),
        (
            resource("kubernetes:core/v1:Namespace", "", "n"),
            'before hook "h" failed: rpc error: code = Unavailable',
        ),
    ],
    ids=["Ctrl-C", "the provider died", "the program was ended"],
)
def test_what_was_cut_short_has_no_cause_in_the_cluster(failure: Failure, message: str) -> None:
    text = told(RecordedCluster([]), replace(failure, message=message))
    assert "cut short" in text
    assert "run `up` again" in text


@pytest.mark.parametrize(
    ("message", "wrong"),
    [
        ("googleapi: Error 403: QUOTA_EXCEEDED", "quota"),
        ("ZONE_RESOURCE_POOL_EXHAUSTED in europe-west4-a", "no such machine or GPU"),
        ("Error 400: something else", ""),
    ],
)
def test_googles_own_refusal_is_explained(message: str, wrong: str) -> None:
    text = told(RecordedCluster([]), Failure("pool", "gcp:container/nodePool:NodePool", {}, message))
    assert wrong in text if wrong else text == ""


def test_a_node_that_is_not_ready() -> None:
    labels = {"cloud.google.com/gke-nodepool": "llm-gpu"}
    sick = {"type": "Ready", "status": "False", "message": "container runtime is down"}
    node = {"kind": "Node", "metadata": {"name": "n", "labels": labels}, "status": {"conditions": [sick]}}
    failure = Failure("pool", "gcp:container/nodePool:NodePool", {"name": "llm-gpu"}, "timeout")
    assert "Node n: container runtime is down" in told(RecordedCluster([node]), failure)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("postgresql://litellm:0123456789abcdef@host/db", "postgresql://***@host/db"),
        ("key sk-abc.def-1", "key sk-***"),
        ("PASSWORD=hunter2, then", "PASSWORD=***, then"),
        ('{"api_key": "hunter2"}', '{"api_key": "***"}'),
        ("Authorization: Bearer hunter2", "Authorization: Bearer ***"),
        ("got 9f86d081884c7d659a2feaa0c55ad015 back", "got *** back"),
        ("Pod litellm-migrations-x7k2p of litellm-pg-rw", "Pod litellm-migrations-x7k2p of litellm-pg-rw"),
        ("secretmanager.versions.access denied", "secretmanager.versions.access denied"),
    ],
)
def test_what_may_be_a_secret_is_masked(text: str, kept: str) -> None:
    assert mask(text) == kept


def test_a_long_text_is_one_short_line() -> None:
    assert quoted("a\n b" * 400, 10) == "a ba ba ba…"


def log(folder: Path, provider: dict[str, Any]) -> Path:
    """The event log of the failing `up`, with the inputs of its kubernetes provider."""
    _, path = write_failed(folder)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for event in lines:
        for content in event.values():
            if isinstance(content, dict) and content.get("metadata", {}).get("type", "").endswith(
                ":kubernetes"
            ):
                content["metadata"]["new"]["inputs"] = provider
    path.write_text("".join(f"{json.dumps(event)}\n" for event in lines))
    return path


def test_failed_resources_and_the_cluster_are_read_from_the_event_log(tmp_path: Path) -> None:
    operation = events.read(log(tmp_path, {"kubeconfig": "{}"}))
    assert [failure.name for failure in failures(operation)] == ["postgres-cluster"]
    assert kubeconfig(operation) == "{}"


def test_a_hook_that_fails_is_a_failed_resource(tmp_path: Path) -> None:
    path = log(tmp_path, {})
    lines = path.read_text().splitlines()
    urn = "urn:pulumi:dev::llm-gateway::kubernetes:core/v1:ConfigMap::gate"
    step: dict[str, Any] = {"op": "create", "urn": urn, "type": "kubernetes:core/v1:ConfigMap", "old": None}
    step["new"] = {"parent": "", "custom": True, "inputs": {"metadata": {"name": "gate"}}}
    said = {"urn": urn, "severity": "error", "message": "was not synced"}
    lines[-1:-1] = [
        json.dumps({"timestamp": 1, **event})
        for event in ({"resourcePreEvent": {"metadata": step}}, {"diagnosticEvent": said})
    ]
    path.write_text("\n".join(lines) + "\n")
    assert [failure.where for failure in failures(events.read(path)) if failure.name == "gate"] == [
        ("", "gate")
    ]


def test_a_log_must_not_start_programs() -> None:
    config = json.dumps({"users": [{"name": "u", "user": {"exec": {"command": "sh"}}}]})
    with (
        pytest.raises(ExplainError, match="would start 'sh', which is not run from a file"),
        connected(config, None),
    ):
        pass


@pytest.mark.parametrize(
    ("content", "said"), [(None, "is no event log"), ("{", "is no event log"), ("log", "names no cluster")]
)
def test_what_cannot_be_explained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None, said: str
) -> None:
    path = log(tmp_path, {}) if content == "log" else tmp_path / "none.jsonl"
    if content == "{":
        path.write_text("{\n")
    assert command.main(["--events", str(path)]) == 2
    assert said in capsys.readouterr().err


@pytest.fixture
def api() -> Iterator[tuple[str, list[str]]]:
    """A kubeconfig of an API server that refuses pods, knows no Job, and has one of all else; and what it was asked."""
    asked: list[str] = []
    metadata = {"name": "x", "namespace": "n", "uid": "u"}

    class Server(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            body = json.dumps({"metadata": metadata, "items": [{"metadata": metadata}]}).encode()
            refused = {
                "/api/v1/pods?labelSelector=a%3Db": 403,
                "/apis/batch/v1/namespaces/n/jobs/x": 404,
                "/apis/batch/v1/namespaces/n/jobs/y": 503,
            }
            self.send_response(refused.get(self.path, 200))
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        config = {
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
            "clusters": [{"name": "k", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
            "users": [{"name": "u", "user": {"token": "t"}}],
        }
        yield json.dumps(config), asked
        server.shutdown()


def test_only_reads_are_sent_and_never_for_a_secret(api: tuple[str, list[str]]) -> None:
    assert not [kind for kind in PATHS if kind.startswith("Secret")]
    config, asked = api
    with connected(config, None) as cluster:
        found = cluster.get("Deployment", "n", "x")
        assert found
        assert found["kind"] == "Deployment"
        assert cluster.get("Job", "n", "x") is None
        assert cluster.items("Pod", "", {"a": "b"}) == []
        assert cluster.unreadable == {"pods"}
        assert cluster.events(found) == [{"metadata": {"name": "x", "namespace": "n", "uid": "u"}}]
        assert "x" in cluster.log(found, "c", previous=True)
        with pytest.raises(
            ExplainError, match="the cluster answers 503 to /apis/batch/v1/namespaces/n/jobs/y"
        ):
            cluster.get("Job", "n", "y")
    assert asked[-3:-1] == [
        "/api/v1/namespaces/n/events?fieldSelector=involvedObject.uid%3Du",
        "/api/v1/namespaces/n/pods/x/log?container=c&previous=true&tailLines=20",
    ]


def test_a_cluster_that_does_not_answer() -> None:
    config = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {"server": "http://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    with (
        pytest.raises(ExplainError, match="the cluster does not answer"),
        connected(json.dumps(config), None) as made,
    ):
        made.get("Job", "n", "x")


def test_the_whole_command(
    tmp_path: Path, api: tuple[str, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    path = log(tmp_path, {"kubeconfig": api[0]})
    assert command.main(["--events", str(path)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("Why it failed, as the cluster says it now:\n  postgres-cluster\n    ")
