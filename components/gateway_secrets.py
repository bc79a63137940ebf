"""The secrets of the gateway in Google Secret Manager."""

from __future__ import annotations

import secrets
import string
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pulumi
import pulumi_gcp as gcp
import pulumi_random as random

from components.cluster import ClusterHandle
from components.owner import owner_of, owner_setting
from components.salt_copy import find_copy, keep_copy
from components.salt_gate import salt_of_database
from components.secret_manager import FoundSecret, find_secrets, has_version, newest_version
from settings import Settings
from settings.base import secret_and_version
from settings.secrets import DATABASE_PASSWORD, MASTER_KEY, REDIS_PASSWORD, SALT_KEY, VLLM_API_KEY

ACCESSOR_ROLE = "roles/secretmanager.secretAccessor"
KEY_READER = "virtual-key-reader"
"""The Kubernetes service account that reads virtual keys in a namespace of `virtualKeys[].readers`; its owner makes it."""
OWNER = "llm-gateway-owner"
SALT_VERSION = "llm-gateway-salt-version"
GENERATION = "llm-gateway-generation"
"""Annotations at Google: the stack that a Secret belongs to; the one version that is the salt; the generation that was
made last of a value that rotates."""
_DESTROY_AFTER = f"{30 * 24 * 3600}s"
"""How long the salt's version can be brought back once somebody destroys it. Deleting its Secret does not wait."""
_FIRST = "1"
_LETTERS = string.ascii_letters + string.digits
# Letters and digits hold 5.95 bits each. Both are more than what LiteLLM and Postgres need, and safe in a URL.
_LENGTH, _SALT_LENGTH = 33, 43


