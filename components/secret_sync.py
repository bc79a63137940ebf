"""Secrets brought from Secret Manager into the cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_kubernetes as kubernetes

from components.gateway_secrets import GatewaySecrets, StoredSecret
from components.sync_gate import SyncGate, SyncGateArgs
from settings.gateway import REDIS_PASSWORD

STORE = "gcp-secret-manager"
LITELLM_SECRET = "litellm-secrets"
DATABASE_SECRET = "litellm-pg-app"
DATABASE_OWNER = "litellm"
VLLM_SECRET = "vllm-api-key"
HUGGING_FACE_SECRET = "hugging-face-tokens"
TENANT_KEYS_SECRET = "litellm-tenant-keys"


@dataclass(frozen=True, kw_only=True)
class SecretSyncArgs:
    """Arguments of SecretSync.

    `litellm_keys` are further keys of LiteLLM's Secret, `hugging_face_tokens` those of vLLM's, each with the id of one of
    the `existing` secrets. ExternalSecrets of `client_namespaces` may use the store, too. `operator_ready` says that the operator's webhook answers; `timeout` is in seconds.
    """

    project: str
    kubeconfig: pulumi.Input[str]
    gateway_namespace: pulumi.Input[str]
    serving_namespace: pulumi.Input[str]
    client_namespaces: Sequence[str]
    secrets: GatewaySecrets
    litellm_keys: Mapping[str, str]
    hugging_face_tokens: Mapping[str, str]
    operator_ready: pulumi.Resource
    timeout: int


@dataclass(frozen=True, kw_only=True)
class SyncedSecret:
    """A Secret in the cluster: `ready` stands for its holding the values of `versions`.

    `versions` names ids and versions in Secret Manager, never values; it changes when one of them is rotated.
    """

    versions: pulumi.Output[str]
    ready: pulumi.Resource


class SecretSync(pulumi.ComponentResource):
    """A ClusterSecretStore on Secret Manager and one ExternalSecret a Secret, each waited for until synced.

    The store names no credentials: the operator's own service account is the IAM member that may read
    (Workload Identity Federation for GKE), so there is no Google service account and no key.
    """

    litellm: SyncedSecret
    database: SyncedSecret
    vllm: SyncedSecret | None
    """None where nothing is self-hosted."""
    serving_ready: list[pulumi.Resource]
    """Each Secret of the serving namespace holds its values."""
    tenant_keys: SyncedSecret | None
    """The virtual keys, each under its name; None where there is none."""

    def __init__(self, name: str, args: SecretSyncArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmgateway:secret_sync:SecretSync", name, None, opts)
        self._name = name
        self._timeout = args.timeout
        self._kubeconfig = args.kubeconfig
        secrets = args.secrets

        self._store = kubernetes.apiextensions.CustomResource(
            f"{name}-store",
            api_version="external-secrets.io/v1",
            kind="ClusterSecretStore",
            metadata=self._awaited(STORE),
            spec={
                "provider": {"gcpsm": {"projectID": args.project}},
                # It reads the master key, too: from any other namespace it is refused.
                "conditions": [
                    {"namespaces": [args.gateway_namespace, args.serving_namespace, *args.client_namespaces]}
                ],
            },
            opts=pulumi.ResourceOptions(
                parent=self, depends_on=[args.operator_ready], custom_timeouts=self._timeouts()
            ),
        )
        litellm = {
            "PROXY_MASTER_KEY": secrets.master_key,
            "LITELLM_SALT_KEY": secrets.salt_key,
            "UPSTREAM_API_KEY": secrets.vllm_api_key,
            REDIS_PASSWORD: secrets.redis_password,
            **{key: secrets.existing[secret_id] for key, secret_id in args.litellm_keys.items()},
        }
        self.litellm = self._external_secret(
            LITELLM_SECRET,
            args.gateway_namespace,
            {key: secret for key, secret in litellm.items() if secret},
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
        self.vllm = (
            self._external_secret(VLLM_SECRET, args.serving_namespace, {"api-key": secrets.vllm_api_key})
            if secrets.vllm_api_key
            else None
        )
        tokens = {alias: secrets.existing[token] for alias, token in args.hugging_face_tokens.items()}
        self.serving_ready = [self.vllm.ready] if self.vllm else []
        if tokens:
            hugging_face = self._external_secret(HUGGING_FACE_SECRET, args.serving_namespace, tokens)
            self.serving_ready.append(hugging_face.ready)
        self.tenant_keys = (
            self._external_secret(
                TENANT_KEYS_SECRET,
                args.gateway_namespace,
                secrets.virtual_keys,
                # Each read is billed, and their versions are pinned: what is asked for changes with the spec alone.
                refresh_interval="1h",
            )
            if secrets.virtual_keys
            else None
        )
        self.register_outputs({})

    def _external_secret(
        self,
        secret_name: str,
        namespace: pulumi.Input[str],
        keys: Mapping[str, StoredSecret],
        template: Mapping[str, object] | None = None,
        refresh_interval: str = "1m",
    ) -> SyncedSecret:
        target: dict[str, object] = {
            "name": secret_name,
            "creationPolicy": "Owner",
            "deletionPolicy": "Retain",
        }
        if template:
            target["template"] = template
        versions = pulumi.Output.all(
            *(pulumi.Output.format("{0}={1}", secret.secret_id, secret.version) for secret in keys.values())
        ).apply(",".join)
        external_secret = kubernetes.apiextensions.CustomResource(
            f"{self._name}-{secret_name}",
            api_version="external-secrets.io/v1",
            kind="ExternalSecret",
            metadata=self._awaited(secret_name, namespace),
            spec={
                "refreshInterval": refresh_interval,
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
        gate = SyncGate(
            f"{self._name}-{secret_name}",
            SyncGateArgs(
                kubeconfig=self._kubeconfig,
                namespace=namespace,
                external_secret=external_secret,
                secret_name=secret_name,
                versions=versions,
                timeout=self._timeout,
            ),
            opts=pulumi.ResourceOptions(parent=self),
        )
        return SyncedSecret(versions=versions, ready=gate.open)

    def _awaited(
        self, name: str, namespace: pulumi.Input[str] | None = None
    ) -> kubernetes.meta.v1.ObjectMetaArgs:
        return kubernetes.meta.v1.ObjectMetaArgs(
            name=name, namespace=namespace, annotations={"pulumi.com/waitFor": "condition=Ready"}
        )

    def _timeouts(self) -> pulumi.CustomTimeouts:
        return pulumi.CustomTimeouts(create=f"{self._timeout}s", update=f"{self._timeout}s")
