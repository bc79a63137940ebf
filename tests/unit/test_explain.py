"""Why an `up` failed, told from recorded clusters of failed `up`s, and from objects as Kubernetes documents them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.recorded import write_failed
from tests.support.recorded_cluster import RecordedCluster
from tools.explain import __main__ as command
from tools.explain import cluster
from tools.explain.causes import causes
from tools.explain.cluster import ExplainError, connected
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

    def test_memory(self) -> None:
        killed = {"name": "c", "state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}
        text = told(RecordedCluster([owner("Job"), pod(containerStatuses=[killed])]), resource(JOB, "n", "j"))
        assert "needed more memory than its limit" in text

    def test_an_event_explains_a_pod_that_says_nothing(self) -> None:
        found = [owner("Job"), pod(), event("u", "FailedMount", 'configmap "c" not found')]
        assert "it needs the configmap c, which is not there" in told(
            RecordedCluster(found), resource(JOB, "n", "j")
        )

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
    for each in lines:
        for content in each.values():
            if isinstance(content, dict) and content.get("metadata", {}).get("type", "").endswith(
                ":kubernetes"
            ):
                content["metadata"]["new"]["inputs"] = provider
    path.write_text("".join(f"{json.dumps(each)}\n" for each in lines))
    return path


def test_failed_resources_and_the_cluster_are_read_from_the_event_log(tmp_path: Path) -> None:
    operation = events.read(log(tmp_path, {"kubeconfig": "{}"}))
    assert [failure.name for failure in failures(operation)] == ["postgres-cluster"]
    assert kubeconfig(operation) == "{}"


def test_a_hook_that_fails_is_a_failed_resource(tmp_path: Path) -> None:
    path = log(tmp_path, {})
    lines = path.read_text().splitlines()
    urn = "urn:pulumi:dev::llm-gateway::kubernetes:core/v1:ConfigMap::gate"
    step = {"op": "create", "urn": urn, "type": "kubernetes:core/v1:ConfigMap", "old": None}
    step["new"] = {"parent": "", "custom": True, "inputs": {"metadata": {"name": "gate"}}}
    said = {"urn": urn, "severity": "error", "message": "was not synced"}
    lines[-1:-1] = [
        json.dumps({"timestamp": 1, **each})
        for each in ({"resourcePreEvent": {"metadata": step}}, {"diagnosticEvent": said})
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


class Answers:
    """A client that answers every request with a status and a body."""

    def __init__(self, status: int, body: str = "{}") -> None:
        self.status, self.body = status, body
        self.asked: list[tuple[Any, ...]] = []

    def param_serialize(self, *call: Any, **options: Any) -> tuple[Any, ...]:
        self.asked.append((*call, options["query_params"]))
        return ()

    def call_api(self, *_: Any, **__: Any) -> Any:
        return self

    def read(self) -> bytes:
        return self.body.encode()


def test_only_reads_are_sent_and_never_for_a_secret() -> None:
    assert not [kind for kind in cluster.PATHS if kind.startswith("Secret")]
    answers = Answers(200, '{"items": [{"metadata": {"name": "x"}}]}')
    reader = cluster.Cluster(answers)  # pyright: ignore[reportArgumentType]
    assert reader.items("Pod", "", {"a": "b"}) == [{"metadata": {"name": "x"}, "kind": "Pod"}]
    assert answers.asked == [("GET", "/api/v1/pods", [("labelSelector", "a=b")])]


def test_what_may_not_be_read_is_said() -> None:
    reader = cluster.Cluster(Answers(403))  # pyright: ignore[reportArgumentType]
    assert reader.get("Pod", "n", "x") is None
    assert reader.unreadable == {"namespaces/n/pods/x"}
