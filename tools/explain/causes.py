"""From a failed resource to what the cluster says about it: pods, Jobs, claims, ExternalSecrets, Clusters, nodes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from tools.explain.advice import advise
from tools.explain.failures import Failure
from tools.explain.masks import quoted

Object = dict[str, Any]

WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet")
ESO = {"app.kubernetes.io/name": "external-secrets"}
GPU = "nvidia.com/gpu"
SCALING = ("FailedScaleUp", "NotTriggerScaleUp")
_AT_FAULT = re.compile(r"spec\.data\[\d+\] \(key: ([^)]+)\)(?:, err: )?(.*)", re.DOTALL)
_AGAIN = "run `up` again; if it only needs more time, give it more in `timeouts` (docs/settings.md)"


class Reader(Protocol):
    """What is read from a cluster; tools.explain.cluster.Cluster is one."""

    def get(self, kind: str, namespace: str, name: str) -> Object | None: ...
    def items(self, kind: str, namespace: str, labels: dict[str, str] | None = None) -> list[Object]: ...
    def events(self, subject: Object) -> list[Object]: ...
    def log(self, pod: Object, container: str, *, previous: bool) -> str: ...


@dataclass(frozen=True)
class Cause:
    """An object, what is wrong with it, and what to do; no secret's value is in it."""

    subject: str
    wrong: str
    do: str

    def __str__(self) -> str:
        return f"{self.subject}: {self.wrong}. What to do: {self.do}."


def causes(cluster: Reader, failure: Failure) -> list[Cause]:
    """Why the resource failed, without repetition; empty where nothing says it."""
    namespace, name = failure.where
    proof = str((failure.inputs.get("data") or {}).get("proven-by", ""))
    match failure.kind:
        case "Release":
            found = _release(cluster, namespace, name)
        case "ConfigMap" if "ExternalSecret" in proof:
            found = _object(cluster, "ExternalSecret", namespace, proof.split()[-1])
        case "ConfigMap" if proof:
            found = _workloads(cluster, namespace)
        case "NodePool":
            found = [*_said(failure), *_nodes(cluster, str(failure.inputs.get("name", "")))]
        case kind if kind in _FOLLOW and failure.type.startswith("kubernetes:"):
            found = _object(cluster, kind, namespace, name)
        case _:
            found = ()
    return list(dict.fromkeys(found)) or [*_said(failure)]


def _said(failure: Failure) -> Iterator[Cause]:
    """What the engine's own message means, where the cluster says nothing."""
    if advice := advise(failure.message):
        yield Cause(failure.name, *advice)


def _object(cluster: Reader, kind: str, namespace: str, name: str) -> Iterator[Cause]:
    found = cluster.get(kind, namespace, name)
    if found is None:
        yield Cause(
            f"{kind} {_place(namespace, name)}",
            "it is not in the cluster, or you may not read it",
            "`pulumi refresh`, then `pulumi up`, or look with an account that may read it",
        )
    else:
        yield from _FOLLOW[kind](cluster, found)


def _release(cluster: Reader, namespace: str, name: str) -> Iterator[Cause]:
    """Helm marks what it installs with the release's name; hooks, which it does not, carry their own annotation."""

    def belongs(item: Object) -> bool:
        annotations = item["metadata"].get("annotations") or {}
        instance = (item["metadata"].get("labels") or {}).get("app.kubernetes.io/instance", name)
        hook = "helm.sh/hook" in annotations and instance == name
        return hook or annotations.get("meta.helm.sh/release-name") == name

    for kind in ("Job", "PersistentVolumeClaim", *WORKLOADS):
        for item in cluster.items(kind, namespace):
            if belongs(item):
                yield from _FOLLOW[kind](cluster, item)


def _workloads(cluster: Reader, namespace: str) -> Iterator[Cause]:
    for kind in WORKLOADS:
        for item in cluster.items(kind, namespace):
            yield from _workload(cluster, item)


