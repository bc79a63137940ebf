"""The kubelet's look at what a pod refers to: Secrets, ConfigMaps, their keys, and claims; and at whom Google lets in.

A claim that is not ReadWriteMany is had by the pods of one node, the first that starts.

A bound pod whose references are all there is marked by an annotation: to be played, which is what the pod-ready stage
(stages.yaml) waits for, or to run, where the sandbox runs pods and knows an image of it (sandbox/nodes/pods). Of any other
pod the status and an event say in the kubelet's words what is missing, and it is looked at again. A played Cloud SQL Auth Proxy that
Google would refuse ends again and again (sandbox/google/cloud_sql.py).

What it does not do: pull images, start one container of a pod before another's references are
there, or tell a pod that runs already of a change. Volume types it does not know are refused by name in a
FailedMount event.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from sandbox.cluster.status import condition, moment, timestamp
from sandbox.cluster.watched import Json, Watched
from sandbox.containers.names import any_known
from sandbox.google import cloud_sql
from sandbox.google.cloud import Cloud
from sandbox.latency import seconds

ANNOTATION = "sandbox.llmgateway.dev/references"
PLAYED, RUN = "present", "run"
_PLAIN_VOLUMES = frozenset({"emptyDir", "hostPath", "downwardAPI", "image"})


class Kubelet:
    """Lets bound pods start, or says why they cannot."""

    kinds = frozenset({"Pod", "Secret", "ConfigMap", "PersistentVolumeClaim", "ServiceAccount"})

    def __init__(self, api: Watched, cloud: Cloud, runs: bool = False) -> None:
        self._api = api
        self._cloud = cloud
        self._runs = runs
        self._told: dict[str, str] = {}

    def reconcile(self) -> None:
        pending = {pod["metadata"]["uid"]: pod for pod in self._api.list("Pod") if _waits(pod)}
        self._told = {uid: said for uid, said in self._told.items() if uid in pending}
        for uid, pod in pending.items():
            missing = self._missing_volume(pod)
            if missing:
                self._hold(uid, pod, None, "FailedMount", missing)
                continue
            elsewhere = self._attached_elsewhere(pod)
            if elsewhere:
                self._hold(uid, pod, None, "FailedAttachVolume", elsewhere)
                continue
            blocked = next(self._missing_in_containers(pod), None)
            if blocked:
                container, missing = blocked
                self._hold(uid, pod, (container, missing), "Failed", f"Error: {missing}")
            elif refused := self._refused(pod):
                self._crash(uid, pod, *refused)
            elif _scheduled_for(pod) >= seconds("pod"):
                mark = RUN if self._runs and any_known(pod) else PLAYED
                self._api.patch("Pod", pod, {"metadata": {"annotations": {ANNOTATION: mark}}})

    def _missing_volume(self, pod: Json) -> str | None:
        namespace = pod["metadata"]["namespace"]
        for volume in pod["spec"].get("volumes", []):
            missing = self._missing_source(namespace, volume, pod["metadata"]["name"])
            if missing:
                return f'MountVolume.SetUp failed for volume "{volume["name"]}" : {missing}'
        return None

    def _missing_source(self, namespace: str, volume: Json, pod: str) -> str | None:
        name = volume["name"]
        if secret := volume.get("secret"):
            return self._missing_items("Secret", namespace, secret["secretName"], secret)
        if config := volume.get("configMap"):
            return self._missing_items("ConfigMap", namespace, config["name"], config)
        if claim := volume.get("persistentVolumeClaim"):
            return self._unbound(namespace, claim["claimName"])
        if "ephemeral" in volume:
            return self._unbound(namespace, f"{pod}-{name}")
        if projected := volume.get("projected"):
            for source in projected.get("sources", []):
                for kind, key in (("Secret", "secret"), ("ConfigMap", "configMap")):
                    if key in source:
                        missing = self._missing_items(kind, namespace, source[key]["name"], source[key])
                        if missing:
                            return missing
            return None
        if _PLAIN_VOLUMES.isdisjoint(volume):
            types = ", ".join(sorted(volume.keys() - {"name"}))
            return f"volumes of type {types} are not emulated by the sandbox"
        return None

    def _missing_items(self, kind: str, namespace: str, name: str, source: Json) -> str | None:
        if source.get("optional"):
            return None
        found = self._api.get(kind, namespace, name)
        if found is None:
            return f'{kind.lower()} "{name}" not found'
        for item in source.get("items", []):
            if item["key"] not in _keys(found):
                what = "secret" if kind == "Secret" else "config"
                return f"references non-existent {what} key: {item['key']}"
        return None

    def _unbound(self, namespace: str, claim: str) -> str | None:
        found = self._api.get("PersistentVolumeClaim", namespace, claim)
        if found is None:
            return f'persistentvolumeclaim "{claim}" not found'
        return (
            None
            if found["status"].get("phase") == "Bound"
            else f'persistentvolumeclaim "{claim}" is not bound'
        )

    def _attached_elsewhere(self, pod: Json) -> str | None:
        """The attach-detach controller's words for a volume that a pod on another node has, and one node can have."""
        namespace, node = pod["metadata"]["namespace"], pod["spec"]["nodeName"]
        for claim in _claims(pod):
            found = self._api.get("PersistentVolumeClaim", namespace, claim)
            if found is None or "ReadWriteMany" in found["spec"]["accessModes"]:
                continue
            users = [
                other["metadata"]["name"]
                for other in self._api.list("Pod", namespace)
                if claim in _claims(other) and ANNOTATION in other["metadata"].get("annotations", {})
                # A pod that has ended lets go of its volumes, one that is being ended does not yet.
                if other["spec"].get("nodeName") not in (None, node)
                if other["status"].get("phase") not in ("Succeeded", "Failed")
            ]
            if users:
                return (
                    f'Multi-Attach error for volume "{found["spec"].get("volumeName", claim)}" Volume is already used '
                    f"by pod(s) {', '.join(users)}"
                )
        return None

    def _missing_in_containers(self, pod: Json) -> Iterator[tuple[str, str]]:
        namespace = pod["metadata"]["namespace"]
        for container in [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]:
            sources = [
                (kind, entry[key], None)
                for entry in container.get("envFrom", [])
                for kind, key in (("Secret", "secretRef"), ("ConfigMap", "configMapRef"))
                if key in entry
            ] + [
                (kind, entry["valueFrom"][key], entry["valueFrom"][key]["key"])
                for entry in container.get("env", [])
                for kind, key in (("Secret", "secretKeyRef"), ("ConfigMap", "configMapKeyRef"))
                if key in entry.get("valueFrom", {})
            ]
            for kind, reference, wanted in sources:
                missing = self._missing_key(kind, namespace, reference["name"], wanted)
                if missing and not reference.get("optional"):
                    yield container["name"], missing

    def _missing_key(self, kind: str, namespace: str, name: str, wanted: str | None) -> str | None:
        found = self._api.get(kind, namespace, name)
        if found is None:
            return f'{kind.lower()} "{name}" not found'
        if wanted is not None and wanted not in _keys(found):
            return f"couldn't find key {wanted} in {kind} {namespace}/{name}"
        return None

    def _refused(self, pod: Json) -> tuple[str, str] | None:
        name = pod["spec"].get("serviceAccountName", "default")
        account = self._api.get("ServiceAccount", pod["metadata"]["namespace"], name)
        return cloud_sql.refusal(self._cloud, pod, account)

    def _crash(self, uid: str, pod: Json, container: str, words: str) -> None:
        """A container that ended, and is to be started again."""
        if self._told.get(uid) == words:
            return
        status = waiting_status(pod, (container, words))
        (found,) = (row for row in status["containerStatuses"] if row["name"] == container)
        back = f"back-off 10s restarting failed container={container} pod={pod['metadata']['name']}"
        found["restartCount"] = 1
        found["state"] = {"waiting": {"reason": "CrashLoopBackOff", "message": back}}
        found["lastState"] = {"terminated": {"exitCode": 1, "reason": "Error", "message": words}}
        if self._api.patch("Pod", pod, {"status": status}, "/status") is None:
            return
        told = f"Back-off restarting failed container {container} in pod {pod['metadata']['name']}"
        self._api.event("Pod", pod, "Warning", "BackOff", told, "kubelet")
        self._told[uid] = words

    def _hold(self, uid: str, pod: Json, blocked: tuple[str, str] | None, reason: str, message: str) -> None:
        if self._told.get(uid) == message:
            return
        if self._api.patch("Pod", pod, {"status": waiting_status(pod, blocked)}, "/status") is None:
            return
        self._api.event("Pod", pod, "Warning", reason, message, "kubelet")
        self._told[uid] = message