@dataclass(frozen=True, kw_only=True)
class GatewaySecretsArgs:
    """Arguments of GatewaySecrets.

    `gateway` is the name of the gateway that they are of. `project` gives the settings' project, known once the stack
    is known to be made in it. It is called once nothing is refused, as it registers a resource. `reader` is the IAM
    member that may read each secret. The database is in `cluster`.
    """

    settings: Settings
    gateway: str
    project: Callable[[], pulumi.Output[str]]
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

    Each Secret is annotated at Google with the stack that it belongs to. One that exists and does not belong to
    this stack is refused, before anything is registered.

    The salt encrypts every credential LiteLLM stores: losing or changing it makes them unreadable. So its
    Secret and SecretVersion are protected, ignore every change, and are left in place when they leave the state:
    that holds what Pulumi does, and nothing else. A version that is destroyed at Google can be brought back for 30
    days; a Secret that is deleted there is gone at once, and only `secrets.saltCopy` has the value still.
    It is made only where Google has none; one that Google has is imported, in the version that its annotation
    names, whatever the state and the settings say. It has no random resource that could be made anew.

    The others have one, and an annotation with the generation that was made last. A value that Google has is not
    made a second time in the same generation, wherever it went in the state.

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
    """The secrets made elsewhere, as the settings name them."""
    virtual_keys: Mapping[str, StoredSecret]
    """The values of the virtual keys, by the keys' names."""
    salt: pulumi.Output[str]
    """Name and version of the salt."""
    project: pulumi.Output[str]
    """The Google project of the secrets; fails where the salt is in another one."""

    def __init__(
        self, name: str, args: GatewaySecretsArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("llmgateway:gateway_secrets:GatewaySecrets", name, None, opts)
        self._name = name
        self._args = args
        self._owner = owner_of(args.settings, args.gateway)
        settings, own, adopt = args.settings, args.settings.secrets, args.settings.secrets.adopt
        self._found = find_secrets(settings.gcp.project, self)
        self._refuse_what_is_not_ours()

        self.salt_key = self._salt()
        self.master_key = self._rotating(
            MASTER_KEY,
            prefix="sk-",
            generation=own.master_key_generation,
            adopted=adopt.master_key,
        )
        self.existing = self._made_elsewhere()
        self.database_password = (
            self.existing[settings.database_password]
            if settings.database_password
            else self._rotating(
                DATABASE_PASSWORD,
                generation=own.database_password_generation,
                adopted=adopt.database_password,
            )
        )
        self.vllm_api_key = None
        if settings.self_hosted:
            self.vllm_api_key = self.existing.get(own.existing_vllm_api_key or "") or self._rotating(
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
                    self._args.cluster.member(namespace, KEY_READER),
                )
        self.register_outputs({"firstSalt": self._first_salt})

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
            opts=pulumi.ResourceOptions(
                parent=self,
                hooks=pulumi.ResourceHookBinding(
                    before_create=[self._no_second_value(secret_id, generation)]
                ),
            ),
        )
        secret = gcp.secretmanager.Secret(
            f"{self._name}-{secret_id}",
            project=self.project,
            secret_id=self._id(secret_id),
            annotations={OWNER: self._owner, GENERATION: str(generation)},
            replication=self._replication(),
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=[value],  # the generation is said at Google once its value is in the state
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

    def _no_second_value(self, secret_id: str, generation: int) -> pulumi.ResourceHook:
        """A hook that stops a value which Google has from being made anew because the state lost it."""

        async def refuse(_: pulumi.ResourceHookArgs) -> None:
            found = self._found.get(self._id(secret_id))
            if found is None or found.annotations.get(GENERATION, _FIRST) != str(generation):
                return
            if version := await newest_version(self._args.settings.gcp.project, self._id(secret_id), self):
                key = self._adoptions()[secret_id][0]
                another = (
                    "To have another one, add it as a version and write that one's number."
                    if secret_id == REDIS_PASSWORD  # no setting raises its generation
                    else f"To make another one, raise its generation above {generation}."
                )
                raise RuntimeError(
                    f"{self._id(secret_id)} has a value, version {version}, which the state has lost: another one "
                    f"would be made in its place, unasked. To keep it, write llm-gateway:{key}: {version}. {another} "
                    'docs/operations.md says more under "A value is gone from the state".'
                )

        return pulumi.ResourceHook(
            f"{self._name}-{secret_id}-new-value", refuse, pulumi.ResourceHookOptions(on_dry_run=True)
        )

    def _salt(self) -> StoredSecret:
        """The write-once salt."""
        project, secret_id = self._args.settings.gcp.project, self._id(SALT_KEY)
        found = self._found.get(secret_id)
        number = found.annotations[SALT_VERSION] if found else _FIRST
        kept = found is not None and has_version(project, secret_id, number, self)
        self._first_salt = not kept
        if found and not kept and number != _FIRST:
            raise pulumi.RunError(
                f"{secret_id} has no version {number}, which its annotation {SALT_VERSION} names as the salt. Without "
                "that value nothing decrypts the credentials that LiteLLM has stored. Annotate the version that it is:\n"
                f"  {self._annotate(SALT_KEY)}"
            )
        place = self._args.settings.secrets.salt_copy
        copy = find_copy(place, self) if place else None
        if copy and copy.made and not kept:
            raise pulumi.RunError(
                f"{project} has no {secret_id}, and {copy.secret} has a copy of it: a new one would decrypt none of the "
                'credentials that LiteLLM has stored. Bring it back as docs/operations.md says under "The salt is gone at '
                "Google\". If it never was this stack's, name another Secret as llm-gateway:secrets.saltCopy."
            )
        secret = gcp.secretmanager.Secret(
            f"{self._name}-{SALT_KEY}",
            project=self._args.project(),
            secret_id=secret_id,
            annotations={OWNER: self._owner, SALT_VERSION: number},
            replication=self._replication(),
            version_destroy_ttl=_DESTROY_AFTER,
            deletion_protection=True,
            deletion_policy="ABANDON",
            opts=self._write_once(
                protect=True, existing=f"projects/{project}/secrets/{secret_id}" if found else None
            ),
        )
        value = "".join(secrets.choice(_LETTERS) for _ in range(_SALT_LENGTH))
        # No preview knows it: the engine compares what an `up` does with a saved plan, and would show both values.
        new = pulumi.UNKNOWN if pulumi.runtime.is_dry_run() else value
        version = gcp.secretmanager.SecretVersion(
            f"{self._name}-{SALT_KEY}",
            secret=secret.id,
            secret_data=None if kept else pulumi.Output.secret(new),
            deletion_policy="ABANDON",
            opts=pulumi.ResourceOptions.merge(
                self._write_once(
                    protect=True, existing=f"{found.name}/versions/{number}" if found and kept else None
                ),
                pulumi.ResourceOptions(
                    hooks=pulumi.ResourceHookBinding(
                        before_create=[
                            salt_of_database(
                                f"{self._name}-new-salt",
                                self._args.cluster,
                                self._args.settings.namespaces.gateway,
                                None,
                            )
                        ]
                    )
                ),
            ),
        )
        if copy:
            keep_copy(self._name, copy, version, self)

        where = pulumi.Output.concat(secret.project, "/", secret.secret_id)
        # A coroutine's output depends on nothing: who forgets the salt's Secret must not forget the others with it.
        self.project = pulumi.Output.from_input(self._same_place(where))

        def readable(version: list[Any]) -> str:
            made, enabled = version
            if made != number:
                raise pulumi.RunError(
                    f"The salt is version {number} of {secret_id}; version {made} was made."
                )
            if enabled is False:
                raise pulumi.RunError(
                    f"The salt, version {number} of {secret_id}, is disabled: pods that start anew cannot read it. "
                    f"Enable it: gcloud secrets versions enable {number} --secret {secret_id} --project {project}"
                )
            return number

        stored = StoredSecret(
            secret_id=secret.secret_id,
            version=pulumi.Output.all(version.version, version.enabled).apply(readable),
            name=secret.name,
            access=self._access(f"{secret_id}-reader", secret.secret_id, self._args.reader),
        )
        self.salt = pulumi.Output.concat(secret.name, "/versions/", stored.version)
        return stored

    async def _same_place(self, salt: pulumi.Output[str]) -> str:
        """The project, once the salt is known to be in it; raises pulumi.RunError where it is elsewhere."""
        project, secret_id = self._args.settings.gcp.project, self._id(SALT_KEY)
        found = await salt.future()
        if found not in (None, f"{project}/{secret_id}"):
            raise pulumi.RunError(
                f"The salt of this stack is {found.replace('/', ', secret ')}; the settings say {project}, secret "
                f"{secret_id}. Nothing decrypts the stored credentials without it. Leave gcp.project and secrets.prefix "
                "as they were; another project or prefix needs another stack."
            )
        return project

    def _adopted(self, secret_id: str, version: int, *, protect: bool) -> StoredSecret:
        """A secret made by other means, and its value's version: imported as they are, never changed or deleted.

        It has no random resource: that is imported by its value, which the state would keep in plain text as
        import id.
        """
        name = f"projects/{self._args.settings.gcp.project}/secrets/{self._id(secret_id)}"
        found = self._found[self._id(secret_id)]
        secret = gcp.secretmanager.Secret(
            f"{self._name}-{secret_id}",
            project=self.project,
            secret_id=self._id(secret_id),
            replication=self._replication(),
            opts=self._write_once(protect=protect, existing=name),
        )
        kept = gcp.secretmanager.SecretVersion(
            f"{self._name}-{secret_id}",
            secret=secret.id,
            # A later generation replaces it. By the project's number, as the state has a version that this stack made:
            # adopting that is no step.
            opts=self._write_once(protect=False, existing=f"{found.name}/versions/{version}"),
        )
        return self._stored(secret_id, secret, kept)

    def _id(self, secret_id: str) -> str:
        return self._args.settings.secrets.prefix + secret_id

    def _refuse_what_is_not_ours(self) -> None:
        """Raise pulumi.RunError if a Secret exists under a name of this stack and belongs to another or to none."""
        if wrong := list(self._not_ours()):
            raise pulumi.RunError("\n".join(wrong))

    def _adoptions(self) -> Mapping[str, tuple[str, int | None]]:
        """The setting that adopts each secret, and the version that it names, by the secret's id without prefix."""
        settings = self._args.settings
        adopt = settings.secrets.adopt
        keys = (
            ("masterKey", MASTER_KEY, adopt.master_key),
            ("saltKey", SALT_KEY, adopt.salt_key),
            *(
                ()
                if settings.database_password
                else (("databasePassword", DATABASE_PASSWORD, adopt.database_password),)
            ),
            ("redisPassword", REDIS_PASSWORD, adopt.redis_password),
            *(
                ()
                if settings.secrets.existing_vllm_api_key
                else (("vllmApiKey", VLLM_API_KEY, adopt.vllm_api_key),)
            ),
        )
        asked = {secret_id: (f"secrets.adopt.{key}", version) for key, secret_id, version in keys}
        for index, key in enumerate(settings.virtual_keys or []):
            asked[key.secret_id] = (f"virtualKeys[{index}].adopt", key.adopt)
        return asked

    def _not_ours(self) -> Iterator[str]:
        settings = self._args.settings
        for own_id, (key, version) in self._adoptions().items():
            secret_id = self._id(own_id)
            found = self._found.get(secret_id)
            if found is None:
                if version:
                    yield (
                        f"llm-gateway:{key}: there is no secret {secret_id} in {settings.gcp.project}, so nothing to "
                        f"adopt. Remove the entry and a new value is made, or correct gcp.project or secrets.prefix."
                    )
                continue
            owner = found.annotations.get(OWNER)
            if owner is None:
                yield (
                    f"{secret_id} exists in {settings.gcp.project} and no stack owns it. To keep its value, name its "
                    f"owner, and its version as llm-gateway:{key}:\n  {self._annotate(own_id)}\n"
                    "To leave it alone, give this stack other names: llm-gateway:secrets.prefix."
                )
            elif owner != self._owner:
                yield (
                    f"{secret_id} in {settings.gcp.project} belongs to {owner}; this is {self._owner}. Two gateways would "
                    "share its value. If this one was called so, or takes its place, write llm-gateway:owner: "
                    f"{owner_setting(owner, self._args.gateway)}. If not, give it other names: llm-gateway:secrets.prefix."
                )
            elif own_id == SALT_KEY:
                yield from self._wrong_salt(found, version)

    def _wrong_salt(self, found: FoundSecret, adopted: int | None) -> Iterator[str]:
        secret_id, number = self._id(SALT_KEY), found.annotations.get(SALT_VERSION, "")
        if not number.isdecimal():
            yield (
                f"{secret_id} exists, and nothing says which of its versions is the salt. With another one, every "
                f"credential that LiteLLM has stored is lost. Say it, once:\n  {self._annotate(SALT_KEY)}"
            )
        elif adopted and number != str(adopted):
            yield (
                f"llm-gateway:secrets.adopt.saltKey: {adopted}: the salt is version {number} of {secret_id}. With "
                f"another one, every credential that LiteLLM has stored is lost. Write saltKey: {number}."
            )

    def _annotate(self, own_id: str) -> str:
        """The command that makes this stack the owner of a Secret that exists."""
        version = f",{SALT_VERSION}=<version>" if own_id == SALT_KEY else ""
        return (
            f"gcloud secrets update {self._id(own_id)} --project {self._args.settings.gcp.project} "
            f"--update-annotations={OWNER}={self._owner}{version}"
        )

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
            # With the prefix: a secret of another stack, which is only read, may be called the same without it.
            access=self._access(f"{self._id(secret_id)}-reader", secret.secret_id, self._args.reader),
        )

    def _made_elsewhere(self) -> Mapping[str, StoredSecret]:
        """Raises pulumi.RunError where the settings name a version that is not there."""
        project, versions = self._args.settings.gcp.project, defaultdict[str, list[str]](list)
        for reference in sorted(self._args.settings.made_elsewhere):
            secret_id, version = secret_and_version(reference)
            versions[secret_id].append(reference)
            if version != "latest" and not has_version(project, secret_id, version, self):
                raise pulumi.RunError(
                    f"The settings name {reference}, and {project} has no such version: pods that need it would never "
                    f"start. It has: gcloud secrets versions list {secret_id} --project {project}"
                )
        return {
            reference: replace(found, version=secret_and_version(reference)[1])
            for secret_id, references in versions.items()
            for found in [self._existing(secret_id)]
            for reference in references
        }

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
        asked = {"project": self._args.settings.gcp.project, "secretId": secret_id}
        try:
            return await pulumi.runtime.invoke_async(token, asked, pulumi.InvokeOptions(parent=self))
        except Exception as error:  # the SDK raises Exception itself
            raise pulumi.RunError(
                f"The secret {secret_id}, which a setting names (apiKeySecret, secretParams, secretEnvironment, passwordSecret, huggingFaceToken, pullSecret, proxySecret or "
                f"existingVllmApiKey), could not be looked up in {self._args.settings.gcp.project}: pods that need it would never start. "
                f"If there is none, make it: gcloud secrets create {secret_id} --project {self._args.settings.gcp.project} "
                f"--data-file=-. Google's answer: {str(error)[:300]}"
            ) from error

    def _access(
        self, child: str, secret_id: pulumi.Input[str], member: pulumi.Input[str]
    ) -> gcp.secretmanager.SecretIamMember:
        return gcp.secretmanager.SecretIamMember(
            f"{self._name}-{child}",
            project=self.project,
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
