"""The CloudNativePG operator: a Cluster becomes Services, claims, a bootstrap Job, and then its instances.

It acts while the operator's Deployment is Available and words phases, conditions and events as the operator
does. The emulated database (database.py) knows its owner's password, as it was taken from the Secret, so that
a reader can tell whether the Secret is the one in use, and the rows that a test writes. With the Barman Cloud
plugin, which is there while its Service is and its Deployment is Available, it archives to a bucket and is
restored from one (barman.py).

Stricter than the operator in two places: a recovery that fails leaves the plugin's words as phaseReason,
where the operator only lets its Job fail again and again; and a Secret whose username is not the owner (or
which lacks a key) leaves the Cluster unready with the instance manager's words as its phaseReason. The
operator writes them to the primary's log only, reports a healthy cluster and never sets the password.

Where pods run, so do PostgreSQL and its replication, in them (sandbox/containers/postgres_instance.py), and a standby
takes over from a primary that is not ready (failover.py); base backups, WAL and recovery are then PostgreSQL's own, of files
in the sandbox's folder (instances.py). Where they are played, no instance ever fails. No volume ever fills; the operator
knows an instance that has ended for it.

What it does not do: switch over by plan (an instance that goes is made again on its volume), recover from or back up to
volume snapshots, run other plugins than Barman Cloud, manage roles or services, poolers, tablespaces, image catalogs,
certificates, superuser access. It
refuses each of these by name in the Cluster's phaseReason.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from kubernetes.utils.quantity import parse_quantity

from sandbox.cluster.status import holds, moment, timestamp, with_condition
from sandbox.cluster.watched import Json, Watched, available, controlled_by
from sandbox.google.cloud import Cloud, CloudError
from sandbox.latency import seconds
from sandbox.operators.cloudnativepg import database, failover, objects
from sandbox.operators.cloudnativepg.barman import BarmanError
from sandbox.operators.cloudnativepg.barman_plugin import PLUGIN, BarmanPlugin, archives, uses_plugin

HEALTHY = "Cluster in healthy state"
UNKNOWN_PLUGIN = "Cluster cannot proceed to reconciliation due to an unknown plugin being required"

_SOURCE = "cloudnative-pg"
_REFUSED = frozenset(
    {
        "backup",
        "certificates",
        "imageCatalogRef",
        "managed",
        "podSelectorRefs",
        "projectedVolumeTemplate",
        "replica",
        "serviceAccountName",
        "superuserSecret",
        "tablespaces",
    }
)
_REFUSED_RECOVERY = frozenset({"backup", "volumeSnapshots"})
_REFUSED_INITDB = frozenset(
    {
        "import",
        "postInitApplicationSQL",
        "postInitApplicationSQLRefs",
        "postInitSQL",
        "postInitSQLRefs",
        "postInitTemplateSQL",
        "postInitTemplateSQLRefs",
    }
)


class Phase(NamedTuple):
    name: str
    reason: str = ""
    status: Json | None = None


_NO_SPACE = 4
"""The instance manager's exit code where there is no room for two more files of WAL."""
_FULL = (
    "Insufficient disk space detected in one or more pods is preventing PostgreSQL from running.Please verify your storage "
    "settings. Further information inside .status.instancesReportedState"
)


class Found(NamedTuple):
    """What a Cluster has; `claims` are those of data, `wal` those of WAL."""

    pods: list[Json]
    claims: list[Json]
    wal: list[Json]
    jobs: list[Json]