def _workload(cluster: Reader, workload: Object) -> Iterator[Cause]:
    for condition in _conditions(workload):
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
            yield _explained(workload, f"{condition.get('reason', '')}: {condition.get('message', '')}")
    for pod in cluster.items(
        "Pod", _namespace(workload), (_part(workload, "spec").get("selector") or {}).get("matchLabels")
    ):
        yield from _pod(cluster, pod)


def _job(cluster: Reader, job: Object) -> Iterator[Cause]:
    if _status(job, "Complete") == "True":
        return
    for pod in cluster.items("Pod", _namespace(job), {"job-name": job["metadata"]["name"]}):
        yield from _pod(cluster, pod)
    for condition in _conditions(job):
        if condition["type"] == "Failed" and condition["status"] == "True":
            text = f"{condition.get('reason', '')}: {condition.get('message', '')}"
            yield _explained(job, text, "see the log of its pods, correct what it says, and run `up` again")


def _pod(cluster: Reader, pod: Object) -> Iterator[Cause]:
    status = _part(pod, "status")
    if "deletionTimestamp" in pod["metadata"] or status.get("phase") == "Succeeded":
        return
    if _status(pod, "Ready") == "True":
        return
    events = cluster.events(pod)
    unscheduled = [c for c in _conditions(pod) if c["type"] == "PodScheduled" and c["status"] != "True"]
    if unscheduled:
        yield from _claims(cluster, pod)
        scaling = [event.get("message", "") for event in events if event.get("reason") in SCALING]
        text = "; ".join([*dict.fromkeys(scaling[-2:]), unscheduled[0].get("message", "")])
        yield _refused(cluster, pod, text) or _explained(
            pod, text, "see `kubectl describe pod`, and make room for it"
        )
        return
    told = list(_containers(cluster, pod))
    warned = [event for event in events if event.get("type") == "Warning"]
    if not told and warned:
        text = f"{warned[-1].get('reason', '')}: {warned[-1].get('message', '')}"
        told = [_explained(pod, text, "see `kubectl describe pod`")]
    yield from told or [Cause(_name(pod), "it runs and is not ready, and says no reason", _AGAIN)]


def _refused(cluster: Reader, pod: Object, text: str) -> Cause | None:
    """The taint that keeps a pod off the nodes that it could otherwise have.

    The scheduler of Kubernetes 1.36 does not name it. Where something is insufficient on other nodes, a taint is the
    cause only if it is on the nodes that the pod is for: those with a GPU, of a pod that asks for one.
    """
    gpu = any(
        GPU in (container.get("resources") or {}).get("limits", {})
        for container in _part(pod, "spec").get("containers", [])
    )
    elsewhere = "Insufficient" in text
    if "untolerated taint" not in text or (elsewhere and not gpu):
        return None
    named = [
        f"{taint['key']}={taint.get('value', '')}:{taint['effect']}"
        for node in cluster.items("Node", "")
        if not gpu or GPU in (_part(node, "status").get("allocatable") or {})
        for taint in _part(node, "spec").get("taints") or []
        if taint["effect"] != "PreferNoSchedule" and not _tolerated(pod, taint)
    ]
    named += re.findall(r"untolerated taint \{([^}]*)\}", text)
    if elsewhere and not named:
        return None
    return Cause(
        _name(pod),
        f"no node takes it: it does not tolerate the taint {named[0] if named else 'of the nodes'} ({quoted(text)})",
        "give the pod a toleration of it (the program gives vLLM's pods the pool's), or remove the taint if it was set "
        "by hand",
    )


def _tolerated(pod: Object, taint: Object) -> bool:
    return any(
        toleration.get("effect", taint["effect"]) == taint["effect"]
        and toleration.get("key", taint["key"]) == taint["key"]
        and (toleration.get("operator") == "Exists" or toleration.get("value", "") == taint.get("value", ""))
        for toleration in _part(pod, "spec").get("tolerations") or []
    )


