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
BARMAN_PLUGIN_CHART = Chart("plugin-barman-cloud", "0.7.0", "oci://ghcr.io/cloudnative-pg/charts")
CERT_MANAGER_CHART = Chart("cert-manager", "v1.21.1", "oci://quay.io/jetstack/charts")
EXTERNAL_SECRETS_CHART = Chart("external-secrets", "2.6.0", "https://charts.external-secrets.io")
VLLM_CHART = Chart("vllm-stack", "0.1.12", "https://vllm-project.github.io/production-stack")


@dataclass(frozen=True)
class Image:
    """A container image: repository, exact tag and, where one is given, digest (`sha256:...`)."""

    repository: str
    tag: str
    digest: str | None = None

    @property
    def registry(self) -> str:
        """The host of its registry; a repository without one is Docker Hub's."""
        host, slash, _ = self.repository.partition("/")
        return host if slash and ("." in host or ":" in host) else "docker.io"

    @property
    def path(self) -> str:
        """The repository without its host."""
        return self.repository.removeprefix(f"{self.registry}/")

    @property
    def pinned_tag(self) -> str:
        """What stands behind the colon; charts that join `repository` and `tag` take it as their tag."""
        return f"{self.tag}@{self.digest}" if self.digest else self.tag

    def __str__(self) -> str:
        return f"{self.repository}:{self.pinned_tag}"


LITELLM_IMAGE = Image("ghcr.io/berriai/litellm-database", "v1.89.2")
CNPG_IMAGE = Image("ghcr.io/cloudnative-pg/cloudnative-pg", "1.29.1")
POSTGRES_IMAGE = Image("ghcr.io/cloudnative-pg/postgresql", "17.6")
BARMAN_PLUGIN_IMAGE = Image("ghcr.io/cloudnative-pg/plugin-barman-cloud", "v0.13.0")
BARMAN_SIDECAR_IMAGE = Image("ghcr.io/cloudnative-pg/plugin-barman-cloud-sidecar", "v0.13.0")
CERT_MANAGER_IMAGE = Image("quay.io/jetstack/cert-manager-controller", "v1.21.1")
CERT_MANAGER_WEBHOOK_IMAGE = Image("quay.io/jetstack/cert-manager-webhook", "v1.21.1")
CERT_MANAGER_CAINJECTOR_IMAGE = Image("quay.io/jetstack/cert-manager-cainjector", "v1.21.1")
CERT_MANAGER_ACMESOLVER_IMAGE = Image("quay.io/jetstack/cert-manager-acmesolver", "v1.21.1")
EXTERNAL_SECRETS_IMAGE = Image("ghcr.io/external-secrets/external-secrets", "v2.6.0")
CLOUD_SQL_PROXY_IMAGE = Image("gcr.io/cloud-sql-connectors/cloud-sql-proxy", "2.25.0")
VALKEY_IMAGE = Image("valkey/valkey", "8.1.9")
VLLM_IMAGE = Image("vllm/vllm-openai", "v0.23.0")
VLLM_ROUTER_IMAGE = Image("lmcache/lmstack-router", "0.1.9.dev9-g37bafbcf5.d20260107")

CHARTS = (
    LITELLM_CHART,
    CNPG_CHART,
    BARMAN_PLUGIN_CHART,
    CERT_MANAGER_CHART,
    EXTERNAL_SECRETS_CHART,
    VLLM_CHART,
)
IMAGES = (
    LITELLM_IMAGE,
    CNPG_IMAGE,
    POSTGRES_IMAGE,
    BARMAN_PLUGIN_IMAGE,
    BARMAN_SIDECAR_IMAGE,
    CERT_MANAGER_IMAGE,
    CERT_MANAGER_WEBHOOK_IMAGE,
    CERT_MANAGER_CAINJECTOR_IMAGE,
    CERT_MANAGER_ACMESOLVER_IMAGE,
    EXTERNAL_SECRETS_IMAGE,
    CLOUD_SQL_PROXY_IMAGE,
    VALKEY_IMAGE,
    VLLM_IMAGE,
    VLLM_ROUTER_IMAGE,
)