class CloudNativePG:
    """Reconciles Clusters."""

    kinds = frozenset(
        {
            "Cluster",
            "ConfigMap",
            "Deployment",
            "Job",
            "ObjectStore",
            "PersistentVolumeClaim",
            "Pod",
            "PodDisruptionBudget",
            "Secret",
            "Service",
            "ServiceAccount",
        }
    )

    def __init__(self, api: Watched, cloud: Cloud, buckets: Path | None = None) -> None:
        self._api = api
        self._cloud = cloud
        self._plugin = BarmanPlugin(api, cloud, buckets)

    def reconcile(self) -> None:
        deployment = available(self._api, "cloudnative-pg")
        if deployment is None:
            return
        image = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
        sidecar = self._plugin.sidecar_image(deployment["metadata"]["namespace"])
        for cluster in self._api.list("Cluster"):
            if "deletionTimestamp" not in cluster["metadata"]:
                self._reconcile(cluster, image, sidecar)

    def _reconcile(self, cluster: Json, image: str, sidecar_image: str | None) -> None:
        refused = next(not_emulated(cluster), None)
        if refused:
            reason = f"{refused} is not emulated by the sandbox"
            self._register(cluster, None, Phase("Unable to create required cluster objects", reason))
            return
        operator = objects.Operator(image)
        if uses_plugin(cluster):
            if sidecar_image is None:
                self._register(cluster, None, Phase(UNKNOWN_PLUGIN, _unknown(PLUGIN)))
                return
            if not self._plugin.has_stores(cluster):
                return
            operator = objects.Operator(image, self._plugin.sidecar(cluster, sidecar_image))
        self._make_shared_objects(cluster)
        found = self._find(cluster)
        failover.label_roles(self._api, cluster, found.pods)
        phase = self._next(cluster, found, operator)
        self._register(cluster, found, phase)
        if (
            archives(cluster)
            and any(_ready(pod) for pod in found.pods)
            and database.exists(self._cloud, cluster)
        ):
            self._plugin.archive(cluster)

    def _find(self, cluster: Json) -> Found:
        namespace, uid = cluster["metadata"]["namespace"], cluster["metadata"]["uid"]

        def owned(kind: str) -> list[Json]:
            return [item for item in self._api.list(kind, namespace) if controlled_by(item, uid)]

        claims = owned("PersistentVolumeClaim")
        claims = [claim for claim in claims if "deletionTimestamp" not in claim["metadata"]]
        wal = [claim for claim in claims if claim["metadata"]["labels"].get(objects.PVC_ROLE) == "PG_WAL"]
        return Found(owned("Pod"), [claim for claim in claims if claim not in wal], wal, owned("Job"))

    def _make_shared_objects(self, cluster: Json) -> None:
        namespace = cluster["metadata"]["namespace"]
        wanted = [
            *(("Service", service) for service in objects.services(cluster)),
            *(("PodDisruptionBudget", budget) for budget in objects.disruption_budgets(cluster)),
            ("ServiceAccount", objects.service_account(cluster)),
        ]
        secret, database, user = credentials(cluster)
        if "secret" not in application(cluster):
            wanted.append(("Secret", objects.application_secret(cluster, secret, database, user)))
        for kind, item in wanted:
            known = self._api.get(kind, namespace, item["metadata"]["name"])
            if known is None:
                self._api.create(kind, item)
            elif (
                kind == "PodDisruptionBudget"
                and known["spec"]["minAvailable"] != item["spec"]["minAvailable"]
            ):
                self._api.patch(kind, known, {"spec": {"minAvailable": item["spec"]["minAvailable"]}})
        budgets = {item["metadata"]["name"] for kind, item in wanted if kind == "PodDisruptionBudget"}
        for budget in self._api.list("PodDisruptionBudget", namespace):
            if (
                controlled_by(budget, cluster["metadata"]["uid"])
                and budget["metadata"]["name"] not in budgets
            ):
                self._api.delete("PodDisruptionBudget", budget)

    def _next(self, cluster: Json, found: Found, operator: objects.Operator) -> Phase | None:
        """Take the next step of a Cluster's life; the phase it is in now, None when it stays as it is."""
        status, spec = cluster.get("status", {}), cluster["spec"]
        if not found.claims:
            return self._create_primary(cluster, operator)
        if any(_has_no_space(pod) for pod in found.pods):
            # Before all else: it neither fails over nor makes volumes larger until the instance runs again.
            return Phase("Not enough disk space", _FULL)
        self._make_wal_claims(cluster, found)
        if not all(_done(job) for job in found.jobs):
            return None
        for claim in found.claims:
            self._grow(spec["storage"], claim)
        for claim in found.wal:
            self._grow(spec["walStorage"], claim)
        if not database.exists(self._cloud, cluster):
            failure = self._fill(cluster)
            if failure:
                return Phase("Setting up primary", f"while restoring a backup: {failure}")
        failing = failover.failing_over(cluster, found.pods)
        if failing:
            self._tell(cluster, "FailingOver", f"Failing over from {status['currentPrimary']} to {failing}")
            target = {"targetPrimary": failing, "targetPrimaryTimestamp": timestamp()}
            return Phase("Failing over", f"Failing over from {status['currentPrimary']} to {failing}", target)
        if self._start_instances(cluster, found, operator):
            return None
        if any(not _active(pod) for pod in found.pods):
            return Phase(
                "Waiting for the instances to become active",
                "Some instances are not yet active. Please wait.",
            )
        primary = status.get("targetPrimary")
        if not all(_ready(pod) for pod in found.pods):
            return None
        if not status.get("currentPrimary"):  # later ones say themselves that they were promoted
            return Phase(
                status["phase"],
                status.get("phaseReason", ""),
                {"currentPrimary": primary, "currentPrimaryTimestamp": timestamp()},
            )
        if len(found.claims) < spec["instances"]:
            return self._join_replica(cluster, operator)
        if len(found.claims) > spec["instances"]:
            self._remove_replica(cluster, found)
            return None
        outdated = self._restart_outdated(cluster, found, operator)
        if outdated:
            return outdated
        wrong = self._take_password(cluster)
        if wrong:
            return Phase("Waiting for user action", f"while updating database owner password: {wrong}")
        for job in found.jobs:
            self._api.delete("Job", job)
        return Phase(HEALTHY)

    def _create_primary(self, cluster: Json, operator: objects.Operator) -> Phase:
        name = objects.instance_name(cluster, 1)
        if cluster.get("status", {}).get("latestGeneratedNode"):
            return Phase(
                "Cluster is unrecoverable and needs manual intervention",
                "One or more instances were previously created, but no PersistentVolumeClaims (PVCs) exist. "
                "The cluster is in an unrecoverable state. "
                "To resolve this, restore the cluster from a recent backup.",
            )
        recovery = cluster["spec"].get("bootstrap", {}).get("recovery")
        if recovery is not None:
            try:
                files = self._plugin.files(cluster, recovery)
            except BarmanError as error:
                return Phase("Setting up primary", f"while restoring a backup: {error}")
            self._tell(cluster, "CreatingInstance", "Primary instance (from external cluster)")
            job = objects.job(cluster, 1, "full-recovery", operator, "")
            [container] = job["spec"]["template"]["spec"]["containers"]
            container["env"] += [{"name": name, "value": value} for name, value in files.items()]
        else:
            self._tell(cluster, "CreatingInstance", "Primary instance (initdb)")
            job = objects.job(cluster, 1, "initdb", operator, credentials(cluster).secret)
        self._api.create("PersistentVolumeClaim", objects.claim(cluster, 1))
        self._api.create("Job", job)
        return Phase(
            "Setting up primary",
            f"Creating primary instance {name}",
            {"latestGeneratedNode": 1, "targetPrimary": name, "targetPrimaryTimestamp": timestamp()},
        )

    def _fill(self, cluster: Json) -> str | None:
        """Make the database that the first Job made on the primary's volume; why it could not."""
        recovery = cluster["spec"].get("bootstrap", {}).get("recovery")
        if recovery is None:
            database.make(self._cloud, cluster)
            return None
        try:
            restored = self._plugin.restore(cluster, recovery)
        except BarmanError as error:
            return str(error)
        database.make(self._cloud, cluster, restored)
        return None

    def _join_replica(self, cluster: Json, operator: objects.Operator) -> Phase:
        serial = cluster["status"]["latestGeneratedNode"] + 1
        name = objects.instance_name(cluster, serial)
        self._tell(cluster, "CreatingInstance", f"Creating instance {name}")
        self._api.create("Job", objects.job(cluster, serial, "join", operator, ""))
        self._api.create("PersistentVolumeClaim", objects.claim(cluster, serial))
        return Phase(
            "Creating a new replica", f"Creating replica {name}-join", {"latestGeneratedNode": serial}
        )

    def _start_instances(self, cluster: Json, found: Found, operator: objects.Operator) -> bool:
        """Make missing Pods of volumes whose bootstrap has taken its time; whether any was missing."""
        running = {pod["metadata"]["name"] for pod in found.pods}
        started = {job["metadata"]["labels"][objects.INSTANCE]: job for job in found.jobs}
        awaited = False
        for claim in found.claims:
            name = claim["metadata"]["name"]
            if name in running:
                continue
            awaited = True
            job = started.get(name)
            if job and _age(job) < seconds("postgresCluster"):
                continue
            serial = int(claim["metadata"]["annotations"][objects.SERIAL])
            primary = name == cluster["status"].get("targetPrimary")
            self._api.create("Pod", objects.pod(cluster, serial, primary, operator))
        return awaited

    def _remove_replica(self, cluster: Json, found: Found) -> None:
        primary = cluster["status"].get("currentPrimary")
        victim = max(
            (claim for claim in found.claims if claim["metadata"]["name"] != primary),
            key=lambda claim: int(claim["metadata"]["annotations"][objects.SERIAL]),
        )
        name = victim["metadata"]["name"]
        self._tell(cluster, "ScaleDown", f"Scaling down - removing instance: {name}")
        for claim in (victim, *found.wal):
            if claim["metadata"]["labels"][objects.INSTANCE] == name:
                self._api.delete("PersistentVolumeClaim", claim)
        for pod in found.pods:
            if pod["metadata"]["name"] == name:
                self._api.delete("Pod", pod)

    def _restart_outdated(self, cluster: Json, found: Found, operator: objects.Operator) -> Phase | None:
        primary = cluster["status"].get("currentPrimary")
        replicas_first = sorted(found.pods, key=lambda pod: pod["metadata"]["name"] == primary)
        for pod in replicas_first:
            metadata = pod["metadata"]
            serial = int(metadata["annotations"][objects.SERIAL])
            wanted = json.loads(
                objects.pod(cluster, serial, False, operator)["metadata"]["annotations"][objects.POD_SPEC]
            )
            reason = why_outdated(json.loads(metadata["annotations"][objects.POD_SPEC]), wanted)
            if reason is None:
                continue
            if metadata["name"] != primary:
                phase = Phase(
                    "Upgrading cluster", f"Restarting instance {metadata['name']}, because: {reason}"
                )
            elif cluster["spec"].get("primaryUpdateStrategy") == "supervised":
                return Phase("Waiting for user action", "User must issue a supervised switchover")
            else:
                phase = Phase("Primary instance is being restarted without a switchover", reason)
            self._tell(cluster, "UpgradingInstance", f"Upgrading instance {metadata['name']}")
            self._api.delete("Pod", pod)
            return phase
        return None

    def _make_wal_claims(self, cluster: Json, found: Found) -> None:
        """One per data volume, also where the Cluster got its WAL volumes later."""
        there = {claim["metadata"]["labels"][objects.INSTANCE] for claim in found.wal}
        for claim in found.claims if "walStorage" in cluster["spec"] else []:
            if claim["metadata"]["name"] not in there:
                serial = int(claim["metadata"]["annotations"][objects.SERIAL])
                self._api.create("PersistentVolumeClaim", objects.claim(cluster, serial, "PG_WAL"))

    def _grow(self, storage: Json, claim: Json) -> None:
        now = claim["spec"]["resources"]["requests"]["storage"]
        size = storage.get("size", now)
        if storage.get("resizeInUseVolumes", True) and parse_quantity(size) > parse_quantity(now):
            wanted = {"spec": {"resources": {"requests": {"storage": size}}}}
            self._api.patch("PersistentVolumeClaim", claim, wanted)

    def _take_password(self, cluster: Json) -> str | None:
        """Set the emulated owner's password from the Secret; what is wrong with the Secret, or None."""
        namespace, uid = cluster["metadata"]["namespace"], cluster["metadata"]["uid"]
        name, _, user = credentials(cluster)
        secret = self._api.get("Secret", namespace, name)
        if secret is None:
            return None
        data = secret.get("data", {})
        for key in ("username", "password"):
            if key not in data:
                return f"{key} key doesn't exist inside the secret"
        username = base64.b64decode(data["username"]).decode()
        if username != user:
            return f"wrong username '{username}' in secret, expected '{user}'"
        role = f"{namespace}/{cluster['metadata']['name']}/{user}"
        wanted = {"cluster": uid, "password": base64.b64decode(data["password"]).decode()}
        try:
            known = self._cloud.get("databaseRole", role)
        except CloudError:
            self._cloud.create("databaseRole", role, wanted)
            return None
        reloads = secret["metadata"].get("labels", {}).get("cnpg.io/reload") == "true"
        if known["cluster"] != uid or (reloads and known["password"] != wanted["password"]):
            self._cloud.update("databaseRole", role, wanted)
        return None

    def _register(self, cluster: Json, found: Found | None, phase: Phase | None) -> None:
        status = cluster.get("status", {})
        changes: Json = {}
        if found is not None:
            name = cluster["metadata"]["name"]
            ready = sorted(pod["metadata"]["name"] for pod in found.pods if _ready(pod))
            secret = self._api.get("Secret", cluster["metadata"]["namespace"], credentials(cluster).secret)
            changes = {
                "image": cluster["spec"]["imageName"],
                "instanceNames": sorted(claim["metadata"]["name"] for claim in found.claims),
                "instances": len(found.claims),
                "instancesStatus": {"healthy": ready},
                "jobCount": len(found.jobs),
                "pvcCount": len(found.claims) + len(found.wal),
                "readService": f"{name}-r",
                "readyInstances": len(ready),
                "writeService": f"{name}-rw",
            }
            if secret:
                version = secret["metadata"]["resourceVersion"]
                changes["secretsResourceVersion"] = {"applicationSecretVersion": version}
        if phase is not None:
            healthy = phase.name == HEALTHY
            changes |= {
                "phase": phase.name,
                "phaseReason": phase.reason,
                "conditions": with_condition(
                    cluster,
                    "Ready",
                    healthy,
                    "ClusterIsReady" if healthy else "ClusterIsNotReady",
                    "Cluster is Ready" if healthy else "Cluster Is Not Ready",
                ),
                **(phase.status or {}),
            }
        changes = {key: value for key, value in changes.items() if status.get(key) != value}
        if changes:
            self._api.patch("Cluster", cluster, {"status": changes}, "/status")

    def _tell(self, cluster: Json, reason: str, message: str) -> None:
        self._api.event("Cluster", cluster, "Normal", reason, message, _SOURCE)


