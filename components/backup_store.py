"""Where the database's backups go: a bucket, who may write to it, and the plugin's ObjectStore."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_gcp as gcp
import pulumi_kubernetes as kubernetes

from components import egress, fixed_settings
from components.cluster import ClusterHandle
from components.owner import LABEL, refuse_what_is_not_ours
from settings.egress import Egress
from settings.postgres import Backups
from settings.prerequisites import BUCKET_VIEWER

OBJECT_STORE = "litellm-pg-backups"
ROLES = {
    # Read, write and delete objects: retention deletes old backups.
    "objects": "roles/storage.objectUser",
    # Barman asks for the bucket itself before each archiving: no object role has storage.buckets.get.
    "lookup": "roles/storage.legacyBucketReader",
}
"""What a Cluster's instances may do with the bucket."""


@dataclass(frozen=True, kw_only=True)
class BackupStoreArgs:
    """Arguments of BackupStore.

    `project` is the bucket's. `owner` is the label of what belongs to this stack. `writers` are the IAM members that
    the instances of each Cluster are, by the Cluster's name. `plugin_ready` says that the plugin's CRD is served.
    `protect` refuses to delete the bucket.
    """

    project: str
    owner: str
    cluster: ClusterHandle
    backups: Backups
    egress: Egress
    writers: Mapping[str, pulumi.Input[str]]
    namespace: pulumi.Input[str]
    plugin_ready: pulumi.Resource
    protect: bool


class BackupStore(pulumi.ComponentResource):
    """A private bucket that nothing here ever deletes, and the ObjectStore that names it.

    A Cluster waits for all of `ready`: without them its first WAL is refused.
    """

    bucket: gcp.storage.Bucket
    ready: Sequence[pulumi.Resource]

    def __init__(self, name: str, args: BackupStoreArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmgateway:backup_store:BackupStore", name, None, opts)
        backups = args.backups
        self._owner, self._project = args.owner, args.project
        bucket = args.cluster.name.apply(
            lambda name: backups.bucket or _bucket_name(args.project, name)
        ).apply(self._own)
        key = "postgres.backups.bucketLocation"
        location = fixed_settings.fix(
            f"{name}-fixed-location",
            {key: backups.bucket_location or args.cluster.location.apply(_region_of)},
            self,
            free_if="the bucket was never made",
            of=bucket,
        ).apply(lambda fixed: fixed[key])

        self.bucket = gcp.storage.Bucket(
            f"{name}-bucket",
            name=bucket,
            project=args.project,
            location=location,
            labels={LABEL: args.owner},
            uniform_bucket_level_access=True,
            public_access_prevention="enforced",
            # No lifecycle rule, no versions: Barman deletes what is past its retention, and only it knows
            # what a point in time still needs. Soft delete keeps a week to undo a mistake.
            versioning=gcp.storage.BucketVersioningArgs(enabled=False),
            soft_delete_policy=gcp.storage.BucketSoftDeletePolicyArgs(
                retention_duration_seconds=7 * 24 * 3600
            ),
            force_destroy=False,
            opts=pulumi.ResourceOptions(
                parent=self,
                protect=args.protect,
                # Backups outlive the stack that took them.
                retain_on_delete=True,
                import_=backups.bucket if backups.adopt_bucket else None,
                # An import knows no label as its own, and this one is there.
                ignore_changes=["labels"] if backups.adopt_bucket else None,
            ),
        )
        access = [
            gcp.storage.BucketIAMMember(
                # Named after the Cluster: a restore adds the new one's and leaves those of the old one.
                f"{name}-{cluster}-{use}",
                bucket=self.bucket.name,
                role=role,
                member=writer,
                opts=pulumi.ResourceOptions(parent=self),
            )
            for cluster, writer in args.writers.items()
            for use, role in ROLES.items()
        ]
        object_store = kubernetes.apiextensions.CustomResource(
            f"{name}-object-store",
            api_version="barmancloud.cnpg.io/v1",
            kind="ObjectStore",
            metadata=kubernetes.meta.v1.ObjectMetaArgs(name=OBJECT_STORE, namespace=args.namespace),
            spec={
                "configuration": {
                    "destinationPath": pulumi.Output.format("gs://{0}", self.bucket.name),
                    "googleCredentials": {"gkeEnvironment": True},
                    "wal": {"compression": "gzip", "maxParallel": 4},
                    "data": {"compression": "gzip"},
                },
                "retentionPolicy": f"{backups.retention_days}d",
                "instanceSidecarConfiguration": {
                    **(
                        {"env": egress.listed(variables)}
                        if (variables := egress.of_clients_in_go(args.egress, args.cluster))
                        else {}
                    ),
                    "resources": {
                        "requests": {"cpu": "50m", "memory": "128Mi"},
                        "limits": {"memory": "512Mi"},
                    },
                },
            },
            opts=pulumi.ResourceOptions(parent=self, depends_on=[args.plugin_ready]),
        )
        self.ready = [*access, object_store]
        self.register_outputs({})

    async def _own(self, bucket: str) -> str:
        """The bucket's name; raises pulumi.RunError where there is such a bucket that is not this stack's."""
        token, options = "gcp:storage/getBucket:getBucket", pulumi.InvokeOptions(parent=self)
        try:
            found = await pulumi.runtime.invoke_async(token, {"name": bucket}, options)
        except Exception as error:  # the SDK raises Exception itself
            if "Error 404" in str(error):
                return bucket
            raise pulumi.RunError(
                f"The bucket {bucket} could not be looked up, so it may be somebody else's: a bucket's name is unique among "
                f"all users of Google Cloud. If it is not in {self._project}, give this stack another name: "
                f"llm-gateway:postgres.backups.bucket. If it is, whoever runs this needs {BUCKET_VIEWER}. "
                f"Google's answer: {str(error)[:300]}"
            ) from error
        refuse_what_is_not_ours(
            f"The bucket {bucket}",
            found.get("labels") or {},
            self._owner,
            key="postgres.backups.bucket",
            command=f"gcloud storage buckets update gs://{bucket} --update-labels=",
        )
        return bucket


def _bucket_name(project: str, cluster: str) -> str:
    """The bucket's name when the settings give none; Cloud Storage allows 63 characters."""
    return f"{project}-{cluster}"[:52].rstrip("-") + "-litellm-pg"


def _region_of(location: str) -> str:
    """The region of a cluster's location, which is a region or a zone."""
    return location[:-2] if location[-2] == "-" else location
