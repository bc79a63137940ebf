"""Secrets brought from Secret Manager into the cluster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import pulumi_kubernetes as kubernetes

from components.gateway_secrets import GatewaySecrets, StoredSecret

STORE = "gcp-secret-manager"
LITELLM_SECRET = "litellm-secrets"
DATABASE_SECRET = "litellm-pg-app"
DATABASE_OWNER = "litellm"
VLLM_SECRET = "vllm-api-key"


@dataclass(frozen=True, kw_only=True)
class SecretSyncArgs:
    """Arguments of SecretSync. `operator_ready` says that the operator's webhook answers; `timeout` is in seconds."""

    project: str
    gateway_namespace: pulumi.Input[str]
    serving_namespace: pulumi.Input[str]
    secrets: GatewaySecrets
    operator_ready: pulumi.Resource
    timeout: int


class SecretSync(pulumi.ComponentResource):
    """A ClusterSecretStore on Secret Manager and one ExternalSecret a Secret, each waited for until Ready.

    The store names no credentials: the operator's own service account is the IAM member that may read
    (Workload Identity Federation for GKE), so there is no Google service account and no key.
    """

    litellm: kubernetes.apiextensions.CustomResource
    database: kubernetes.apiextensions.CustomResource
    vllm: kubernetes.apiextensions.CustomResource

    def __init__(self, name: str, args: SecretSyncArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmgateway:secret_sync:SecretSync", name, None, opts)
        self._name = name
        self._timeout = args.timeout
        secrets = args.secrets

        self._store = kubernetes.apiextensions.CustomResource(
            f"{name}-store",
            api_version="external-secrets.io/v1",
            kind="ClusterSecretStore",
            metadata=self._awaited(STORE),
            spec={"provider": {"gcpsm": {"projectID": args.project}}},
            opts=pulumi.ResourceOptions(
                parent=self, depends_on=[args.operator_ready], custom_timeouts=self._timeouts()
            ),
        )
        self.litellm = self._external_secret(
            LITELLM_SECRET,
            args.gateway_namespace,
            {
                "PROXY_MASTER_KEY": secrets.master_key,
                "LITELLM_SALT_KEY": secrets.salt_key,
                "UPSTREAM_API_KEY": secrets.vllm_api_key,
            },
        )
        self.database = self._external_secret(
            DATABASE_SECRET,
            args.gateway_namespace,
            {"password": secrets.database_password},
            template={
                "engineVersion": "v2",
                "type": "kubernetes.io/basic-auth",
                # CloudNativePG reloads the password when a Secret with this label changes.
                "metadata": {"labels": {"cnpg.io/reload": "true"}},
                "data": {"username": DATABASE_OWNER, "password": "{{ .password }}"},
            },
        )
        self.vllm = self._external_secret(
            VLLM_SECRET, args.serving_namespace, {"api-key": secrets.vllm_api_key}
        )
        self.register_outputs({})

    def _external_secret(
        self,
        secret_name: str,
        namespace: pulumi.Input[str],
        keys: Mapping[str, StoredSecret],
        template: Mapping[str, object] | None = None,
    ) -> kubernetes.apiextensions.CustomResource:
        target: dict[str, object] = {
            "name": secret_name,
            "creationPolicy": "Owner",
            "deletionPolicy": "Retain",
        }
        if template:
            target["template"] = template
        return kubernetes.apiextensions.CustomResource(
            f"{self._name}-{secret_name}",
            api_version="external-secrets.io/v1",
            kind="ExternalSecret",
            metadata=self._awaited(secret_name, namespace),
            spec={
                "refreshInterval": "1m",
                "secretStoreRef": {"kind": "ClusterSecretStore", "name": STORE},
                "target": target,
                "data": [
                    {
                        "secretKey": key,
                        "remoteRef": {"key": secret.secret_id, "version": secret.version},
                    }
                    for key, secret in keys.items()
                ],
            },
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=[
                    # A store that is Ready: its webhook and controller took it.
                    self._store,
                    # IAM in force: without it the first read is refused and backed off.
                    *(secret.access for secret in keys.values()),
                ],
                custom_timeouts=self._timeouts(),
            ),
        )

    def _awaited(
        self, name: str, namespace: pulumi.Input[str] | None = None
    ) -> kubernetes.meta.v1.ObjectMetaArgs:
        return kubernetes.meta.v1.ObjectMetaArgs(
            name=name, namespace=namespace, annotations={"pulumi.com/waitFor": "condition=Ready"}
        )

    def _timeouts(self) -> pulumi.CustomTimeouts:
        return pulumi.CustomTimeouts(create=f"{self._timeout}s", update=f"{self._timeout}s")