class Credentials(NamedTuple):
    secret: str
    database: str
    owner: str


def credentials(cluster: Json) -> Credentials:
    """Where the application's database and owner are defined, with the operator's defaults."""
    wanted = application(cluster)
    database = wanted.get("database", "app")
    secret = wanted.get("secret", {}).get("name") or f"{cluster['metadata']['name']}-app"
    return Credentials(secret, database, wanted.get("owner", database))


def application(cluster: Json) -> Json:
    """The part of a Cluster's bootstrap that names the application's database."""
    bootstrap = cluster["spec"].get("bootstrap", {})
    return bootstrap.get("recovery") or bootstrap.get("initdb", {})


def not_emulated(cluster: Json) -> Iterator[str]:
    """The fields of a Cluster that this emulation does not know."""
    spec = cluster["spec"]
    yield from (f"spec.{key}" for key in sorted(spec.keys() & _REFUSED))
    if spec.get("enableSuperuserAccess"):
        yield "spec.enableSuperuserAccess"
    if "imageName" not in spec:
        yield "a Cluster without spec.imageName"
    bootstrap = spec.get("bootstrap", {})
    yield from (f"spec.bootstrap.{key}" for key in sorted(bootstrap.keys() - {"initdb", "recovery"}))
    recovery = bootstrap.get("recovery", {})
    yield from (f"spec.bootstrap.recovery.{key}" for key in sorted(recovery.keys() & _REFUSED_RECOVERY))
    target = recovery.get("recoveryTarget", {})
    yield from (
        f"spec.bootstrap.recovery.recoveryTarget.{key}" for key in sorted(target.keys() - {"targetTime"})
    )
    for plugin in spec.get("plugins", []):
        if plugin["name"] != PLUGIN or not plugin.get("enabled", True):
            yield f"spec.plugins of name {plugin['name']} or turned off"
    for external in spec.get("externalClusters", []):
        if external.get("plugin", {}).get("name") != PLUGIN:
            yield f"spec.externalClusters without plugin {PLUGIN}"
    refused = sorted(bootstrap.get("initdb", {}).keys() & _REFUSED_INITDB)
    yield from (f"spec.bootstrap.initdb.{key}" for key in refused)