def marked_to_run(pod: Json) -> bool:
    """Whether everything that a pod refers to is there, and it is to run rather than to be played."""
    return pod["metadata"].get("annotations", {}).get(ANNOTATION) == RUN


def waiting_status(pod: Json, blocked: tuple[str, str] | None) -> Json:
    """The status of a pod that cannot start; `blocked` is a container and what it lacks."""
    spec, now = pod["spec"], timestamp()
    initial = spec.get("initContainers", [])
    at_init = bool(initial) and (
        blocked is None or blocked[0] in [container["name"] for container in initial]
    )

    def waiting(containers: list[Json], reason: str) -> list[Json]:
        return [
            {
                "name": container["name"],
                "image": container["image"],
                "imageID": "",
                "ready": False,
                "restartCount": 0,
                "started": False,
                "state": {
                    "waiting": {"reason": "CreateContainerConfigError", "message": blocked[1]}
                    if blocked and container["name"] == blocked[0]
                    else {"reason": reason}
                },
            }
            for container in containers
        ]

    names = " ".join(container["name"] for container in spec["containers"])
    kept = [
        found
        for found in pod["status"].get("conditions", [])
        if found["type"] not in ("Initialized", "Ready", "ContainersReady")
    ]
    return {
        "phase": "Pending",
        "startTime": pod["status"].get("startTime", now),
        "conditions": [
            *kept,
            {"type": "Initialized", "status": "False" if at_init else "True", "lastTransitionTime": now},
            *(
                {
                    "type": type_,
                    "status": "False",
                    "reason": "ContainersNotReady",
                    "message": f"containers with unready status: [{names}]",
                    "lastTransitionTime": now,
                }
                for type_ in ("Ready", "ContainersReady")
            ),
        ],
        "initContainerStatuses": waiting(initial, "PodInitializing"),
        "containerStatuses": waiting(
            spec["containers"], "PodInitializing" if at_init else "ContainerCreating"
        ),
    }


def _claims(pod: Json) -> set[str]:
    volumes = pod["spec"].get("volumes", [])
    return {
        volume["persistentVolumeClaim"]["claimName"]
        for volume in volumes
        if "persistentVolumeClaim" in volume
    }


def _waits(pod: Json) -> bool:
    metadata = pod["metadata"]
    return (
        "nodeName" in pod["spec"]
        and "deletionTimestamp" not in metadata
        and pod["status"].get("phase") == "Pending"
        and ANNOTATION not in metadata.get("annotations", {})
    )


def _scheduled_for(pod: Json) -> float:
    scheduled = condition(pod, "PodScheduled")
    since = scheduled["lastTransitionTime"] if scheduled else pod["metadata"]["creationTimestamp"]
    return (datetime.now(UTC) - moment(since)).total_seconds()


def _keys(item: Json) -> set[str]:
    return {*(item.get("data") or {}), *(item.get("binaryData") or {})}
