"""The secrets in Secret Manager."""

from __future__ import annotations

from settings.base import Location, SecretId, Section, setting


class Secrets(Section):
    """The secrets in Secret Manager."""

    replica_locations: list[Location] = setting(
        default_factory=list,
        about="Regions Secret Manager keeps the secrets in; empty means automatic. Fixed once made.",
        otherwise="Secret Manager would refuse the secrets",
        write="replicaLocations: [europe-west4, europe-west1]",
    )
    master_key_generation: int = setting(
        1,
        ge=1,
        about="Raise by one to rotate LiteLLM's master key.",
        otherwise="no new master key would be made",
        write="masterKeyGeneration: 2",
    )
    database_password_generation: int = setting(
        1,
        ge=1,
        about="Raise by one to rotate the database password.",
        otherwise="no new password would be made",
        write="databasePasswordGeneration: 2",
    )
    existing_vllm_api_key: SecretId | None = setting(
        None,
        about="Id of an existing Secret Manager secret to use as vLLM's API key; unset means one is made.",
        otherwise="the vLLM key could not be read and vLLM would not start",
        write="existingVllmApiKey: vllm-api-key",
    )
