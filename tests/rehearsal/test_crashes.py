"""What a killed engine leaves: the next `up` goes on from it, and nothing that is not this stack's is touched."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest

from sandbox.cluster import control_plane
from sandbox.cluster.client import ApiError
from sandbox.paths import HOME_VARIABLE, REPOSITORY
from sandbox.plugins.kubernetes import objects
from sandbox.plugins.kubernetes.cluster import Cluster
from tests.support.crashes import (
    CTRL_C,
    PHASES,
    VICTIMS,
    Crash,
    crash,
    is_bad,
    pending,
    processes,
    suffer,
    wait_for,
)
from tests.support.driver import Sandbox
from tests.support.sandboxes import Sandboxes


def settings(name: str, **data: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def managers(cluster: Cluster, name: str) -> list[tuple[str, str]]:
    live = cluster.get("v1", "ConfigMap", "default", name) or {}
    return [(entry["manager"], entry["operation"]) for entry in live["metadata"]["managedFields"]]


@pytest.fixture
def cluster(dev: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    monkeypatch.setenv(HOME_VARIABLE, str(dev.home.root))
    monkeypatch.setenv("PATH", f"{dev.home.bin}:{os.environ['PATH']}")
    return Cluster(dev.home.kubeconfig.read_text())


def test_the_stand_in_creates_and_moves_ownership_as_the_real_provider_does(cluster: Cluster) -> None:
    never = threading.Event()
    made, fewer = settings("posted", a="1", b="2"), settings("posted", a="1")

    def create(upsert: bool) -> None:
        objects.create(cluster, made, "m", 5, upsert=upsert, force=False, cancelled=never)

    create(False)
    assert managers(cluster, "posted") == [("pulumi-kubernetes", "Update")]
    with pytest.raises(ApiError, match="already exists"):
        create(False)
    would_be = objects.dry_run(cluster, fewer, "m", new=False, force=False)
    assert would_be is not None
    assert would_be["data"] == {"a": "1", "b": "2"}
    live, _ = objects.update(cluster, fewer, "m", 5, force=False, cancelled=never)
    assert live["data"] == {"a": "1"}
    assert managers(cluster, "posted") == [("m", "Apply")]
    create(True)
    would_be = objects.dry_run(cluster, fewer, "m", new=False, force=False)
    assert would_be is not None
    assert would_be["data"] == {"a": "1"}


def test_what_the_state_has_is_recorded_in_the_cluster(dev: Sandbox, cluster: Cluster) -> None:
    """A create that finds what is not recorded takes it over: a replacement under its own name would then delete it."""
    for resource in dev.resources():
        if not resource["type"].startswith("kubernetes:") or resource.get("external"):
            continue
        made = resource["outputs"]
        if resource["type"].endswith(":Release"):
            first = cluster.get("v1", "Secret", made["namespace"], f"sh.helm.release.v1.{made['name']}.v1")
            assert first
            key, value = f"llm-gateway/recorded-{made['name']}", first["metadata"]["uid"]
            place = ("v1", "Namespace", None, made["namespace"])
        else:
            metadata = made["metadata"]
            key, value = "llm-gateway/recorded", "true"
            place = (made["apiVersion"], made["kind"], metadata.get("namespace"), metadata["name"])
        live = cluster.get(*place)
        assert live
        assert live["metadata"]["annotations"].get(key) == value, resource["urn"]


def kill(
    sandbox: Sandbox, *victims: str, when: Callable[[], Any], config: dict[str, Any] | None = None
) -> None:
    """Start an `up` and kill processes of it, each there, as soon as `when` says so."""
    up = threading.Thread(target=sandbox.up, kwargs={"config": config})
    up.start()
    wait_for(when, up.is_alive)
    for victim in victims:
        killed = processes(sandbox, victim)
        assert killed, victim
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
    up.join()


def test_mend_imports_a_secret_that_has_no_value_yet(empty: Sandbox) -> None:
    empty.run("start").succeeded()
    made = {"secretId": "litellm-master-key", "annotations": {"llm-gateway-owner": "llm-gateway/dev"}}
    name = f"projects/{empty.project}/secrets/litellm-master-key"
    empty.cloud.create("secret", name, {"project": empty.project, "replication": {"auto": {}}} | made)
    assert "python -m tools.mend" in empty.up().failed().text
    assert "gateway-secrets-litellm-master-key: imported" in empty.mend().text
    empty.up().succeeded()
    assert empty.secret("litellm-master-key")


def test_what_does_not_exist_cannot_be_imported(own_dev: Sandbox) -> None:
    """An engine takes an answer that has properties, even none, for a resource that exists."""
    own_dev.run("start").succeeded()
    for kind, identity in (
        ("gcp:secretmanager/secret:Secret", f"projects/{own_dev.project}/secrets/nothing"),
        ("kubernetes:core/v1:ConfigMap", "default/nothing"),
    ):
        command = ("pulumi", "import", kind, "nothing", identity, "--yes", "--stack", "dev")
        assert f"resource '{identity}' does not exist" in own_dev.run("exec", "--", *command).failed().text


@pytest.mark.parametrize(
    ("release", "victims", "left"),
    [
        ("cnpg-system/cnpg", ("engine", "kubernetes"), "pending-install"),
        # Its Helm goes on, with the migration's hook, while the next `up` is at work.
        ("llm-gateway/litellm", ("engine",), "pending-install|deployed|failed"),
    ],
    ids=["with its Helm", "while Helm goes on"],
)
def test_a_release_that_was_being_installed_is_installed_over_its_objects(
    empty: Sandbox, release: str, victims: tuple[str, ...], left: str
) -> None:
    empty.run("start").succeeded()
    kill(empty, *victims, when=lambda: pending(empty, release.partition("/")[2], "pending-install"))
    text = empty.up().succeeded().text
    assert re.search(f"release {release} was left ({left}) by an interrupted `up`", text), text
    empty.up().succeeded()
    assert empty.changed("up") == {}


def test_a_release_that_was_being_upgraded_is_upgraded_anew(own_dev: Sandbox) -> None:
    own_dev.run("start").succeeded()
    changed = {"llm-gateway:litellm": {"cpu": "750m"}}
    kill(
        own_dev,
        "engine",
        "kubernetes",
        when=lambda: pending(own_dev, "litellm", "pending-upgrade"),
        config=changed,
    )
    text = own_dev.up(config=changed).succeeded().text
    assert "release llm-gateway/litellm was left pending-upgrade by an interrupted `up`" in text


def test_an_object_that_the_state_does_not_know_is_taken_over_by_its_mark(empty: Sandbox) -> None:
    empty.run("start").succeeded()
    api = control_plane.api(empty.home)
    mark = {"llm-gateway/owner": "llm-gateway/dev/gateway-namespaces-gateway"}
    api.create("/api/v1/namespaces", {"metadata": {"name": "llm-gateway", "annotations": mark}})
    api.create("/api/v1/namespaces", {"metadata": {"name": "vllm"}})
    text = empty.up().failed().text
    assert "Namespace vllm already exists and carries no mark of a stack" in text
    assert "Namespace llm-gateway was left by an interrupted `up` of this stack" in text
    # The create that follows finds it and does not fail.
    assert any(resource["urn"].endswith("::gateway-namespaces-gateway") for resource in empty.resources())
    for owner in ("llm-gateway/other/gateway-namespaces-serving", "llm-gateway/dev/renamed"):
        body = {"metadata": {"annotations": {"llm-gateway/owner": owner}}}
        api.send("PATCH", "/api/v1/namespaces/vllm", body, "application/merge-patch+json")
        text = empty.up(config={"llm-gateway:recover": True}).failed().text
        assert f"Namespace vllm belongs to {owner} and is not taken over" in text


@pytest.mark.parametrize(
    ("case", "words"),
    [
        (Crash("first up", "gcp", 14, 0.0), "A provider's process ended before its time"),
        (Crash("first up", "etcd", 40, 0.0), ""),
        # It "ended what it had begun" or, where that came in the middle of a hook, "Pulumi ended the program".
        (Crash("upgrade", CTRL_C, 2, 0.5), "it was interrupted"),
    ],
    ids=lambda value: value.victim if isinstance(value, Crash) else "",
)
def test_a_crash_loses_nothing_and_the_next_up_goes_on(sandboxes: Sandboxes, case: Crash, words: str) -> None:
    texts: list[str] = []
    row = suffer(sandboxes, case, texts)
    assert not is_bad(row), "\n".join([*row, *texts])
    assert "(not hit)" not in row[1]
    assert words.lower() in texts[0].lower(), texts[0]


def test_the_tables_have_the_crashes_that_their_command_draws() -> None:
    """One with the stand-ins, one with the real provider."""
    page = (REPOSITORY / "docs/decisions/crashes.md").read_text()
    assert "python -m tests.support.crashes --seed 1" in page
    cells = [line.strip("| ").split(" | ") for line in page.splitlines()]
    rows = [
        row for row in cells if row[0].isdigit() and not row[-1].endswith("mend")
    ]  # that one is of another seed
    drawn = [crash(1, number) for number in range(len(PHASES) * len(VICTIMS))] * 2
    assert [row[1] for row in rows] == [case.phase for case in drawn]
    for row, case in zip(rows, drawn, strict=True):
        assert row[2].startswith(f"{case.victim}, step {case.steps}"), row
        assert not is_bad(row)
