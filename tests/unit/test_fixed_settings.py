"""What a live stack refuses to change."""

from __future__ import annotations

from typing import Any

import pulumi
import pytest
from pulumi.runtime import mocks

from settings.deployment import Namespaces
from tests.support.engine import EVERYTHING, ROOT, SETTINGS, Mocks, Recording, run


class State(Mocks):
    """The state of a stack: a Stash's output stays what it was made with."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[str, Any] = {}

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        id_, state = super().new_resource(args)
        if args.typ == "pulumi:index:Stash":
            state["output"] = self.kept.setdefault(args.name, args.inputs["input"])
        return id_, state


def preview(state: State, changes: dict[str, Any]) -> Recording:
    return run(ROOT, "llm-gateway", {**SETTINGS, **EVERYTHING, **changes}, state, preview=True)


@pytest.fixture(scope="module")
def live() -> State:
    state = State()
    preview(state, {})
    return state


@pytest.mark.parametrize(
    ("changes", "keys"),
    [
        *(
            ({"namespaces": {key: "other"}}, [f"namespaces.{key}: made with "])
            for key in Namespaces().model_dump(by_alias=True)
        ),
        (
            {"gcp": {"project": "other-project"}},
            ["gcp.project: made with example-llm-dev, now other-project"],
        ),
        (
            {"cluster": {"name": "other", "location": "europe-west4"}},
            ["cluster.name: made with platform-dev"],
        ),
        ({"cluster": {"name": "platform-dev", "location": "europe-west1"}}, ["cluster.location: made with"]),
        (
            {"cluster": {"stack": "organization/c/dev"}},
            ["cluster.name", "cluster.location", "cluster.project"],
        ),
        ({"recover": True}, ["recover: this stack's state is not lost"]),
    ],
    ids=str,
)
def test_what_cannot_be_moved_is_refused_in_the_preview(
    live: State, changes: dict[str, Any], keys: list[str]
) -> None:
    with pytest.raises(pulumi.RunError) as refused:
        preview(live, changes)
    assert "Nothing was touched" in str(refused.value)
    for key in keys:
        assert f"llm-gateway:{key}" in str(refused.value)


@pytest.mark.parametrize(
    "changes",
    [{}, {"postgres": {"name": "other"}}, {"gpuPool": {"name": "other"}}, {"protect": True}],
    ids=str,
)
def test_what_can_be_made_anew_in_place_is_not(live: State, changes: dict[str, Any]) -> None:
    preview(live, changes)


def test_a_stack_that_recovers_may_go_on_recovering() -> None:
    state = State()
    for changes in ({"recover": True}, {"recover": True}, {}):
        preview(state, changes)


def test_settings_are_final_once_the_operators_are_there() -> None:
    """Not before: a first `up` that fails may be repeated with others. `recover` stays until the gateway is up."""
    recording = preview(State(), {})
    for stash, needed in (
        ("gateway-fixed-settings", ("ConfigMap", "gateway-external-secrets-webhook-open")),
        ("gateway-fixed-settings", ("ConfigMap", "gateway-cnpg-webhook-open")),
        ("gateway-fixed-cert-manager", ("ConfigMap", "gateway-cert-manager-webhook-open")),
        ("gateway-complete", ("Release", "gateway-litellm-release")),
    ):
        kept = recording.one("Stash", stash)
        assert list(kept.request.ignoreChanges) == ["input"]
        assert recording.one(*needed).urn in recording.direct_dependencies(kept)
