"""What this repository shows to copy passes its own policies: the examples, and the settings in its documents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml
from pulumi_policy import (
    PolicyCustomTimeouts,
    PolicyResource,
    PolicyResourceOptions,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    StackValidationArgs,
    StackValidationPolicy,
)
from pulumi_policy.policy import _NotApplicableError  # pyright: ignore[reportPrivateUsage]
from pulumi_policy.proxy import unknown_checking_proxy

from components.gateway_secrets import OWNER, SALT_VERSION
from components.owner import LABEL, owner_label
from policy.pack import POLICIES
from sandbox.stack_file import merged
from tests.support.documents import Block, blocks, pages
from tests.support.engine import ROOT, Mocks, Recording, Registration, run_program
from tests.unit.test_examples import CLUSTER, CONSUMER, Answers, run_example


def checked(recording: Recording) -> tuple[set[str], list[str]]:
    """The policies that applied to something that a program registered, and what they said of it, as the engine would ask."""
    applied: set[str] = set()
    said: list[str] = []
    urns = {r.urn: f"urn:pulumi:dev::p::{kind}::{name}" for (kind, name), r in recording.resources.items()}
    resources = {
        urns[r.urn]: _resource(kind, name, r, urns[r.urn], recording.component_outputs.get(r.urn, {}))
        for (kind, name), r in recording.resources.items()
    }
    for registration in recording.resources.values():
        resources[urns[registration.urn]].property_dependencies = {
            name: [resources[urns[urn]] for urn in of.urns if urn in urns]
            for name, of in registration.request.propertyDependencies.items()
        }
    for policy in POLICIES:

        def report(message: str, urn: str | None = None, policy: str = policy.name) -> None:
            said.append(f"{policy}: {urn}: {message}")

        runs: Iterator[object]
        if isinstance(policy, StackValidationPolicy):
            runs = iter([StackValidationArgs(list(resources.values()))])
        else:
            runs = (
                ResourceValidationArgs(r.resource_type, r.props, r.urn, r.name, r.opts, None)
                for r in resources.values()
            )
        assert isinstance(policy, StackValidationPolicy | ResourceValidationPolicy)
        for args in runs:
            try:
                policy.validate(args, report)  # pyright: ignore[reportArgumentType]
            except _NotApplicableError:
                continue
            applied.add(policy.name)
    return applied, said


def _resource(
    kind: str, name: str, registration: Registration, urn: str, outputs: Mapping[str, Any]
) -> PolicyResource:
    request = registration.request
    options = PolicyResourceOptions(
        request.protect, list(request.ignoreChanges), None, [], PolicyCustomTimeouts(0, 0, 0), []
    )
    return PolicyResource(
        kind,
        unknown_checking_proxy({**registration.inputs, **outputs}),
        urn,
        name,
        options,
        None,
        None,
        [],
        {},
    )


EMBEDDED = yaml.safe_load((ROOT / "examples/embedded/Pulumi.dev.yaml").read_text())["config"]


@pytest.mark.parametrize(
    ("example", "settings", "applies"),
    [
        ("cluster", CLUSTER, {"iam-is-per-secret"}),
        ("consumer", CONSUMER, {"images-are-pinned", "pods-are-unprivileged", "no-literal-credentials"}),
    ],
)
def test_an_example_passes(example: str, settings: dict[str, str], applies: set[str]) -> None:
    applied, said = checked(run_example(example, settings, Answers()))
    assert not said
    assert applies <= applied


def test_the_gateway_in_a_program_of_its_own_passes() -> None:
    applied, said = checked(run_example("embedded", EMBEDDED))
    assert not said
    assert {"salt-is-kept", "salt-is-write-once", "iam-is-per-secret", "charts-are-pinned"} <= applied


def test_what_is_wrong_would_be_said() -> None:
    """The pack is really asked."""
    recording = run_example("consumer", CONSUMER, Answers())
    (key,) = [key for key in recording.resources if key[0].endswith(":Deployment")]
    deployment: Any = recording.resources[key].request.object
    pod = deployment["spec"]["template"]["spec"]
    pod["containers"][0]["image"] = "example.com/app:latest"
    assert [message.partition(":")[0] for message in checked(recording)[1]] == ["images-are-pinned"]


DOCUMENTED = [block for page in pages() for block in blocks(page, "yaml") if block.kind == "settings"]


@pytest.mark.parametrize("block", DOCUMENTED, ids=str)
def test_settings_in_documents_pass(block: Block) -> None:
    stack = yaml.safe_load((ROOT / f"Pulumi.{block.what}.yaml").read_text())["config"]
    config = merged(stack, yaml.safe_load(block.text))
    ids = ("master-key", "salt-key", "db-password", "redis-password")
    there = {f"litellm-{name}": {OWNER: "llm-gateway/dev", SALT_VERSION: "1"} for name in ids}
    adopted = ("vllm-api-key", "litellm-key-ann-lee")
    google = Mocks(there | {key: {OWNER: "llm-gateway/dev"} for key in adopted}, [("litellm-salt-key", "1")])
    google.buckets = {"my-project-id-platform-prod-litellm-pg": {LABEL: owner_label("llm-gateway/dev")}}
    gpus = {"type": "nvidia-l4", "count": 2, "gpuSharingConfigs": []}
    taint = {"key": "dedicated", "value": "models", "effect": "NO_SCHEDULE"}
    nodes = {
        "machineType": "g2-standard-24",
        "guestAccelerators": [gpus],
        "taints": [taint],
        "effectiveTaints": [],
    }
    google.cluster = {"nodePools": [{"name": "team-gpu", "nodeConfigs": [nodes]}]}
    _, said = checked(
        run_program({key.removeprefix("llm-gateway:"): value for key, value in config.items()}, google),
    )
    assert not said
