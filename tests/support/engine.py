"""A recording mock engine: runs the whole program and keeps every registration as the engine would see it.

It plans nothing and creates nothing. What it adds to Pulumi's own mocks are the requests themselves, which
hold what MockResourceArgs hides: protect, ignoreChanges, retainOnDelete, dependencies, parents and hooks.
"""

from __future__ import annotations

import asyncio
import contextvars
import json
import runpy
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pulumi
from pulumi.runtime import mocks, rpc
from pulumi.runtime import settings as runtime
from pulumi.runtime.proto import resource_pb2
from pulumi.runtime.stack import run_in_stack

ROOT = Path(__file__).resolve().parents[2]
STACK = "dev"

SETTINGS: Mapping[str, Any] = {
    "gcp": {"project": "example-llm-dev"},
    "cluster": {"name": "platform-dev", "location": "europe-west4"},
    "models": [
        {
            "alias": "qwen-local",
            "inputCostPerToken": 5e-08,
            "outputCostPerToken": 2e-07,
            "vllm": {"model": "Qwen/Qwen2.5-0.5B-Instruct"},
        }
    ],
}

COSTS = {"inputCostPerToken": 1e-06, "outputCostPerToken": 2e-06}
HOSTED = {"model": "anthropic/claude-sonnet-4-5", "apiKeySecret": "anthropic-api-key"}
EVERYTHING: Mapping[str, Any] = {
    "models": [*SETTINGS["models"], {"alias": "claude", **COSTS, "hosted": HOSTED}],
    "litellm": {"replicas": 2, "sharedState": {"kind": "valkey"}},
    "postgres": {"instances": 3, "backups": {"method": "objectStore"}},
    "network": {"clientNamespaces": ["apps"]},
    "secrets": {"saltCopy": "projects/example-llm-vault/secrets/llm-gateway-prod-salt"},
    "teams": [{"name": "search", "alias": "Search Team", "takeOver": True, "budget": 50}],
    "virtualKeys": [
        {
            "name": "search-app",
            "alias": "Search app",
            "modelTpm": {"qwen-local": 9000},
            "modelRpm": {"qwen-local": 60},
            "team": "search",
            "budget": 20,
            "rpm": 600,
            "readers": ["apps"],
        }
    ],
}
"""Changes that have every part of the program deployed."""

CLOUD_SQL: Mapping[str, Any] = {
    "existing": {
        "cloudSql": {
            "instance": "example-sql:europe-west4:gateway",
            "serviceAccount": "litellm-database@example-accounts.iam.gserviceaccount.com",
            "iam": True,
        }
    }
}
"""`postgres` of a database in Cloud SQL."""

CLUSTER_OUTPUTS = {"clusterName": "shared", "clusterLocation": "us-central1-c", "clusterProject": "platform"}
"""Of every other stack, but for those that are called `empty`."""


def secret_marker(name: str) -> str:
    """The value that the mocked RandomPassword `name` has: findable wherever it leaks."""
    return f"marker-of-{name}"


