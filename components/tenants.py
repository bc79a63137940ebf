"""Teams and virtual keys in LiteLLM, brought there by a Job inside the cluster."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes

from components.image_source import ImageSource
from components.litellm import LiteLLM
from components.pod_security import RESTRICTED
from components.secret_sync import SyncedSecret
from components.workload import named
from settings import tenants, wildcards
from settings.litellm import PROXY_MASTER_KEY
from settings.tenants import MANAGED_BY
from versions import LITELLM_IMAGE

RECONCILER = named("litellm-tenants")
"""Other labels than the proxy's, whose Service would lead to the Job's pod."""
SCRIPT = Path(__file__).with_name("reconciler") / "reconcile.py"
USER = 65534
REFUSED = 2
"""The script's exit code where trying again would not help."""
_FILES = "/etc/llm-gateway"
_KEYS = "/run/llm-gateway/keys"
_MASTER_KEY = "/run/llm-gateway/master"


@dataclass(frozen=True, kw_only=True)
class TenantsArgs:
    """Arguments of Tenants.

    `proxy` is the gateway that they are brought into. `secret` holds its master key under PROXY_MASTER_KEY,
    `key_values` the value of each virtual key under its name; None where no key is declared. `timeout` is in
    seconds. `owner` is the mark on what this stack makes in LiteLLM.
    """

    namespace: pulumi.Input[str]
    proxy: LiteLLM
    owner: str
    teams: Sequence[tenants.Team]
    virtual_keys: Sequence[tenants.VirtualKey]
    secret: SyncedSecret
    key_values: SyncedSecret | None
    images: ImageSource
    timeout: int