def why_outdated(current: Json, wanted: Json) -> str | None:
    """Why an instance's pod spec calls for a restart; None when it does not."""
    if current == wanted:
        return None
    before, after = current["containers"][0]["image"], wanted["containers"][0]["image"]
    if before != after:
        return f"the instance is using a different image: {before} -> {after}"
    key = min(key for key in current.keys() | wanted.keys() if current.get(key) != wanted.get(key))
    return f"original and target PodSpec differ in {key}"


def _unknown(plugin: str) -> str:
    return (
        f"Unknown plugin: '{plugin}'. This may be caused by the plugin not being loaded correctly by the operator. "
        "Check the operator and plugin logs for errors"
    )


def _done(job: Json) -> bool:
    return bool(job.get("status", {}).get("succeeded"))


def _active(pod: Json) -> bool:
    return pod["status"].get("phase") == "Running" and "deletionTimestamp" not in pod["metadata"]


def _has_no_space(pod: Json) -> bool:
    """Whether an instance has ended for lack of room for WAL, and is not ready again (cluster_status.go)."""
    for container in pod["status"].get("containerStatuses", []):
        if container["name"] == "postgres":
            now, before = (container.get(key, {}).get("terminated", {}) for key in ("state", "lastState"))
            ended = [now, *([] if container.get("ready") else [before])]
            return any(each.get("exitCode") == _NO_SPACE for each in ended)
    return False


def _ready(pod: Json) -> bool:
    return _active(pod) and holds(pod, "Ready")


def _age(item: Json) -> float:
    return (datetime.now(UTC) - moment(item["metadata"]["creationTimestamp"])).total_seconds()
