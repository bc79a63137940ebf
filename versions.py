"""Every chart and image version this program deploys, in one place."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Chart:
    """A Helm chart: its name, exact version and upstream (`oci://` prefix or `https://` repository)."""

    name: str
    version: str
    upstream: str


LITELLM_CHART = Chart("litellm-helm", "1.89.2", "oci://ghcr.io/berriai")
CNPG_CHART = Chart("cloudnative-pg", "0.28.3", "oci://ghcr.io/cloudnative-pg/charts")
EXTERNAL_SECRETS_CHART = Chart("external-secrets", "2.6.0", "https://charts.external-secrets.io")
VLLM_CHART = Chart("vllm-stack", "0.1.12", "https://vllm-project.github.io/production-stack")


@dataclass(frozen=True)
class Image:
    """A container image: repository and exact tag."""

    repository: str
    tag: str

    def __str__(self) -> str:
        return f"{self.repository}:{self.tag}"


LITELLM_IMAGE = Image("ghcr.io/berriai/litellm-database", "v1.89.2")
CNPG_IMAGE = Image("ghcr.io/cloudnative-pg/cloudnative-pg", "1.29.1")
POSTGRES_IMAGE = Image("ghcr.io/cloudnative-pg/postgresql", "17.6")
EXTERNAL_SECRETS_IMAGE = Image("ghcr.io/external-secrets/external-secrets", "v2.6.0")
VLLM_IMAGE = Image("vllm/vllm-openai", "v0.23.0")
VLLM_ROUTER_IMAGE = Image("lmcache/lmstack-router", "0.1.9.dev9-g37bafbcf5.d20260107")

CHARTS = (LITELLM_CHART, CNPG_CHART, EXTERNAL_SECRETS_CHART, VLLM_CHART)
IMAGES = (
    LITELLM_IMAGE,
    CNPG_IMAGE,
    POSTGRES_IMAGE,
    EXTERNAL_SECRETS_IMAGE,
    VLLM_IMAGE,
    VLLM_ROUTER_IMAGE,
)