def _containers(cluster: Reader, pod: Object) -> Iterator[Cause]:
    """Why containers do not run: what they wait for, how they ended, and what they said last."""
    status = _part(pod, "status")
    for container in [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]:
        state = container.get("state") or {}
        waiting = state.get("waiting") or {}
        ended = state.get("terminated") or (container.get("lastState") or {}).get("terminated") or {}
        reason = waiting.get("reason", "")
        texts = [f"{reason}: {waiting.get('message', '')}"] if waiting.get("message") else []
        if ended.get("exitCode"):
            log = cluster.log(pod, container["name"], previous="terminated" not in state)
            last = [line for line in log.splitlines() if line.strip()][-3:]
            # What it waits for may be another thing than why it once ended.
            texts = [] if reason == "CrashLoopBackOff" else texts
            texts += [
                f"container {container['name']} ended with exit code {ended['exitCode']} "
                f"{ended.get('reason', '')}".rstrip(),
                *([ended["message"]] if ended.get("message") else []),
                *([f"its log ends with: {' / '.join(last)}"] if last else []),
            ]
        if texts:
            yield _explained(
                pod, "; ".join(texts), "see `kubectl logs`, correct what it says, and run `up` again"
            )


def _claims(cluster: Reader, pod: Object) -> Iterator[Cause]:
    for volume in _part(pod, "spec").get("volumes", []):
        name = (volume.get("persistentVolumeClaim") or {}).get("claimName")
        claim = cluster.get("PersistentVolumeClaim", _namespace(pod), name) if name else None
        if claim:
            yield from _claim(cluster, claim)


def _claim(cluster: Reader, claim: Object) -> Iterator[Cause]:
    if _part(claim, "status").get("phase") == "Bound":
        return
    warned = [event for event in cluster.events(claim) if event.get("type") == "Warning"]
    if warned:
        yield _explained(claim, warned[-1].get("message", ""), "see `kubectl describe pvc`")


def _external_secret(cluster: Reader, item: Object) -> Iterator[Cause]:
    generation = item["metadata"].get("generation")
    synced = str(_part(item, "status").get("syncedResourceVersion", "")).startswith(f"{generation}-")
    if synced and _status(item, "Ready") == "True":
        return
    running = [
        pod
        for pod in cluster.items("Pod", "", ESO)
        if _status(pod, "Ready") == "True" and "deletionTimestamp" not in pod["metadata"]
    ]
    if not running:
        yield Cause(
            _name(item),
            "no pod of the External Secrets operator is ready, so nobody copies the secret",
            "see `kubectl get pods -A -l app.kubernetes.io/name=external-secrets`",
        )
        return
    reference = _part(item, "spec").get("secretStoreRef", {})
    if reference.get("kind") == "ClusterSecretStore" and (
        store := cluster.get("ClusterSecretStore", "", reference["name"])
    ):
        told = list(_store(cluster, store))
        if told:
            yield from told
            return
    failed = [event for event in cluster.events(item) if event.get("reason") == "UpdateFailed"]
    message = failed[-1].get("message", "") if failed else _said_by(item)
    at_fault = _AT_FAULT.search(message)
    if at_fault:
        yield Cause(_name(item), *_secret_at_fault(item, at_fault[1], at_fault[2]))
    elif message:
        yield _explained(item, message, "see `kubectl describe externalsecret`")
    else:
        yield Cause(_name(item), "the operator has not looked at it yet", _AGAIN)


