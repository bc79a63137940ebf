"""Every policy of the pack in the engine: what it stops, and what it lets pass; and the guard over deletions."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from policy.pack import NAME, POLICIES
from tests.support.driver import Result, Sandbox
from tests.support.sandboxes import Sandboxes
from tools.review import events

BAD = Path(__file__).parent / "data" / "policy"
CLUSTER = "gateway-postgres-cluster"
# Dev runs nothing twice.
PRODUCTION = {
    "production-database-is-drained-in-turn",
    "disruptions-leave-some",
    "production-database-has-backups",
    "production-backups-are-scheduled",
    "production-database-has-three-instances",
    "production-wal-has-its-own-volume",
    "production-salt-has-a-copy",
}
OUTSIDE_PRODUCTION = {"gpu-pools-scale-to-zero"}
# What each policy refuses of bad.py.
REFUSED = {
    "salt-is-write-once": {"salt-is-write-once-litellm-salt-key"},
    "salt-is-one": {"salt-is-one-litellm-salt-key"},
    "salt-is-kept": {"salt-is-kept-litellm-salt-key", "salt-is-kept-no-version"},
    "secret-values-in-secret-manager-only": {
        "secret-values-in-config-map",
        "secret-values-in-helm-values",
        "literal-in-secret",  # the SDK marks all of a Secret's data
    },
    "generated-values-in-secret-manager-only": {"generated-values-in-config-map", "generated-value-in-an-id"},
    "secret-values-not-in-ids": {"id-is-the-value"},
    "no-literal-credentials": {
        "literal-in-config-map",
        "literal-in-helm-values",
        "literal-in-environment",
        "literal-in-secret",
    },
    "images-are-pinned": {"images-latest", "images-no-tag", "images-in-values"},
    "charts-are-pinned": {"charts-unpinned"},
    "gpu-pools-are-bounded": {"gpu-unbounded"},
    "gpu-pools-scale-to-zero": {"gpu-never-empty"},
    "production-database-has-backups": {"production-database"},
    "production-backups-are-scheduled": {"production-database"},
    "production-database-has-three-instances": {"production-database"},
    "production-wal-has-its-own-volume": {"production-database"},
    "production-salt-has-a-copy": {"salt-is-kept-no-version"},
    "disruptions-leave-some": {"disruptions-take-all"},
    "production-database-is-drained-in-turn": {"production-database"},
    "iam-is-per-secret": {"iam-every-secret", "iam-everyone"},
    "pods-are-unprivileged": {"pods-privileged", "pods-capable", "pods-on-the-host", "pods-in-values"},
}


@pytest.fixture(scope="module")
def sandbox(sandboxes: Sandboxes) -> Iterator[Sandbox]:
    """A sandbox in which nothing is deployed."""
    with sandboxes.forked("empty") as made:
        yield made


def previewed(sandbox: Sandbox, stack: str) -> tuple[Result, events.Operation]:
    sandbox.stack = stack
    try:
        result = sandbox.run("preview")
        return result, events.read(sandbox.home.event_log(stack, "preview"))
    finally:
        sandbox.stack = "dev"


@pytest.fixture(scope="module")
def refused(sandbox: Sandbox) -> dict[str, set[str]]:
    """The names of the resources of bad.py that each policy stopped, in a dev and in a production stack."""
    program = sandbox.root / "__main__.py"
    original = program.read_text()
    shutil.copytree(BAD / "chart", sandbox.root / "chart")
    shutil.copy(BAD / "bad.py", program)
    found: dict[str, set[str]] = {}
    try:
        for stack in ("dev", "prod"):
            result, operation = previewed(sandbox, stack)
            result.failed()
            for violated in operation.policies:
                assert violated.level == "mandatory", violated
                found.setdefault(violated.name, set()).add(violated.urn.rpartition("::")[2])
        # Stopped before anything is touched.
        sandbox.run("up").failed()
        assert not sandbox.home.event_log("dev", "up").exists()
        assert sandbox.resources() == []
    finally:
        program.write_text(original)
    return found


def test_there_is_a_case_for_every_policy() -> None:
    assert set(REFUSED) == {policy.name for policy in POLICIES}


@pytest.mark.parametrize("policy", REFUSED)
def test_policy_stops(refused: dict[str, set[str]], policy: str) -> None:
    assert refused[policy] == REFUSED[policy]


@pytest.mark.parametrize(("stack", "idle"), [("dev", PRODUCTION), ("prod", OUTSIDE_PRODUCTION)])
def test_the_program_as_it_is_passes_each_policy(sandbox: Sandbox, stack: str, idle: set[str]) -> None:
    result, operation = previewed(sandbox, stack)
    result.succeeded()
    assert operation.policies == []
    assert operation.policies_checked == {(NAME, policy) for policy in set(REFUSED) - idle}


@pytest.fixture(scope="module")
def deployed(sandboxes: Sandboxes) -> Iterator[Sandbox]:
    """A sandbox with the dev stack up."""
    with sandboxes.forked("dev") as made:
        yield made


def test_a_replaced_database_is_stopped_before_anything_is_touched(deployed: Sandbox) -> None:
    renamed = {"llm-gateway:postgres": {"name": "another"}}
    before = deployed.export()
    text = deployed.run("up", config=renamed).failed().text
    assert f"guard: {CLUSTER}" in text
    assert f"ALLOW={CLUSTER}" in text
    assert deployed.export() == before
    deployed.run("preview", "--allow", CLUSTER, config=renamed).succeeded()


def test_a_generated_value_in_an_output_is_stopped_once_it_is_known(deployed: Sandbox) -> None:
    original = (deployed.root / "components/gateway_secrets.py").read_text()
    made = "[self._no_second_value(secret_id, generation)]\n                ),\n            ),\n        )\n"
    leak = "        pulumi.export(secret_id, pulumi.Output.unsecret(value.result))\n"
    deployed.patch("components/gateway_secrets.py", made, made + leak)
    result, operation = previewed(deployed, "dev")
    (deployed.root / "components/gateway_secrets.py").write_text(original)
    result.failed()
    assert {found.name for found in operation.policies} == {"generated-values-in-secret-manager-only"}
    assert any("litellm-master-key" in found.message for found in operation.policies)
    assert deployed.secret("litellm-master-key").removeprefix("sk-") not in result.text


def test_a_rotation_is_not_stopped(deployed: Sandbox) -> None:
    rotated = {"llm-gateway:secrets": {"masterKeyGeneration": 2, "databasePasswordGeneration": 2}}
    deployed.run("preview", config=rotated).succeeded()


def test_secrets_and_pool_that_go_with_the_last_model_are_stopped(deployed: Sandbox) -> None:
    endpoint = {"model": "qwen", "url": "https://inference.example.com/v1"}
    model = {
        "alias": "elsewhere",
        "inputCostPerToken": 1e-6,
        "outputCostPerToken": 1e-6,
        "endpoint": endpoint,
    }
    config = {"llm-gateway:models": [model]}
    text = deployed.run("preview", config=config).failed().text
    pool, key = "gateway-gpu-pool-nodes", "gateway-secrets-vllm-api-key"
    assert f"guard: {pool}" in text
    assert f"guard: {key}" in text
    deployed.run("preview", "--allow", pool, "--allow", key, config=config).succeeded()
