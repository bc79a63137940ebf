"""The secrets in Secret Manager."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

from settings.base import (
    DnsSubdomain,
    Region,
    SecretReference,
    Section,
    Violation,
    repeated,
    rule,
    section,
    setting,
)

MASTER_KEY = "litellm-master-key"
SALT_KEY = "litellm-salt-key"
DATABASE_PASSWORD = "litellm-db-password"
VLLM_API_KEY = "vllm-api-key"
REDIS_PASSWORD = "litellm-redis-password"
"""Ids of the gateway's own secrets in Secret Manager."""
SALT_COPY = "salt-copy"
"""The end of the logical name of the salt's second copy."""


def variable(secret_id: str) -> str:
    """Environment variable of the proxy with the value of a secret made elsewhere; each secret has its own."""
    name = re.sub(r"\W", "_", secret_id.upper())
    if re.search(r"[^-a-z0-9]", secret_id):  # a-key and A_KEY would be one
        name += f"_{hashlib.sha256(secret_id.encode()).hexdigest()[:8].upper()}"
    return f"SECRET_{name}"


class Adopt(Section):
    """Secrets that exist in Secret Manager already, each by the version whose value is kept."""

    otherwise = "the import would fail, or an old value would come back"

    master_key: int | None = setting(
        None,
        ge=1,
        about="Version of the existing litellm-master-key to keep; unset means one is made.",
        write="masterKey: 1",
    )
    salt_key: int | None = setting(
        None,
        ge=1,
        about="Version of the existing litellm-salt-key, as its annotation llm-gateway-salt-version says; "
        "unset means that version, or a new salt where there is none.",
        otherwise="every stored credential would be unreadable",
        write="saltKey: 1",
    )
    database_password: int | None = setting(
        None,
        ge=1,
        about="Version of the existing litellm-db-password to keep, a value that needs no escape in a URL; "
        "unset means one is made.",
        write="databasePassword: 1",
    )
    vllm_api_key: int | None = setting(
        None,
        ge=1,
        about="Version of the existing vllm-api-key to keep; unset means one is made.",
        write="vllmApiKey: 1",
    )
    redis_password: int | None = setting(
        None,
        ge=1,
        about="Version of the existing litellm-redis-password to keep; unset means one is made.",
        write="redisPassword: 1",
    )


class Secrets(Section):
    """The secrets in Secret Manager."""

    otherwise = "no new value would be made"

    prefix: str = setting(
        "",
        pattern=r"^[A-Za-z0-9_-]{0,60}$",
        about="Put before the id of every secret that this stack makes or adopts, for a second stack in one project. "
        "Cannot be changed later.",
        otherwise="two stacks would share a master key and a salt",
        write="prefix: eu-",
    )
    store: DnsSubdomain = setting(
        "gcp-secret-manager",
        about="Name of the ClusterSecretStore, of which a cluster has one of each name: another one for a second stack there. "
        "Cannot be changed later.",
        otherwise="the API server would refuse the store, or another stack's would be in its place",
        write="store: gcp-secret-manager-eu",
    )
    salt_copy: str | None = setting(
        None,
        pattern=r"^projects/[a-z][a-z0-9-]{4,28}[a-z0-9]/secrets/[A-Za-z0-9_-]{1,255}$",
        about="An existing secret of another project, which gets a second copy of the salt. Unset means no copy: then "
        "whoever may delete the salt can lose every credential that LiteLLM has stored. The policies ask for it in "
        "production.",
        otherwise="the salt would have no second copy",
        write="saltCopy: projects/example-llm-vault/secrets/llm-gateway-prod-salt",
    )
    replica_locations: list[Region] = setting(
        default_factory=list,
        about="Regions Secret Manager keeps the secrets in; empty means automatic. Cannot be changed later.",
        otherwise="Secret Manager would refuse the secrets",
        write="replicaLocations: [europe-west4, europe-west1]",
    )
    master_key_generation: int = setting(
        1, ge=1, about="Raise by one to rotate LiteLLM's master key.", write="masterKeyGeneration: 2"
    )
    database_password_generation: int = setting(
        1, ge=1, about="Raise by one to rotate the database password.", write="databasePasswordGeneration: 2"
    )
    vllm_api_key_generation: int = setting(
        1, ge=1, about="Raise by one to rotate vLLM's API key.", write="vllmApiKeyGeneration: 2"
    )
    existing_vllm_api_key: SecretReference | None = setting(
        None,
        about="Id of an existing Secret Manager secret to use as vLLM's API key, or `<id>/versions/<number>`; unset means one is made.",
        otherwise="the vLLM key could not be read and vLLM would not start",
        write="existingVllmApiKey: vllm-api-key",
    )
    adopt: Adopt = section(Adopt)

    @rule
    def rotated_or_adopted(self) -> Iterator[Violation]:
        for key, adopted, generation in (
            ("masterKey", self.adopt.master_key, self.master_key_generation),
            ("databasePassword", self.adopt.database_password, self.database_password_generation),
            ("vllmApiKey", self.adopt.vllm_api_key, self.vllm_api_key_generation),
        ):
            if adopted and generation > 1:
                yield Violation(
                    f"adopt.{key}",
                    f"version {adopted} is kept, and {key}Generation: {generation} asks for a new value",
                    "the raised generation would rotate nothing",
                    f"only one of them: adopt.{key} keeps the value, {key}Generation replaces it",
                )

    @rule
    def existing_key_is_not_managed(self) -> Iterator[Violation]:
        if self.existing_vllm_api_key and (self.adopt.vllm_api_key or self.vllm_api_key_generation > 1):
            yield Violation(
                "existingVllmApiKey",
                f"{self.existing_vllm_api_key} is only read, but vLLM's key is to be adopted or rotated",
                "the key would be neither adopted nor rotated",
                "existingVllmApiKey alone, and rotate the key where it is managed; or leave existingVllmApiKey out",
            )

    @rule
    def replicas_differ(self) -> Iterator[Violation]:
        for region in repeated(self.replica_locations):
            yield Violation(
                "replicaLocations",
                f"{region} is there twice",
                "Secret Manager would refuse the secrets",
                "each region once",
            )