class Mocks(mocks.Mocks):
    """Outputs that the providers would compute.

    `existing` is what Secret Manager has already: the annotations by secret id. `versions` are (id, version),
    `missing` ids of secrets made elsewhere that may not be seen. `node_pools` and `buckets` are what else there is at
    Google, labels by name; `apis_off` the APIs that are not enabled.
    """

    def __init__(
        self,
        existing: Mapping[str, Mapping[str, str]] | None = None,
        versions: Collection[tuple[str, str]] = (),
        missing: Collection[str] = (),
    ) -> None:
        super().__init__()
        self.existing, self.versions, self.missing = existing or {}, versions, missing
        self.node_pools: Mapping[str, Mapping[str, str]] = {}
        self.buckets: Mapping[str, Mapping[str, str]] = {}
        self.cluster: Mapping[str, Any] = {}
        self.apis_off: Collection[str] = ()
        self.salt_version = "1"
        self.made: list[str] = []

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        state = dict(args.inputs)
        self.made.append(args.typ)
        if args.typ == "random:index/randomPassword:RandomPassword":
            state["result"] = pulumi.Output.secret(secret_marker(args.name))
        elif args.typ == "pulumi:index:Stash":
            state["output"] = state["input"]
        elif args.typ == "gcp:secretmanager/secret:Secret":
            state["name"] = f"projects/{state['project']}/secrets/{state['secretId']}"
            return state["name"], state
        elif args.typ == "pulumi:pulumi:StackReference":
            state["outputs"] = {} if args.name.endswith("/empty") else CLUSTER_OUTPUTS
            state["secretOutputNames"] = []
        elif args.typ == "gcp:secretmanager/secretVersion:SecretVersion":
            state["version"] = self.salt_version if args.name.endswith("salt-key") else "3"
        elif args.typ == "kubernetes:discovery.k8s.io/v1:EndpointSlice":
            state["endpoints"] = [{"addresses": ["10.100.0.2"]}]
            state["ports"] = [{"name": "https", "protocol": "TCP", "port": 443}]
        elif args.typ == "kubernetes:helm.sh/v3:Release":
            state["status"] = {"name": state["name"], "revision": 1, "status": "deployed"}
        return f"{args.name}-id", state

    def call(self, args: mocks.MockCallArgs) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        match args.token:
            case "gcp:container/getCluster:getCluster":
                return {
                    "id": "projects/example-llm-dev/locations/europe-west4/clusters/platform-dev",
                    "name": args.args["name"],
                    "location": args.args["location"],
                    "project": args.args["project"],
                    "endpoint": "192.0.2.1",
                    "masterVersion": "1.33.5-gke.1080000",
                    "datapathProvider": "ADVANCED_DATAPATH",
                    "networkPolicies": [],
                    "enableAutopilot": False,
                    "workloadIdentityConfigs": [{"workloadPool": f"{args.args['project']}.svc.id.goog"}],
                    "privateClusterConfigs": [],
                    "controlPlaneEndpointsConfigs": [],
                    "servicesIpv4Cidr": "34.118.224.0/20",
                    "masterAuths": [{"clusterCaCertificate": "Y2E="}],
                    "nodePools": [
                        {"name": name, "nodeConfigs": [{"resourceLabels": labels}]}
                        for name, labels in self.node_pools.items()
                    ],
                    **self.cluster,
                }
            case "gcp:storage/getBucket:getBucket":
                if args.args["name"] not in self.buckets:
                    return {}, [
                        ("name", "googleapi: Error 404: The specified bucket does not exist., notFound")
                    ]
                return {"labels": self.buckets[args.args["name"]]}
            case "gcp:organizations/getProject:getProject":
                return {"number": "123456789012"}
            case "gcp:projects/getProjectService:getProjectService":
                api, project = args.args["service"], args.args["project"]
                return {} if api in self.apis_off else {"id": f"{project}/{api}"}
            case "gcp:secretmanager/getSecret:getSecret":
                secret_id = args.args["secretId"]
                if secret_id in self.missing:
                    return {}, [("secretId", "googleapi: Error 403: Permission denied.")]
                return {"name": f"projects/example-llm-dev/secrets/{secret_id}", "secretId": secret_id}
            case "gcp:secretmanager/getSecrets:getSecrets":
                return {
                    "secrets": [
                        {
                            "secretId": secret_id,
                            "name": f"projects/123456789012/secrets/{secret_id}",
                            "effectiveAnnotations": annotations,
                        }
                        for secret_id, annotations in self.existing.items()
                    ]
                }
            case "gcp:secretmanager/getSecretVersion:getSecretVersion":
                there = [version for secret, version in self.versions if secret == args.args["secret"]]
                asked = args.args.get("version") or max(there, key=int, default=None)
                if asked not in there:
                    return {}, [("version", "googleapi: Error 404: Secret Version not found.")]
                return {"version": asked}
            case other:
                raise AssertionError(f"the program called {other}, which these mocks do not answer")


@dataclass(frozen=True)
class Registration:
    """One resource as the engine was asked to register it."""

    request: resource_pb2.RegisterResourceRequest
    urn: str

    @property
    def inputs(self) -> dict[str, Any]:
        """Inputs as plain values; secrets are unwrapped."""
        return _plain(rpc.deserialize_properties(self.request.object, keep_unknowns=True))


@dataclass
class Recording:
    """Everything one run of the program registered, by `(type, name)`."""

    resources: dict[tuple[str, str], Registration] = field(default_factory=dict)
    outputs: dict[str, Any] = field(default_factory=dict)
    component_outputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By the component's URN."""
    secret_outputs: set[str] = field(default_factory=set)
    hooks: dict[str, pulumi.ResourceHook] = field(default_factory=dict)
    context: contextvars.Context = field(default_factory=contextvars.copy_context)

    def run_hook(self, name: str, args: pulumi.ResourceHookArgs) -> None:
        """Run a hook as the engine would, once the program has ended; raises what the hook raises."""

        async def hooked() -> None:
            if done := self.hooks[name].callback(args):
                await done

        self.context.run(asyncio.run, hooked())

    def all(self, kind: str) -> list[Registration]:
        """The registrations whose type's last part is `kind`."""
        return [r for (type_, _), r in self.resources.items() if type_.split(":")[-1] == kind]

    def one(self, kind: str, name: str) -> Registration:
        """The one of them that is called `name`."""
        found = [r for r in self.all(kind) if r.request.name == name]
        there = sorted(n for _, n in self.resources)
        assert len(found) == 1, f"{len(found)} resources {kind} {name!r}; there are: {there}"
        return found[0]

    def direct_dependencies(self, registration: Registration) -> set[str]:
        """URNs that the engine completes before it starts this resource."""
        return set(registration.request.dependencies)

    def waits_for(self, registration: Registration) -> set[str]:
        """URNs that this resource waits for, directly or through others."""
        by_urn = {r.urn: r for r in self.resources.values()}
        seen: set[str] = set()
        todo = [registration.urn]
        while todo:
            for urn in self.direct_dependencies(by_urn[todo.pop()]):
                if urn not in seen:
                    seen.add(urn)
                    if urn in by_urn:  # what is only read is not registered
                        todo.append(urn)
        return seen


