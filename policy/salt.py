"""The salt that encrypts every credential LiteLLM stores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from policy.base import RANDOM_PASSWORD, SECRET, SECRET_VERSION, Resource, resource_policy, stack_policy
from settings.secrets import SALT_KEY

GATEWAY = "llmgateway:litellm:LiteLLM"


def is_salt(resource: Resource) -> bool:
    """Whether a resource is the salt's random value, its Secret or its SecretVersion."""
    return resource.type in (RANDOM_PASSWORD, SECRET, SECRET_VERSION) and (
        resource.name.endswith(SALT_KEY) or resource.props.get("secretId") == SALT_KEY
    )


def _write_once(salt: Resource) -> Iterator[str]:
    if not salt.protect:
        yield f"{salt.name} is not protected: one wrong change deletes it."
    if "*" not in salt.ignore_changes:
        yield f"{salt.name} does not ignore all changes: one of them could replace the salt."


def _complete(resources: Sequence[Resource]) -> Iterator[tuple[Resource, str]]:
    salts = {resource.type: resource for resource in resources if is_salt(resource)}
    gateway = next(resource for resource in resources if resource.type == GATEWAY)
    for missing in {SECRET, SECRET_VERSION} - salts.keys():
        yield gateway, f"LiteLLM runs without a salt of its own: there is no {missing} for {SALT_KEY}."
    if RANDOM_PASSWORD not in salts:
        return  # an adopted salt keeps the settings it was made with
    for kind in salts.keys() & {SECRET, SECRET_VERSION}:
        if salts[kind].props.get("deletionPolicy") != "ABANDON":
            yield salts[kind], f"{salts[kind].name} would be deleted at Google with its resource."
    if SECRET in salts and salts[SECRET].props.get("deletionProtection") is not True:
        yield salts[SECRET], f"{salts[SECRET].name} can be deleted at Google."


POLICIES = [
    resource_policy(
        "salt-is-write-once",
        "The salt's random value, Secret and SecretVersion are protected and ignore every change: with another salt, "
        "LiteLLM can read none of the credentials it has stored.",
        '`protect=True, ignore_changes=["*"], retain_on_delete=True` on each of the three.',
        is_salt,
        _write_once,
    ),
    stack_policy(
        "salt-is-kept",
        "LiteLLM's salt is in Secret Manager, and Google keeps it when its resource is deleted: without a salt, "
        "LiteLLM encrypts with the master key, which rotates.",
        f'a Secret and a SecretVersion for `{SALT_KEY}`, both with `deletion_policy="ABANDON"`, the Secret also with '
        "`deletion_protection=True`; or the version of an existing one as `secrets.adopt.saltKey`.",
        lambda resource: resource.type == GATEWAY,
        _complete,
    ),
]
