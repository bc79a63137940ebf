"""The secrets of the gateway in Google Secret Manager."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_gcp as gcp
import pulumi_random as random

ACCESSOR_ROLE = "roles/secretmanager.secretAccessor"
SALT_VERSION = "1"
"""The salt is written once: its first version is its only one."""


@dataclass(frozen=True, kw_only=True)
class GatewaySecretsArgs:
    """Arguments of GatewaySecrets.

    `reader` is the IAM member that may read each secret. A generation is raised by one to rotate its secret.
    `existing_vllm_api_key` is the id of a secret to use instead of making one.
    """

    project: str
    reader: pulumi.Input[str]
    replica_locations: Sequence[str]
    master_key_generation: int
    database_password_generation: int
    existing_vllm_api_key: str | None


@dataclass(frozen=True, kw_only=True)
class StoredSecret:
    """A secret that can be read: its id, the version to read, and the IAM binding that allows it."""

    secret_id: pulumi.Input[str]
    version: pulumi.Input[str]
    name: pulumi.Output[str]
    """`projects/<project>/secrets/<id>`."""
    access: gcp.secretmanager.SecretIamMember


class GatewaySecrets(pulumi.ComponentResource):
    """Random values, kept in Secret Manager, readable by one member each.

    The salt encrypts every credential LiteLLM stores: losing or changing it makes them unreadable. So each of
    its resources is protected, ignores every change, and is left in place when it leaves the state.
    """

    master_key: StoredSecret
    salt_key: StoredSecret
    database_password: StoredSecret
    vllm_api_key: StoredSecret

    def __init__(
        self, name: str, args: GatewaySecretsArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("llmgateway:gateway_secrets:GatewaySecrets", name, None, opts)
        self._name = name
        self._args = args

        self.master_key = self._rotating(
            "litellm-master-key", prefix="sk-", length=24, generation=args.master_key_generation
        )
        self.database_password = self._rotating(
            "litellm-db-password", length=24, generation=args.database_password_generation
        )
        self.salt_key = self._salt("litellm-salt-key", length=32)
        self.vllm_api_key = (
            self._existing(args.existing_vllm_api_key)
            if args.existing_vllm_api_key
            else self._rotating("vllm-api-key", length=24, generation=1)
        )
        self.register_outputs({})

    def _rotating(self, secret_id: str, *, length: int, generation: int, prefix: str = "") -> StoredSecret:
        """A secret whose value is made anew when its generation changes; old versions are disabled, not lost."""
        child = pulumi.ResourceOptions(parent=self)
        value = random.RandomBytes(
            f"{self._name}-{secret_id}", length=length, keepers={"generation": str(generation)}, opts=child
        )
        secret = gcp.secretmanager.Secret(
            f"{self._name}-{secret_id}",
            project=self._args.project,
            secret_id=secret_id,
            replication=self._replication(),
            opts=child,
        )
        version = gcp.secretmanager.SecretVersion(
            f"{self._name}-{secret_id}",
            secret=secret.id,
            secret_data=value.hex.apply(lambda hexadecimal: prefix + hexadecimal),
            deletion_policy="DISABLE",
            opts=child,
        )
        return StoredSecret(
            secret_id=secret.secret_id,
            version=version.version,
            name=secret.name,
            access=self._access(secret_id, secret.secret_id),
        )

    def _salt(self, secret_id: str, *, length: int) -> StoredSecret:
        """The write-once salt."""
        write_once = pulumi.ResourceOptions(
            parent=self, protect=True, retain_on_delete=True, ignore_changes=["*"]
        )
        value = random.RandomBytes(f"{self._name}-{secret_id}", length=length, opts=write_once)
        secret = gcp.secretmanager.Secret(
            f"{self._name}-{secret_id}",
            project=self._args.project,
            secret_id=secret_id,
            replication=self._replication(),
            deletion_protection=True,
            deletion_policy="ABANDON",
            opts=write_once,
        )
        version = gcp.secretmanager.SecretVersion(
            f"{self._name}-{secret_id}",
            secret=secret.id,
            secret_data=value.hex,
            deletion_policy="ABANDON",
            opts=write_once,
        )
        return StoredSecret(
            secret_id=secret.secret_id,
            # Waits for the version without following it: a later version must never be read.
            version=version.version.apply(lambda _: SALT_VERSION),
            name=secret.name,
            access=self._access(secret_id, secret.secret_id),
        )

    def _existing(self, secret_id: str) -> StoredSecret:
        """A secret made elsewhere: only looked up, so a missing one fails here and by name."""
        found = gcp.secretmanager.get_secret_output(
            project=self._args.project, secret_id=secret_id, opts=pulumi.InvokeOutputOptions(parent=self)
        )
        return StoredSecret(
            secret_id=secret_id,
            version="latest",
            name=found.name,
            access=self._access(secret_id, found.secret_id),
        )

    def _access(self, child: str, secret_id: pulumi.Input[str]) -> gcp.secretmanager.SecretIamMember:
        return gcp.secretmanager.SecretIamMember(
            f"{self._name}-{child}-reader",
            project=self._args.project,
            secret_id=secret_id,
            role=ACCESSOR_ROLE,
            member=self._args.reader,
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _replication(self) -> gcp.secretmanager.SecretReplicationArgs:
        if not self._args.replica_locations:
            return gcp.secretmanager.SecretReplicationArgs(auto=gcp.secretmanager.SecretReplicationAutoArgs())
        return gcp.secretmanager.SecretReplicationArgs(
            user_managed=gcp.secretmanager.SecretReplicationUserManagedArgs(
                replicas=[
                    gcp.secretmanager.SecretReplicationUserManagedReplicaArgs(location=location)
                    for location in self._args.replica_locations
                ]
            )
        )
