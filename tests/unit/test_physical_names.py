"""Every setting that is part of a name outside the program, changed on a live stack."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import reduce
from typing import Any

import pulumi
import pytest

import settings
from settings.base import Section
from settings.errors import section_in
from tests.support.engine import EVERYTHING, ROOT, SETTINGS, Recording, run
from tests.unit.test_fixed_settings import State

LIVE: Mapping[str, Any] = {
    **SETTINGS,
    **EVERYTHING,
    "cluster": {"name": "platform-dev", "location": "europe-west4", "project": "example-llm-dev"},
    "owner": "llm-gateway/dev",
}
REFUSED = {
    *(
        "gcp.project",
        "secrets.prefix",
        "secrets.store",
        "cluster.name",
        "cluster.location",
        "cluster.project",
    ),
    *(f"namespaces.{part}" for part in ("gateway", "serving", "cnpg", "external_secrets", "cert_manager")),
    "postgres.backups.bucket_location",
}
"""There is a way for each under "Move" in docs/operations.md."""
ANEW = {
    "gpu_pool.name": "NodePool gateway-gpu-pool-nodes",
    "postgres.name": "Cluster gateway-postgres-cluster",
    "postgres.backups.bucket": "Bucket gateway-backups-bucket",
}
"""Made anew under the other name; the guard asks first, and docs/operations.md says how."""
OTHERS = {
    "models.1.hosted.api_key_secret": "gateway-secrets-anthropic-api-key-reader",
    "virtual_keys.0.name": "gateway-secrets-litellm-key-search-app",
    "virtual_keys.0.readers": "",
    "postgres.backups.method": "gateway-backups-bucket",
    "litellm.shared_state.kind": "gateway-valkey-server",
    "secrets.salt_copy": "-salt-copy",
    "secrets.existing_vllm_api_key": "gateway-secrets-vllm-api-key",
}
"""Another secret, tenant or part than before: what is gone from the program, if anything."""
NAMES = (
    "project",
    "secretId",
    "secret",
    "bucket",
    "role",
    "member",
    "name",
    "location",
    "cluster",
    "namespace",
)
"""Inputs of a resource that are its identity; `metadata` has two more."""
Path = tuple[str | int, ...]


def identities(recording: Recording) -> dict[str, Any]:
    """What names each resource outside the program, by its kind and its name in the program."""
    found: dict[str, Any] = {}
    for (kind, name), registration in recording.resources.items():
        if not kind.startswith(("llmgateway:", "pulumi:")):
            inputs = registration.inputs
            metadata = inputs.get("metadata", {})
            named = [inputs.get(key) for key in NAMES], metadata.get("name"), metadata.get("namespace")
            found[f"{kind.rpartition(':')[2]} {name}"] = named
    return found


def texts(section: Section, path: Path = ()) -> Iterator[Path]:
    """The path of every setting that is, or may be, a text or a list of texts."""
    for name, field in type(section).model_fields.items():
        value, here = getattr(section, name), (*path, name)
        if isinstance(value, Section):
            yield from texts(value, here)
        elif isinstance(value, list) and value and isinstance(value[0], Section):
            for index, item in enumerate(value):
                yield from texts(item, (*here, index))
        elif name.endswith("_size") or section_in(field.annotation):
            continue  # a quantity, which names nothing; sections that are not there
        elif isinstance(value, str | list) or (value is None and "str" in str(field.annotation)):
            yield here


def with_another(value: Any, path: Path) -> Any:
    """A copy of the settings in which this one is another; no rule looks at it."""
    if not path:
        return [*value, "other"] if isinstance(value, list) else f"{value}x" if value else "other"
    head, rest = path[0], path[1:]
    if isinstance(head, int):
        return [with_another(item, rest) if index == head else item for index, item in enumerate(value)]
    return value.model_copy(update={head: with_another(getattr(value, head), rest)})


STACK = settings.parse(
    {
        f"llm-gateway:{key}": value if isinstance(value, str) else json.dumps(value)
        for key, value in LIVE.items()
    },
    "dev",
)
PATHS = {".".join(map(str, path)): path for path in texts(STACK)}


@pytest.fixture(scope="module")
def live() -> tuple[State, dict[str, Any]]:
    """The state of a live stack, and what is what in it."""
    state = State()
    return state, identities(run(ROOT, "llm-gateway", LIVE, state, preview=True))


@pytest.fixture
def preview(live: tuple[State, dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run the program with other settings; says what is gone and what has another name now."""

    def changed(*paths: Path) -> tuple[list[str], list[str]]:
        monkeypatch.setattr(settings, "load", lambda: reduce(with_another, paths, STACK))
        state, before = live
        after = identities(run(ROOT, "llm-gateway", LIVE, state, preview=True))
        return sorted(before.keys() - after), sorted(
            key for key in before.keys() & after if before[key] != after[key]
        )

    return changed


def test_no_other_setting_is_part_of_a_name(preview: Any) -> None:
    """All of them changed at once; what is in a Release's values, Helm changes in place."""
    choices = {"gpu_pool.taint.effect", "namespaces.existing"}  # of a few words, none of which is a name
    # Of somebody else's.
    addresses = {f"litellm.shared_state.{key}" for key in ("nodes", "node_addresses")}
    addresses |= {"egress.http_proxy", "egress.https_proxy"}
    # With it the engines' account has the cluster's name in its own, and is there before the former goes.
    choices |= {"models.0.vllm.weights"}
    rest = PATHS.keys() - REFUSED - ANEW.keys() - OTHERS.keys() - addresses - choices
    assert preview(*(PATHS[key] for key in rest)) == ([], [])


@pytest.mark.parametrize("key", sorted(REFUSED))
def test_what_cannot_be_moved_is_refused(preview: Any, key: str) -> None:
    with pytest.raises(pulumi.RunError, match="cannot be changed in place"):
        preview(PATHS[key])


@pytest.mark.parametrize(("key", "moved"), ANEW.items())
def test_what_is_made_anew_is_what_the_guard_asks_about(preview: Any, key: str, moved: str) -> None:
    """A database's access to its backups goes with it."""
    gone, others = preview(PATHS[key])
    assert not [resource for resource in gone if not resource.startswith("BucketIAMMember gateway-backups-")]
    assert moved in others


@pytest.mark.parametrize(("key", "left"), OTHERS.items())
def test_nothing_else_is_renamed_by_another_secret_tenant_or_part(preview: Any, key: str, left: str) -> None:
    gone, moved = preview(PATHS[key])
    assert not moved
    assert bool(left) is bool(gone)
    assert not left or left in " ".join(gone)
