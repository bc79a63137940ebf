"""Namespaces that somebody else makes: what is looked at, and what is not made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi
import pytest
from urllib3 import HTTPConnectionPool
from urllib3.exceptions import MaxRetryError

from components import existing_namespaces
from tests.support.engine import Mocks, Recording, run_program

SOME: Mapping[str, Any] = {"namespaces": {"gateway": "team-a", "existing": ["gateway", "externalSecrets"]}}
NAMESPACE = "kubernetes:core/v1:Namespace"


def there(name: str, **metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, **metadata}}


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the cluster has, by key."""
    read: dict[str, Any] = {"gateway": there("team-a"), "externalSecrets": there("external-secrets")}
    monkeypatch.setattr(existing_namespaces, "read", lambda *_: read)
    return read


def made(recording: Recording, kind: str) -> set[str]:
    return {name for type_, name in recording.resources if type_ == kind}


@pytest.mark.usefixtures("found")
def test_they_are_not_made_and_are_closed_as_the_others(program: Recording) -> None:
    recording = run_program(SOME)
    theirs = {"gateway-namespaces-gateway", "gateway-namespaces-external-secrets"}
    assert made(program, NAMESPACE) - made(recording, NAMESPACE) == theirs
    policies = "kubernetes:networking.k8s.io/v1:NetworkPolicy"
    assert made(recording, policies) == made(program, policies)
    release = recording.one("Release", "gateway-litellm-release")
    assert release.inputs["namespace"] == "team-a"


@pytest.mark.usefixtures("found")
def test_who_makes_them_is_fixed(program: Recording) -> None:
    """Who no longer made a namespace would delete it, with the database."""
    for recording, said in ((run_program(SOME), "externalSecrets, gateway"), (program, "")):
        assert recording.one("Stash", "gateway-fixed-settings").inputs["input"]["namespaces.existing"] == said


@pytest.mark.parametrize(
    ("live", "said"),
    [
        (None, "namespaces.existing: gateway: the cluster has no namespace team-a. Have it made first"),
        (there("team-a", deletionTimestamp="2026-01-01T00:00:00Z"), "the namespace team-a is being deleted"),
        (
            there("team-a", labels={"pod-security.kubernetes.io/enforce": "restricted"}),
            "the namespace team-a enforces the Pod Security Standard restricted",
        ),
    ],
    ids=["absent", "ends", "restricted"],
)
def test_what_cannot_be_used_is_refused_before_anything_is_made(
    live: dict[str, Any] | None, said: str, found: dict[str, Any]
) -> None:
    found["gateway"] = live
    answers = Mocks()
    with pytest.raises(pulumi.RunError, match=f"{said}[^\0]*Nothing was touched"):
        run_program(SOME, answers)
    assert {kind for kind in answers.made if not kind.startswith(("llmgateway:", "pulumi:", "random:"))} <= {
        "kubernetes:discovery.k8s.io/v1:EndpointSlice"  # only read
    }


def test_operators_run_where_restricted_is_enforced(found: dict[str, Any]) -> None:
    found["externalSecrets"] = there(
        "external-secrets", labels={"pod-security.kubernetes.io/enforce": "restricted"}
    )
    run_program(SOME)


def test_a_cluster_that_cannot_be_asked_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object) -> None:
        raise MaxRetryError(HTTPConnectionPool("192.0.2.1"), "/api")

    monkeypatch.setattr(existing_namespaces, "read", unreachable)
    with pytest.raises(pulumi.RunError, match="could not be asked for its namespaces"):
        run_program(SOME)
