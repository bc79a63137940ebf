"""Secrets brought from Secret Manager into the cluster."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import quote

import pulumi
import pulumi_kubernetes as kubernetes

from components.cluster import ClusterHandle
from components.gateway_secrets import GatewaySecrets, StoredSecret
from components.salt_gate import salt_of_database
from components.sync_gate import secret_synced
from settings import Settings
from settings.egress import PROXY_LOGIN
from settings.litellm import PROXY_MASTER_KEY, REDIS_PASSWORD, UPSTREAM_API_KEY

# What a person put into Secret Manager comes as an editor or a shell wrote it: a line end at its end (LiteLLM would
# send it in a header, and Postgres take it as part of the password), a byte order mark before it, quotes around it.
TRIMMED = '(index . "{key}" | trimPrefix "\\ufeff" | trim)'
ONE_WORD = "^[!#-&(-~]+$"
"""A key: printable ASCII without spaces and quotes, what every HTTP header takes."""
IN_A_URL = "^[A-Za-z0-9._~-]+$"
"""LiteLLM's chart writes the database's password into a URL as it is."""
LOGIN = "^[A-Za-z0-9._~%!*+,;=&-]+:[A-Za-z0-9._~%!*+,;=&-]+$"
"""User name and password, as a URL has them before the @."""
ANYTHING = "(?s)."
"""The password of a Redis, which may be somebody else's, and a file such as a Google service account's: any text that is not empty."""
DATABASE_OWNER = "litellm"
IMAGE_PULL = "image-pull"
"""The Secret that logs in to the registries of the images, one per namespace."""


def reader_account(cluster: ClusterHandle) -> pulumi.Output[str]:
    """The Kubernetes service account that the store reads as, in the operator's namespace or, where that is somebody else's,
    the gateway's.

    It is named after the cluster, because accounts of one name in one namespace are one IAM member for all clusters of
    a project: a stack on another cluster could read these secrets, and its end would take the access to a secret that
    both use (https://cloud.google.com/kubernetes-engine/docs/concepts/workload-identity#identity_sameness).
    """
    return pulumi.Output.format("llm-gateway-secrets-{0}-{1}", cluster.location, cluster.name)


@dataclass(frozen=True, kw_only=True)
class SecretSyncArgs:
    """Arguments of SecretSync.

    `gateway` and `serving` are the namespaces that the Secrets are brought into, `operators` by part those of the operators
    that this stack installs after its secrets, whose pods pull images. `reader` is that of the account which reads them.
    `operator_ready` says that the operator's webhook answers.
    """

    settings: Settings
    cluster: ClusterHandle
    gateway: pulumi.Input[str]
    serving: pulumi.Input[str]
    operators: Mapping[str, pulumi.Input[str]]
    reader: pulumi.Input[str]
    secrets: GatewaySecrets
    operator_ready: pulumi.Resource


@dataclass(frozen=True, kw_only=True)
class SyncedSecret:
    """A Secret in the cluster: once `ready` is there, it holds the values of `versions`.

    `versions` names ids and versions in Secret Manager, never values; it changes when one of them is rotated.
    """

    name: str
    versions: pulumi.Output[str]
    ready: pulumi.Resource

    @property
    def annotation(self) -> dict[str, pulumi.Output[str]]:
        """For a pod that reads the Secret when it starts: other versions restart it."""
        return {f"llm-gateway/{self.name}": self.versions}


class SecretSync(pulumi.ComponentResource):
    """A ClusterSecretStore on Secret Manager and one ExternalSecret per Secret, each with a gate.

    A gate is a ConfigMap that is only made, or changed, once its Secret is synced.

    The store reads as a Kubernetes service account of its own, which is the IAM member (Workload Identity
    Federation for GKE): there is no Google service account and no key. The operator's own account may read
    nothing, because a SecretStore without credentials, which External Secrets lets everyone with the role
    `edit` make in their namespace, reads as that one.
    """

    litellm: SyncedSecret
    database: SyncedSecret
    vllm: SyncedSecret | None
    """None where nothing is self-hosted."""
    engines: SyncedSecret | None
    """What engines have in their environments, each under its variable's name; None where there is none."""
    hugging_face: SyncedSecret | None
    """The tokens, each under its model's name among vLLM's objects; None where there is none."""
    tenant_keys: SyncedSecret | None
    """The virtual keys, each under its name; None where there is none."""
    image_pull: Mapping[str, SyncedSecret]
    """What logs in to the images' registries, by part; empty where nodes need nothing for it."""

    def __init__(self, name: str, args: SecretSyncArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmgateway:secret_sync:SecretSync", name, None, opts)
        self._name = name
        self._cluster = args.cluster
        self._store_name = args.settings.secrets.store
        self._timeout = args.settings.timeouts.secret_sync
        settings, secrets = args.settings, args.secrets

        reader = kubernetes.core.v1.ServiceAccount(
            f"{name}-reader",
            metadata=kubernetes.meta.v1.ObjectMetaArgs(
                name=reader_account(args.cluster), namespace=args.reader
            ),
            automount_service_account_token=False,
            opts=pulumi.ResourceOptions(parent=self),
        )
        same_salt = salt_of_database(
            f"{name}-same-salt", args.cluster, settings.namespaces.gateway, secrets.salt
        )
        self._same_salt = pulumi.ResourceHookBinding(before_create=[same_salt], before_update=[same_salt])
        self._store = kubernetes.apiextensions.CustomResource(
            f"{name}-store",
            api_version="external-secrets.io/v1",
            kind="ClusterSecretStore",
            metadata=kubernetes.meta.v1.ObjectMetaArgs(
                name=settings.secrets.store, annotations={"pulumi.com/waitFor": "condition=Ready"}
            ),
            spec={
                "provider": {
                    "gcpsm": {
                        "projectID": secrets.project,
                        "auth": {
                            "workloadIdentity": {
                                "clusterProjectID": args.cluster.project,
                                "clusterLocation": args.cluster.location,
                                "clusterName": args.cluster.name,
                                "serviceAccountRef": {
                                    "name": reader.metadata["name"],
                                    "namespace": args.reader,
                                },
                            }
                        },
                    }
                },
                # It reads the master key, too: from any other namespace it is refused. Operators that need it for their images
                # may read every Secret of the cluster anyway.
                "conditions": [
                    {
                        "namespaces": [
                            args.gateway,
                            args.serving,
                            *(args.operators.values() if settings.images.pull_secret else ()),
                        ]
                    }
                ],
            },
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=[args.operator_ready],
                custom_timeouts=pulumi.CustomTimeouts(create=f"{self._timeout}s", update=f"{self._timeout}s"),
                hooks=self._same_salt,
            ),
        )
        litellm = {
            PROXY_MASTER_KEY: secrets.master_key,
            "LITELLM_SALT_KEY": secrets.salt_key,
            UPSTREAM_API_KEY: secrets.vllm_api_key,
            REDIS_PASSWORD: secrets.redis_password,
            **{key: secrets.existing[secret_id] for key, secret_id in settings.litellm_keys.items()},
        }
        self.litellm = self._external_secret(
            "litellm-secrets",
            args.gateway,
            {key: secret for key, secret in litellm.items() if secret},
            texts=settings.litellm_texts,
        )
        existing = settings.postgres.existing
        # LiteLLM's chart writes the user into a URL as it is, and an IAM user is an e-mail address. CloudNativePG reloads the password when a Secret with this label changes.
        reloads = {} if existing else {"metadata": {"labels": {"cnpg.io/reload": "true"}}}
        self.database = self._external_secret(
            "litellm-pg-app",
            args.gateway,
            {"password": secrets.database_password},
            form=IN_A_URL,
            template={
                "type": "kubernetes.io/basic-auth",
                **reloads,
                "data": {"username": quote(existing.login) if existing else DATABASE_OWNER},
            },
        )
        self.vllm = (
            self._external_secret("vllm-api-key", args.serving, {"api-key": secrets.vllm_api_key})
            if secrets.vllm_api_key
            else None
        )
        tokens = {alias: secrets.existing[token] for alias, token in settings.hugging_face_tokens.items()}
        self.hugging_face = (
            self._external_secret("hugging-face-tokens", args.serving, tokens) if tokens else None
        )
        environment = {key: secrets.existing[secret] for key, secret in settings.engine_secrets.items()}
        self.engines = (
            self._external_secret(
                "vllm-environment", args.serving, environment, texts=environment.keys() - {PROXY_LOGIN}
            )
            if environment
            else None
        )
        self.tenant_keys = (
            self._external_secret(
                "litellm-tenant-keys",
                args.gateway,
                secrets.virtual_keys,
                # Each read is billed, and their versions are pinned: what is asked for changes with the spec
                # alone.
                refresh_interval="1h",
            )
            if secrets.virtual_keys
            else None
        )
        self.image_pull = {}
        if login := settings.images.pull_secret:
            places = {
                "gateway": args.gateway,
                **({"serving": args.serving} if secrets.vllm_api_key else {}),
                **args.operators,
            }
            kind = "kubernetes.io/dockerconfigjson"
            self.image_pull = {
                part: self._external_secret(
                    IMAGE_PULL,
                    namespace,
                    {".dockerconfigjson": secrets.existing[login]},
                    template={"type": kind},
                    texts=[".dockerconfigjson"],
                    logical=f"{IMAGE_PULL}-{part}",
                )
                for part, namespace in places.items()
            }
        self.register_outputs({})

    def _external_secret(
        self,
        secret_name: str,
        namespace: pulumi.Input[str],
        keys: Mapping[str, StoredSecret],
        template: Mapping[str, Any] | None = None,
        form: str = ONE_WORD,
        refresh_interval: str = "1m",
        texts: Collection[str] = (),
        logical: str | None = None,
    ) -> SyncedSecret:
        child = f"{self._name}-{logical or secret_name}"
        target: dict[str, object] = {
            "name": secret_name,
            "creationPolicy": "Owner",
            "deletionPolicy": "Retain",
        }
        shaped = {
            key: pulumi.Output.from_input(secret.secret_id).apply(
                partial(_shaped, key, ANYTHING if key in texts else _form(key, form))
            )
            for key, secret in keys.items()
        }
        data = {**(template or {}).get("data", {}), **shaped}
        target["template"] = {"engineVersion": "v2", **(template or {}), "data": data}
        versions = pulumi.Output.all(
            *(pulumi.Output.format("{0}={1}", secret.secret_id, secret.version) for secret in keys.values())
        ).apply(",".join)
        external_secret = kubernetes.apiextensions.CustomResource(
            child,
            api_version="external-secrets.io/v1",
            kind="ExternalSecret",
            # No wait for its condition: the gate below waits, and says what the operator said.
            metadata=kubernetes.meta.v1.ObjectMetaArgs(name=secret_name, namespace=namespace),
            spec={
                "refreshInterval": refresh_interval,
                "secretStoreRef": {"kind": "ClusterSecretStore", "name": self._store_name},
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
                hooks=self._same_salt,
            ),
        )
        hook = secret_synced(f"{child}-synced", self._cluster, namespace, secret_name, self._timeout)
        gate = kubernetes.core.v1.ConfigMap(
            f"{child}-synced",
            metadata=kubernetes.meta.v1.ObjectMetaArgs(
                name=f"{secret_name}-synced",
                namespace=namespace,
                # An annotation, not data: changed data would replace the ConfigMap.
                annotations={"llm-gateway/secret-versions": versions},
            ),
            data={"proven-by": f"syncedResourceVersion of ExternalSecret {secret_name}"},
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=[external_secret],
                hooks=pulumi.ResourceHookBinding(before_create=[hook], before_update=[hook]),
            ),
        )
        return SyncedSecret(name=secret_name, versions=versions, ready=gate)


def _form(key: str, form: str) -> str | None:
    """The form that the value of a key must have; None where it is taken to the byte."""
    # Credentials that LiteLLM has stored were encrypted with the salt as it is, a line end included.
    return {"LITELLM_SALT_KEY": None, REDIS_PASSWORD: ANYTHING, PROXY_LOGIN: LOGIN}.get(key, form)


def _shaped(key: str, form: str | None, secret_id: str) -> str:
    """A template of External Secrets' engine v2: the trimmed value, or a failed sync that says what is wrong."""
    if form is None:
        return f'{{{{ index . "{key}" }}}}'
    value = TRIMMED.format(key=key)
    wrong = (
        f"secret {secret_id}: the value is empty, or has quotes, spaces, line ends or other characters that its "
        f"reader does not take (wanted: {form}). Add a version with the bare value: "
        f"printf %s VALUE | gcloud secrets versions add {secret_id} --data-file=-"
    )
    return f'{{{{ if regexMatch "{form}" {value} }}}}{{{{ {value} }}}}{{{{ else }}}}{{{{ fail "{wrong}" }}}}{{{{ end }}}}'
