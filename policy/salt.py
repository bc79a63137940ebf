"""The salt that encrypts every credential LiteLLM stores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from policy.base import (
    SECRET,
    SECRET_VERSION,
    UNKNOWN,
    Resource,
    resource_policy,
    stack_policy,
)
from settings.secrets import SALT_COPY, SALT_KEY

_LITELLM = "llmgateway:litellm:LiteLLM"
_SECRETS = "llmgateway:gateway_secrets:GatewaySecrets"
_RANDOM = "random:"
_EXTERNAL_SECRET = "kubernetes:external-secrets.io/v1:ExternalSecret"
_VARIABLE = "LITELLM_SALT_KEY"


def is_salt(resource: Resource) -> bool:
    """Whether a resource is the salt's Secret or SecretVersion, or a random value for it."""
    return (resource.type in (SECRET, SECRET_VERSION) or resource.type.startswith(_RANDOM)) and (
        resource.name.endswith(SALT_KEY) or str(resource.props.get("secretId", "")).endswith(SALT_KEY)
    )


def _write_once(salt: Resource) -> Iterator[str]:
    if not salt.protect:
        yield f"{salt.name} is not protected: one wrong change deletes it."
    if "*" not in salt.ignore_changes:
        yield f"{salt.name} does not ignore all changes: one of them could replace the salt."
    if salt.type.startswith(_RANDOM):
        yield f"{salt.name} is made anew once it is gone from the state, and so would be the salt."


def _complete(resources: Sequence[Resource]) -> Iterator[tuple[Resource, str]]:
    salts = {resource.type: resource for resource in resources if is_salt(resource)}
    gateway = next(filter(_stores_credentials, resources))
    for missing in {SECRET, SECRET_VERSION} - salts.keys():
        yield gateway, f"LiteLLM runs without a salt of its own: there is no {missing} for {SALT_KEY}."
    for kind in salts.keys() & {SECRET, SECRET_VERSION}:
        if not _is_new(salts[kind]):
            continue  # one that exists keeps the settings it was made with
        if salts[kind].props.get("deletionPolicy") != "ABANDON":
            yield salts[kind], f"{salts[kind].name} would be deleted at Google with its resource."
        if kind == SECRET and salts[kind].props.get("deletionProtection") is not True:
            yield salts[kind], f"{salts[kind].name} can be deleted by Pulumi, once its protection is gone."
        if kind == SECRET and not salts[kind].props.get("versionDestroyTtl"):
            yield salts[kind], f"A version of {salts[kind].name} that is destroyed at Google is gone at once."


def _copied(resources: Sequence[Resource]) -> Iterator[tuple[Resource, str]]:
    copies = (r for r in resources if r.type == SECRET_VERSION and r.name.endswith(SALT_COPY))
    if not any(copies):
        yield (
            next(filter(_stores_credentials, resources)),
            "There is no second copy of the salt: whoever may delete its Secret at Google can have every credential "
            "that LiteLLM has stored lost, at once and for good.",
        )


def _stores_credentials(resource: Resource) -> bool:
    return resource.type == _LITELLM


def _is_new(salt: Resource) -> bool:
    """Whether a preview would make it: its name at Google is not known yet."""
    return salt.props.get("name", UNKNOWN) is UNKNOWN


def one_salt(resources: Sequence[Resource]) -> Iterator[tuple[Resource, str]]:
    """What of a stack's resources would be a second salt, or keeps pods from the first."""
    salts = {resource.type: resource for resource in resources if is_salt(resource)}
    secret, version = salts.get(SECRET), salts.get(SECRET_VERSION)
    if secret is None or version is None:
        return  # salt-is-kept says so
    if version.props.get("enabled") is False:
        yield version, f"{version.name} is disabled at Google: pods that start anew cannot read it."
    if _is_new(version):
        if not _is_new(secret) and not _first(resources):
            yield version, f"{version.name} would be a second salt: its Secret exists."
        return
    for reader in resources:
        spec = reader.props.get("spec") if reader.type == _EXTERNAL_SECRET else None
        for entry in (spec.get("data") if isinstance(spec, dict) else None) or []:
            remote = entry.get("remoteRef") if entry.get("secretKey") == _VARIABLE else None
            if remote and remote.get("version") not in (UNKNOWN, version.props.get("version")):
                yield reader, f"{reader.name} gives pods version {remote.get('version')} as salt."


def _first(resources: Sequence[Resource]) -> bool:
    """Whether the program says that it looked, and that the salt's Secret has no version yet."""
    return any(
        resource.type == _SECRETS and resource.props.get("firstSalt") is True for resource in resources
    )


POLICIES = [
    resource_policy(
        "salt-is-write-once",
        "The salt's Secret and SecretVersion are protected and ignore every change, and no random resource makes its "
        "value: with another salt, LiteLLM can read none of the credentials it has stored.",
        '`protect=True, ignore_changes=["*"], retain_on_delete=True` on both, and a value that the program makes only '
        "where Secret Manager has none.",
        is_salt,
        _write_once,
    ),
    stack_policy(
        "salt-is-kept",
        "LiteLLM's salt is in Secret Manager, stays there when its resource is deleted, and a version that is destroyed "
        "there can be brought back for a while: without a salt, LiteLLM encrypts with the master key, which rotates.",
        f'a Secret and a SecretVersion for `{SALT_KEY}`, both with `deletion_policy="ABANDON"`, the Secret also with '
        "`deletion_protection=True` and a `version_destroy_ttl`.",
        _stores_credentials,
        _complete,
    ),
    stack_policy(
        "salt-is-one",
        "There is one salt value, enabled, and pods read no other: no version is made beside a Secret that exists.",
        f"the SecretVersion that exists, imported, and its number in the ExternalSecret's entry `{_VARIABLE}`.",
        lambda resource: resource.type == SECRET_VERSION and is_salt(resource),
        one_salt,
    ),
    stack_policy(
        "production-salt-has-a-copy",
        "In production the salt has a second copy, in a project where whoever deletes the first has no rights: nothing at "
        "Google stops the deletion of a Secret, or undoes it.",
        "`secrets.saltCopy: projects/<another project>/secrets/<id>` in the settings.",
        _stores_credentials,
        _copied,
        production=True,
    ),
]
