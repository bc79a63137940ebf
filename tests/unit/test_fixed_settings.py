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
        *(({"namespaces": {key: "other"}}, [f"namespaces.{key}: made with "]) for key in Namespaces().names),
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
        ({"namespaces": {"existing": ["serving"]}}, ["namespaces.existing: made with"]),
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
def test_what_a_live_stack_can_make_anew_passes(live: State, changes: dict[str, Any]) -> None:
    preview(live, changes)


def test_the_location_is_compared_for_one_bucket() -> None:
    """Another bucket replaces the Stash, and may be elsewhere."""
    recording = preview(State(), {})
    trigger = recording.one("Stash", "gateway-backups-fixed-location").request.replacement_trigger
    assert trigger.string_value == recording.one("Bucket", "gateway-backups-bucket").inputs["name"]


def test_a_stack_that_recovers_may_go_on_recovering() -> None:
    state = State()
    for changes in ({"recover": True}, {"recover": True}, {}):
        preview(state, changes)


def test_nothing_is_registered_before_the_settings_are_compared(live: State) -> None:
    """So that an `up` without its preview touches nothing either."""
    live.made.clear()
    with pytest.raises(pulumi.RunError):
        preview(live, {"namespaces": {"serving": "other"}})
    made = {kind for kind in live.made if not kind.startswith(("pulumi:", "llmgateway:"))}
    assert made == {
        "random:index/randomPassword:RandomPassword",  # which is nowhere but in the state
        "kubernetes:discovery.k8s.io/v1:EndpointSlice",  # which is only read
    }


def test_settings_are_final_for_good_once_the_operators_are_there() -> None:
    """A first `up` that fails before it can be forgotten, and repeated with others."""
    recording = preview(State(), {})
    for stash, needed in (
        ("gateway-settings-final", ("ConfigMap", "gateway-external-secrets-webhook-open")),
        ("gateway-settings-final", ("ConfigMap", "gateway-cnpg-webhook-open")),
        ("gateway-cert-manager-final", ("ConfigMap", "gateway-cert-manager-webhook-open")),
        ("gateway-complete", ("Release", "gateway-litellm-release")),
    ):
        kept = recording.one("Stash", stash)
        assert list(kept.request.ignoreChanges) == ["input"]
        assert recording.one(*needed).urn in recording.direct_dependencies(kept)
    for stash in ("gateway-fixed-settings", "gateway-fixed-cert-manager"):
        first = recording.one("Stash", stash)
        assert list(first.request.ignoreChanges) == ["input"]
        assert not recording.direct_dependencies(first)
        assert not [r for r in recording.resources.values() if first.urn in recording.direct_dependencies(r)]


def test_what_a_live_stack_was_told_is_known_when_the_state_forgot_the_first(live: State) -> None:
    forgetful = State()
    forgetful.kept = {name: kept for name, kept in live.kept.items() if not name.startswith("gateway-fixed-")}
    for changes in ({"namespaces": {"serving": "other"}}, {"namespaces": {"certManager": "other"}}):
        with pytest.raises(pulumi.RunError, match="cannot be changed in place"):
            preview(forgetful, changes)


def test_a_bucket_that_google_never_made_may_be_made_elsewhere(live: State) -> None:
    """Google may refuse a location, while everything else of that `up` is made."""
    backups = EVERYTHING["postgres"]["backups"] | {"bucketLocation": "europe-west1"}
    forgotten = (
        r"If the bucket was never made, .* pulumi state delete 'urn:\S+::gateway-backups-fixed-location'"
    )
    with pytest.raises(pulumi.RunError, match=forgotten):
        preview(live, {"postgres": {**EVERYTHING["postgres"], "backups": backups}})


def test_a_first_up_that_failed_early_says_how_it_is_forgotten(live: State) -> None:
    with pytest.raises(pulumi.RunError, match=r"pulumi state delete 'urn:\S+::gateway-fixed-settings'"):
        preview(live, {"namespaces": {"serving": "other"}})