def _plain(value: Any) -> Any:
    if rpc.is_rpc_secret(value):
        return _plain(rpc.unwrap_rpc_secret(value))
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


class RecordingMonitor(mocks.MockMonitor):
    """MockMonitor that keeps the requests."""

    def __init__(self, answers: mocks.Mocks) -> None:
        super().__init__(answers)
        self.recording = Recording()

    def RegisterResource(self, request: resource_pb2.RegisterResourceRequest) -> Any:
        response = super().RegisterResource(request)
        key = (request.type, request.name)
        if request.type != "pulumi:pulumi:Stack":  # set_mocks registers one, and run_in_stack
            assert key not in self.recording.resources, f"two resources {key}"
        self.recording.resources[key] = Registration(request, response.urn)
        return response

    def RegisterResourceOutputs(self, request: resource_pb2.RegisterResourceOutputsRequest) -> Any:
        raw = rpc.deserialize_properties(request.outputs, keep_unknowns=True)
        if request.urn.split("::")[2] != "pulumi:pulumi:Stack":
            self.recording.component_outputs[request.urn] = _plain(raw)
        else:
            self.recording.secret_outputs = {key for key, value in raw.items() if rpc.is_rpc_secret(value)}
            self.recording.outputs = _plain(raw)
        return super().RegisterResourceOutputs(request)


class RecordingCallbacks:
    """Stands where the callback server would; keeps the hooks by name and never calls them."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording

    def register_resource_hook(self, hook: pulumi.ResourceHook) -> None:
        assert hook.name not in self._recording.hooks, f"two hooks {hook.name}"
        self._recording.hooks[hook.name] = hook


def run_program(
    changes: Mapping[str, Any] | None = None, answers: Mocks | None = None, *, preview: bool = False
) -> Recording:
    """Run `__main__.py` with the dev-like settings, `changes` replacing whole sections (None removes one)."""
    sections = {key: value for key, value in {**SETTINGS, **(changes or {})}.items() if value is not None}
    return run(ROOT, "llm-gateway", sections, answers or Mocks(), preview=preview)


FAILED: list[str] = []
"""Folders of programs that failed, until what they left behind is collected (tests/unit/conftest.py)."""


def run(
    folder: Path, project: str, sections: Mapping[str, Any], answers: mocks.Mocks, *, preview: bool = False
) -> Recording:
    """Run the `__main__.py` of a folder with these settings, and `answers` for its providers.

    A key of `sections` without a colon is a setting of `project`.
    """
    monitor = RecordingMonitor(answers)

    async def program() -> None:
        mocks.set_mocks(answers, project=project, stack=STACK, preview=preview, monitor=monitor)
        runtime.set_root_resource(None)  # pyright: ignore[reportArgumentType]  # run_in_stack makes its own
        runtime.SETTINGS.callbacks = RecordingCallbacks(monitor.recording)  # pyright: ignore[reportAttributeAccessIssue]
        monitor.recording.context = contextvars.copy_context()
        texts = {
            key: value if isinstance(value, str) else json.dumps(value) for key, value in sections.items()
        }
        config = {key if ":" in key else f"{project}:{key}": text for key, text in texts.items()}
        pulumi.runtime.set_all_config(config)
        # A run that failed left tasks of its event loop behind, some of them while it closed; this one would wait for them.
        runtime.SETTINGS.outputs.clear()  # pyright: ignore[reportAttributeAccessIssue]
        runtime.SETTINGS.rpc_manager.clear()  # pyright: ignore[reportAttributeAccessIssue]
        await run_in_stack(lambda: _ignore(runpy.run_path(str(folder / "__main__.py"))))

    try:
        asyncio.run(program())
    except BaseException:
        FAILED.append(str(folder))
        raise
    return monitor.recording


def _ignore(_: object) -> None:
    return None