class Team(pulumi.ComponentResource):
    """A team as it is declared: it makes nothing, and shows a change in a preview under the team's name."""

    def __init__(self, name: str, team: tenants.Team, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmgateway:tenants:Team", name, _shown(team), opts)
        self.register_outputs({})


class VirtualKey(pulumi.ComponentResource):
    """A virtual key as it is declared: makes nothing, and shows a change in a preview under the key's name."""

    def __init__(
        self, name: str, key: tenants.VirtualKey, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("llmgateway:tenants:VirtualKey", name, _shown(key), opts)
        self.register_outputs({})


class Tenants(pulumi.ComponentResource):
    """What is declared, as a ConfigMap, and the Job that brings LiteLLM to it.

    A ConfigMap's data and a Job's template cannot change in place: what is declared anew is a new ConfigMap,
    which the Job names, and another version of a key is another annotation of its template, so either is a
    new run. The Job stays when it is done (no ttl): it is the record of the last run.
    """

    def __init__(self, name: str, args: TenantsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmgateway:tenants:Tenants", name, None, opts)
        for team in args.teams:
            Team(f"{name}-team-{team.name}", team, pulumi.ResourceOptions(parent=self))
        for key in args.virtual_keys:
            VirtualKey(f"{name}-key-{key.name}", key, pulumi.ResourceOptions(parent=self))

        declared = kubernetes.core.v1.ConfigMap(
            f"{name}-declared",
            metadata=kubernetes.meta.v1.ObjectMetaArgs(namespace=args.namespace, labels=RECONCILER.labels),
            data={
                "declared.json": json.dumps(declaration(args), indent=1) + "\n",
                SCRIPT.name: SCRIPT.read_text(),
            },
            opts=pulumi.ResourceOptions(parent=self),
        )
        kubernetes.batch.v1.Job(
            f"{name}-reconcile",
            # No fixed name: after a lost state the Job of before is there, and takes no other template.
            metadata=kubernetes.meta.v1.ObjectMetaArgs(namespace=args.namespace, labels=RECONCILER.labels),
            spec=kubernetes.batch.v1.JobSpecArgs(
                backoff_limit=3,
                active_deadline_seconds=args.timeout,
                pod_failure_policy=kubernetes.batch.v1.PodFailurePolicyArgs(
                    rules=[
                        kubernetes.batch.v1.PodFailurePolicyRuleArgs(
                            action="FailJob",
                            on_exit_codes=kubernetes.batch.v1.PodFailurePolicyOnExitCodesRequirementArgs(
                                container_name="reconcile", operator="In", values=[REFUSED]
                            ),
                        )
                    ]
                ),
                template=kubernetes.core.v1.PodTemplateSpecArgs(
                    metadata=kubernetes.meta.v1.ObjectMetaArgs(
                        labels=RECONCILER.labels,
                        annotations=args.key_values.annotation if args.key_values else None,
                    ),
                    spec=_pod(args, declared.metadata.name),
                ),
            ),
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=[args.proxy.release, *([args.key_values.ready] if args.key_values else [])],
                custom_timeouts=pulumi.CustomTimeouts(create=f"{args.timeout}s", update=f"{args.timeout}s"),
                # Two at once would each undo what the other's declaration asks for.
                delete_before_replace=True,
            ),
        )
        self.register_outputs({})


def declaration(args: TenantsArgs) -> dict[str, Any]:
    """What the Job reads: fields of the admin API of LiteLLM 1.89.2 (proxy/_types.py) and its own; no key's value."""
    return {
        MANAGED_BY: args.owner,
        "budgets": [
            {"budget_id": _soft(key, args.owner), "soft_budget": key.soft_budget}
            for key in args.virtual_keys
            if key.soft_budget
        ],
        "teams": [{"team_alias": team.known_as, **_of_both(team)} for team in args.teams],
        "keys": [
            {
                "key_alias": key.known_as,
                "team": key.team,
                **({"budget_id": _soft(key, args.owner)} if key.soft_budget else {}),
                **_of_both(key),
                # Models, and what the key may know of itself. LiteLLM's own group of such routes has /health in it,
                # which sends a request to every model.
                "allowed_routes": ["llm_api_routes", "/key/info", "/team/info"],
                "expires": key.expires,
                # LiteLLM keeps these two in the metadata.
                "metadata": {
                    **key.metadata,
                    **({"model_tpm_limit": key.model_tpm} if key.model_tpm else {}),
                    **({"model_rpm_limit": key.model_rpm} if key.model_rpm else {}),
                },
            }
            for key in args.virtual_keys
        ],
    }


def _soft(key: tenants.VirtualKey, owner: str) -> str:
    """Id of the budget in LiteLLM that holds a key's soft budget: a key itself has none."""
    return f"{owner}:key/{key.name}"


def _of_both(tenant: tenants.Tenant) -> dict[str, Any]:
    return {
        "name": tenant.name,
        **({"take_over": True} if tenant.take_over else {}),
        "max_budget": tenant.budget,
        "budget_duration": tenant.budget_period,
        "tpm_limit": tenant.tpm,
        "rpm_limit": tenant.rpm,
        "models": [wildcards.group(alias) for alias in tenant.models],
        "blocked": tenant.blocked,
        "metadata": tenant.metadata,
    }


def _shown(tenant: tenants.Tenant) -> dict[str, Any]:
    """A tenant's settings, as written in the stack's file."""
    return tenant.model_dump(by_alias=True, exclude_none=True)


def _pod(args: TenantsArgs, declared: pulumi.Input[str]) -> kubernetes.core.v1.PodSpecArgs:
    command = ["python3", "-I", "-u", f"{_FILES}/{SCRIPT.name}"]
    mounts = {
        "declared": (
            _FILES,
            kubernetes.core.v1.VolumeArgs(
                name="declared", config_map=kubernetes.core.v1.ConfigMapVolumeSourceArgs(name=declared)
            ),
        ),
        "master-key": (_MASTER_KEY, _secret("master-key", args.secret.name, PROXY_MASTER_KEY)),
    }
    arguments = [
        *("--url", args.proxy.url),
        *("--declared", f"{_FILES}/declared.json"),
        *("--master-key", f"{_MASTER_KEY}/{PROXY_MASTER_KEY}"),
    ]
    if args.key_values:
        mounts["keys"] = (_KEYS, _secret("keys", args.key_values.name))
        arguments += ["--keys", _KEYS]
    return kubernetes.core.v1.PodSpecArgs(
        restart_policy="Never",
        automount_service_account_token=False,
        enable_service_links=False,
        image_pull_secrets=args.images.references,
        security_context=kubernetes.core.v1.PodSecurityContextArgs(
            run_as_non_root=True, run_as_user=USER, run_as_group=USER, fs_group=USER
        ),
        containers=[
            kubernetes.core.v1.ContainerArgs(
                name="reconcile",
                image=str(args.images.at(LITELLM_IMAGE)),
                image_pull_policy="IfNotPresent",
                command=command,
                args=arguments,
                volume_mounts=[
                    kubernetes.core.v1.VolumeMountArgs(name=name, mount_path=path, read_only=True)
                    for name, (path, _) in mounts.items()
                ],
                resources=kubernetes.core.v1.ResourceRequirementsArgs(
                    requests={"cpu": "50m", "memory": "64Mi"}, limits={"memory": "256Mi"}
                ),
                security_context=RESTRICTED,
                # The Job's events then show what the script said last.
                termination_message_policy="FallbackToLogsOnError",
            )
        ],
        volumes=[volume for _, volume in mounts.values()],
    )


def _secret(volume: str, secret: str, only: str | None = None) -> kubernetes.core.v1.VolumeArgs:
    return kubernetes.core.v1.VolumeArgs(
        name=volume,
        secret=kubernetes.core.v1.SecretVolumeSourceArgs(
            secret_name=secret,
            default_mode=0o440,
            items=[kubernetes.core.v1.KeyToPathArgs(key=only, path=only)] if only else None,
        ),
    )