def _secret_at_fault(item: Object, key: str, text: str) -> tuple[str, str]:
    versions = [
        entry["remoteRef"].get("version", "latest")
        for entry in _part(item, "spec").get("data", [])
        if entry["remoteRef"]["key"] == key
    ]
    version = versions[0] if versions else "latest"
    if "secretmanager.versions.access" in text or "PermissionDenied" in text:
        return (
            f"the operator may not read the secret {key} in Secret Manager (secretmanager.versions.access)",
            "an IAM binding may take minutes: run `up` again; if it stays, compare "
            f"`gcloud secrets get-iam-policy {key}` with the operator's service account",
        )
    if "does not exist" in text or "not found" in text.lower() or "NotFound" in text:
        return (
            f"the secret {key} has no version {version} in Secret Manager: not found",
            f"`gcloud secrets versions list {key}` shows what there is; make it, or correct its name in the settings",
        )
    if "DISABLED" in text or "DESTROYED" in text or "FailedPrecondition" in text:
        return (
            f"version {version} of the secret {key} is disabled or destroyed",
            f"`gcloud secrets versions enable {version} --secret {key}`; a destroyed one cannot come back",
        )
    return (
        f"the secret {key} cannot be read: {quoted(text)}",
        "correct what the text says, and run `up` again",
    )


def _store(cluster: Reader, store: Object) -> Iterator[Cause]:
    if _status(store, "Ready") == "True":
        return
    warned = [event for event in cluster.events(store) if event.get("type") == "Warning"]
    told = [f"{event.get('reason', '')}: {event.get('message', '')}" for event in warned[-1:]]
    yield _explained(store, "; ".join(told) or _said_by(store), "see `kubectl describe clustersecretstore`")


def _database(cluster: Reader, item: Object) -> Iterator[Cause]:
    found: list[Cause] = []
    for condition in _conditions(item):
        text = condition.get("message", "")
        if condition["type"] != "Ready" and condition["status"] == "False" and text:
            found.append(_explained(item, f"{condition['type']}: {text}", "see `kubectl describe cluster`"))
    labels = {"cnpg.io/cluster": item["metadata"]["name"]}
    for kind in ("PersistentVolumeClaim", "Pod", "Job"):
        for part in cluster.items(kind, _namespace(item), labels):
            found += _FOLLOW[kind](cluster, part)
    status = _part(item, "status")
    phase = " ".join(part for part in (status.get("phase", ""), status.get("phaseReason", "")) if part)
    if not found and _status(item, "Ready") != "True":
        found = [_explained(item, phase or "the CloudNativePG operator has not looked at it yet", _AGAIN)]
    yield from found


def _nodes(cluster: Reader, pool: str) -> Iterator[Cause]:
    for node in cluster.items("Node", "", {"cloud.google.com/gke-nodepool": pool}):
        for condition in _conditions(node):
            if condition["type"] == "Ready" and condition["status"] != "True":
                yield _explained(node, condition.get("message", "not ready"), "see `kubectl describe node`")


def _explained(subject: Object, text: str, otherwise: str = _AGAIN) -> Cause:
    wrong, do = advise(text) or ("", otherwise)
    return Cause(_name(subject), f"{wrong} ({quoted(text)})" if wrong else quoted(text), do)


def _said_by(item: Object) -> str:
    return "; ".join(
        f"{condition.get('reason', '')}: {condition.get('message', '')}"
        for condition in _conditions(item)
        if condition["status"] != "True"
    )


def _conditions(item: Object) -> Iterable[Object]:
    return _part(item, "status").get("conditions") or []


def _status(item: Object, kind: str) -> str:
    return next((condition["status"] for condition in _conditions(item) if condition["type"] == kind), "")


def _part(item: Object, name: str) -> Object:
    """Its spec or status; a new object has no status yet."""
    return item.get(name) or {}


def _namespace(item: Object) -> str:
    return item["metadata"].get("namespace", "")


def _place(namespace: str, name: str) -> str:
    return f"{namespace}/{name}" if namespace else name


def _name(item: Object) -> str:
    return f"{item['kind']} {_place(_namespace(item), item['metadata']['name'])}"


_FOLLOW = {
    "Cluster": _database,
    "ClusterSecretStore": _store,
    "DaemonSet": _workload,
    "Deployment": _workload,
    "ExternalSecret": _external_secret,
    "Job": _job,
    "PersistentVolumeClaim": _claim,
    "Pod": _pod,
    "StatefulSet": _workload,
}
