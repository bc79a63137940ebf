"""What `recover` does not take over."""

from __future__ import annotations

import asyncio
import subprocess
from typing import Any

import pulumi
import pytest

from components import recovery
from tests.support.engine import run_program

SECRET = "kubernetes:external-secrets.io/v1:ExternalSecret"
RELEASE = "kubernetes:helm.sh/v3:Release"


def in_state(kind: str, urn: str, inputs: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": kind, "urn": f"urn:pulumi:dev::p::{kind}::{urn}", "inputs": inputs, **more}


def named(name: str, namespace: str | None = None) -> dict[str, Any]:
    return {"metadata": {"name": name} | ({"namespace": namespace} if namespace else {})}


@pytest.mark.parametrize("what", [{"delete": True}, {"pendingReplacement": True}], ids=str)
def test_an_unfinished_replacement_is_refused_before_anything_is_registered(
    state: list[dict[str, Any]], what: dict[str, Any]
) -> None:
    state += [
        in_state("gcp:x/y:Y", "gateway-member", {}, **what),
        in_state("kubernetes:core/v1:Namespace", "kept", {}),
    ]
    with pytest.raises(
        pulumi.RunError, match=r"still to be deleted or replaced: gateway-member\. .*Nothing was touched"
    ):
        run_program({"recover": True})
    run_program({"recover": False})


def test_a_provider_that_is_to_be_deleted_takes_nothing_along(state: list[dict[str, Any]]) -> None:
    state.append(in_state("pulumi:providers:kubernetes", "gke", {}, delete=True))
    run_program({"recover": True})


async def hooked(state: list[dict[str, Any]], kind: str, urn: str, inputs: dict[str, Any]) -> None:
    """Run the hook of a create that the transformation gives a resource."""
    guard = recovery.only_what_is_lost("gateway", state)
    args = pulumi.ResourceTransformationArgs(None, kind, urn, {}, pulumi.ResourceOptions())  # pyright: ignore[reportArgumentType]
    result = guard(args)
    assert result
    hooks = result.opts.hooks
    assert isinstance(hooks, pulumi.ResourceHookBinding)
    (hook,) = hooks.before_create or []
    assert isinstance(hook, pulumi.ResourceHook)
    assert hook.opts
    assert hook.opts.on_dry_run
    full = f"urn:pulumi:dev::p::{kind}::{urn}"
    done = hook.callback(pulumi.ResourceHookArgs(full, "", urn, kind, new_inputs=inputs))
    if done:
        await done


@pytest.mark.parametrize(
    ("kind", "inputs"),
    [
        ("kubernetes:core/v1:Namespace", named("vllm")),
        (SECRET, named("litellm-secrets", "llm-gateway")),
        (RELEASE, {"name": "litellm", "namespace": "llm-gateway"}),
    ],
    ids=str,
)
def test_what_the_state_has_under_another_name_is_not_taken_over(kind: str, inputs: dict[str, Any]) -> None:
    state = [in_state(kind, "former", inputs)]
    with pytest.raises(RuntimeError, match=r"is in this stack's state, as urn:\S+::former"):
        asyncio.run(hooked(state, kind, "now", inputs))
    asyncio.run(hooked(state, kind, "former", inputs))
    asyncio.run(hooked([], kind, "now", inputs))


@pytest.mark.parametrize(
    ("kind", "inputs"),
    [
        (SECRET, named("litellm-secrets", "other")),
        (SECRET, named("other", "llm-gateway")),
        ("kubernetes:core/v1:ConfigMap", named("litellm-secrets", "llm-gateway")),
        (SECRET, {"metadata": {"namespace": "llm-gateway"}}),
    ],
    ids=str,
)
def test_another_object_is(kind: str, inputs: dict[str, Any]) -> None:
    state = [in_state(SECRET, "former", named("litellm-secrets", "llm-gateway"))]
    asyncio.run(hooked(state, kind, "now", inputs))


def test_every_kubernetes_resource_is_looked_at_and_nothing_else() -> None:
    recovering = run_program({"recover": True})
    for (kind, name), registration in recovering.resources.items():
        looked_at = "gateway-only-what-is-lost" in registration.request.hooks.before_create
        assert looked_at is kind.startswith("kubernetes:"), name


def test_a_state_that_cannot_be_read_is_not_taken_for_an_empty_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # the fixture of all tests
    monkeypatch.setattr(pulumi, "get_organization", lambda: "organization")

    def fails(*_: Any, **__: Any) -> Any:
        raise subprocess.CalledProcessError(255, "pulumi", stderr="error: no stack")

    for failure in (fails, lambda *_, **__: subprocess.CompletedProcess([], 0, "no JSON")):
        monkeypatch.setattr(subprocess, "run", failure)
        with pytest.raises(pulumi.RunError, match="the state could not be read"):
            recovery.exported()
