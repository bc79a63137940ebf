"""The secrets of the gateway in Google Secret Manager."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import pulumi_gcp as gcp
import pulumi_random as random

from components.cluster import ClusterHandle
from settings import Settings
from settings.secrets import DATABASE_PASSWORD, MASTER_KEY, REDIS_PASSWORD, SALT_KEY, VLLM_API_KEY

ACCESSOR_ROLE = "roles/secretmanager.secretAccessor"
KEY_READER = "virtual-key-reader"
"""The Kubernetes service account that reads virtual keys in a namespace of `virtualKeys[].readers`; its owner makes it."""
# Letters and digits hold 5.95 bits each. Both are more than what LiteLLM and Postgres need, and safe in a URL.
_LENGTH, _SALT_LENGTH = 33, 43


@dataclass(frozen=True, kw_only=True)
class GatewaySecretsArgs:
    """Arguments of GatewaySecrets. `reader` is the IAM member that may read each secret."""

    settings: Settings
    cluster: ClusterHandle
    reader: pulumi.Input[str]


@dataclass(frozen=True, kw_only=True)
class StoredSecret:
    """A secret that can be read: its id, the version to read, and the IAM binding that allows it."""

    secret_id: pulumi.Input[str]
    version: pulumi.Input[str]
    name: pulumi.Output[str]
    """`projects/<project>/secrets/<id>`."""
    access: gcp.secretmanager.SecretIamMember


class GatewaySecrets(pulumi.ComponentResource):
    """Random values, kept in Secret Manager, readable by one member each; virtual keys by their readers, too.

    They are made by RandomPassword: the state keeps its result encrypted, and its id says nothing. RandomBytes and
    RandomId have the value as their id, which the engine never encrypts.

    The salt encrypts every credential LiteLLM stores: losing or changing it makes them unreadable. So each of
    its resources is protected, ignores every change, and is left in place when it leaves the state.

    Of the others the setting `protect` covers the Secrets alone. The engine refuses to replace what is
    protected, and rotation replaces value and version; an old version is disabled, which can be undone. A
    virtual key's Secret is never protected: it goes with the key.
    """

    master_key: StoredSecret
    salt_key: StoredSecret
    database_password: StoredSecret
    vllm_api_key: StoredSecret | None
    """None where nothing is self-hosted."""
    redis_password: StoredSecret | None
    """None where no Redis is run."""
    existing: Mapping[str, StoredSecret]
    """The secrets made elsewhere, by id."""
    virtual_keys: Mapping[str, StoredSecret]
    """The values of the virtual keys, by the keys' names."""

    def __init__(
        self, name: str, args: GatewaySecretsArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("llmgateway:gateway_secrets:GatewaySecrets", name, None, opts)
        self._name = name
        self._args = args
        self._project = args.settings.gcp.project
        settings, own, adopt = args.settings, args.settings.secrets, args.settings.secrets.adopt

        self.master_key = self._rotating(
            MASTER_KEY,
            prefix="sk-",
            generation=own.master_key_generation,
            adopted=adopt.master_key,
        )
        self.database_password = self._rotating(
            DATABASE_PASSWORD,
            generation=own.database_password_generation,
            adopted=adopt.database_password,
        )
        self.salt_key = self._salt(SALT_KEY, adopted=adopt.salt_key)
        vllm_api_key = own.existing_vllm_api_key if settings.self_hosted else None
        existing = {*settings.litellm_keys.values(), *settings.hugging_face_tokens.values()}
        existing |= set(filter(None, [vllm_api_key]))
        self.existing = {secret_id: self._existing(secret_id) for secret_id in sorted(existing)}
        self.vllm_api_key = None
        if vllm_api_key:
            self.vllm_api_key = self.existing[vllm_api_key]
        elif settings.self_hosted:
            self.vllm_api_key = self._rotating(
                VLLM_API_KEY,
                generation=own.vllm_api_key_generation,
                adopted=adopt.vllm_api_key,
            )
        self.redis_password = (
            self._rotating(REDIS_PASSWORD, generation=1, adopted=adopt.redis_password)
            if settings.litellm.shared_state.kind == "valkey"
            else None
        )
        self.virtual_keys = {
            key.name: self._rotating(
                key.secret_id,
                prefix="sk-",
                generation=key.generation,
                adopted=key.adopt,
                protect=False,
            )
            for key in settings.virtual_keys or []
        }
        for key in settings.virtual_keys or []:
            for namespace in key.readers:
                self._access(
                    # A dot, which no key and no namespace has: no two names can meet.
                    f"{key.secret_id}-reader.{namespace}",
                    self.virtual_keys[key.name].secret_id,
                    args.cluster.member(namespace, KEY_READER),
                )
        self.register_outputs({})

    def _rotating(
        self,
        secret_id: str,
        *,
        generation: int,
        adopted: int | None,
        prefix: str = "",
        protect: bool | None = None,
    ) -> StoredSecret:
        """A secret whose value is made anew when its generation changes; old versions are disabled, not lost.

        `protect` None means as the others.
        """
        protect = self._args.settings.protect if protect is None else protect
        if adopted:
            return self._adopted(secret_id, adopted, protect=protect)
        value = random.RandomPassword(
            f"{self._name}-{secret_id}",
            length=_LENGTH,
            special=False,
            keepers={"generation": str(generation)},
            opts=pulumi.ResourceOptions(parent=self),
        )
        secret = gcp.secretmanager.Secret(
            f"{self._name}-{secret_id}",
            project=self._project,
            secret_id=secret_id,
            replication=self._replication(),
            opts=pulumi.ResourceOptions(
                parent=self,
                protect=protect,
                # Cannot change in place: another one would replace the secret, its versions with it.
                ignore_changes=["replication"],
            ),
        )
        version = gcp.secretmanager.SecretVersion(
            f"{self._name}-{secret_id}",
            secret=secret.id,
            secret_data=pulumi.Output.concat(prefix, value.result),
            deletion_policy="DISABLE",
            opts=pulumi.ResourceOptions(parent=self),
        )
        return self._stored(secret_id, secret, version)

    def _salt(self, secret_id: str, *, adopted: int | None) -> StoredSecret:
        """The write-once salt."""
        if adopted:
            return self._adopted(secret_id, adopted, protect=True, salt=True)
        write_once = self._write_once(protect=True)
        value = random.RandomPassword(
            f"{self._name}-{secret_id}", length=_SALT_LENGTH, special=False, opts=write_once
        )
        secret = gcp.secretmanager.Secret(
            f"{self._name}-{secret_id}",
            project=self._project,
            secret_id=secret_id,
            replication=self._replication(),
            deletion_protection=True,
            deletion_policy="ABANDON",
            opts=write_once,
        )
        version = gcp.secretmanager.SecretVersion(
            f"{self._name}-{secret_id}",
            secret=secret.id,
            secret_data=value.result,
            deletion_policy="ABANDON",
            opts=write_once,
        )
        return self._stored(secret_id, secret, version)

    def _adopted(self, secret_id: str, version: int, *, protect: bool, salt: bool = False) -> StoredSecret:
        """A secret made by other means, and its value's version: imported as they are, never changed or deleted.

        It has no RandomPassword: that is imported by its value, which the state would keep in plain text as
        import id.
        """
        name = f"projects/{self._project}/secrets/{secret_id}"
        secret = gcp.secretmanager.Secret(
            f"{self._name}-{secret_id}",
            project=self._project,
            secret_id=secret_id,
            replication=self._replication(),
            opts=self._write_once(protect=protect, existing=name),
        )
        kept = gcp.secretmanager.SecretVersion(
            f"{self._name}-{secret_id}",
            secret=secret.id,
            # Only the salt is never replaced by a later generation.
            opts=self._write_once(protect=salt, existing=f"{name}/versions/{version}"),
        )
        return self._stored(secret_id, secret, kept)

    def _write_once(self, *, protect: bool, existing: str | None = None) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(
            parent=self, protect=protect, retain_on_delete=True, ignore_changes=["*"], import_=existing
        )

    def _stored(
        self, secret_id: str, secret: gcp.secretmanager.Secret, version: gcp.secretmanager.SecretVersion
    ) -> StoredSecret:
        return StoredSecret(
            secret_id=secret.secret_id,
            version=version.version,
            name=secret.name,
            access=self._access(f"{secret_id}-reader", secret.secret_id, self._args.reader),
        )

    def _existing(self, secret_id: str) -> StoredSecret:
        """A secret made elsewhere: only looked up, so a missing one fails here and by name."""
        found = pulumi.Output.from_input(self._looked_up(secret_id))
        return StoredSecret(
            secret_id=secret_id,
            version="latest",
            name=found.apply(lambda secret: secret["name"]),
            access=self._access(
                f"{secret_id}-reader", found.apply(lambda secret: secret["secretId"]), self._args.reader
            ),
        )

    async def _looked_up(self, secret_id: str) -> Mapping[str, str]:
        """Raises pulumi.RunError where there is no such secret; get_secret_output ends in a traceback."""
        token = "gcp:secretmanager/getSecret:getSecret"
        asked = {"project": self._project, "secretId": secret_id}
        try:
            return await pulumi.runtime.invoke_async(token, asked, pulumi.InvokeOptions(parent=self))
        except Exception as error:  # the SDK raises Exception itself
            raise pulumi.RunError(
                f"The secret {secret_id}, which a setting names (apiKeySecret, passwordSecret, huggingFaceToken or "
                f"existingVllmApiKey), could not be looked up in {self._project}: pods that need it would never start. "
                f"If there is none, make it: gcloud secrets create {secret_id} --project {self._project} "
                f"--data-file=-. Google's answer: {str(error)[:300]}"
            ) from error

    def _access(
        self, child: str, secret_id: pulumi.Input[str], member: pulumi.Input[str]
    ) -> gcp.secretmanager.SecretIamMember:
        return gcp.secretmanager.SecretIamMember(
            f"{self._name}-{child}",
            project=self._project,
            secret_id=secret_id,
            role=ACCESSOR_ROLE,
            member=member,
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _replication(self) -> gcp.secretmanager.SecretReplicationArgs:
        locations = self._args.settings.secrets.replica_locations
        if not locations:
            return gcp.secretmanager.SecretReplicationArgs(auto=gcp.secretmanager.SecretReplicationAutoArgs())
        return gcp.secretmanager.SecretReplicationArgs(
            user_managed=gcp.secretmanager.SecretReplicationUserManagedArgs(
                replicas=[
                    gcp.secretmanager.SecretReplicationUserManagedReplicaArgs(location=location)
                    for location in locations
                ]
            )
        )
