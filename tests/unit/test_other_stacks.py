"""What another stack has is not taken over: what Google has under this stack's names."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pulumi
import pytest

from components import cluster_wide
from components.owner import LABEL, owner_label
from tests.support.documents import blocks
from tests.support.engine import EVERYTHING, ROOT, Mocks, run_program

BUCKET, POOL = "example-llm-dev-platform-dev-litellm-pg", "llm-gpu"


OURS, OTHERS = {LABEL: owner_label("llm-gateway/dev")}, {LABEL: owner_label("llm-gateway/other")}


def google(**there: dict[str, dict[str, str]]) -> Mocks:
    mocks = Mocks()
    mocks.node_pools, mocks.buckets = there.get("pools", {}), there.get("buckets", {})
    return mocks


@pytest.mark.parametrize(
    ("there", "kind", "key"),
    [
        ({"pools": {POOL: OTHERS}}, "NodePool", "gpuPool.name"),
        ({"buckets": {BUCKET: OTHERS}}, "Bucket", "postgres.backups.bucket"),
    ],
    ids=["pool", "bucket"],
)
def test_another_stacks_is_refused_by_name_and_not_registered(
    there: dict[str, Any], kind: str, key: str
) -> None:
    mocks = google(**there)
    with pytest.raises(pulumi.RunError) as refused:
        run_program(EVERYTHING, mocks)
    text = str(refused.value)
    assert f"belongs to {OTHERS[LABEL]}; this is {OURS[LABEL]}" in text
    assert f"llm-gateway:{key}" in text
    assert "llm-gateway:owner" in text
    assert not [made for made in mocks.made if made.endswith(f":{kind}")]


@pytest.mark.parametrize(
    ("there", "command"),
    [
        (
            {"pools": {POOL: {}}},
            "gcloud container node-pools update llm-gpu --cluster platform-dev --location europe-west4 "
            f"--project example-llm-dev --labels={LABEL}={OURS[LABEL]}",
        ),
        (
            {"buckets": {BUCKET: {"made-by": "hand"}}},
            f"gcloud storage buckets update gs://{BUCKET} --update-labels={LABEL}={OURS[LABEL]}",
        ),
    ],
    ids=["pool", "bucket"],
)
def test_nobodys_is_refused_with_what_makes_it_this_stacks(there: dict[str, Any], command: str) -> None:
    with pytest.raises(pulumi.RunError) as refused:
        run_program(EVERYTHING, google(**there))
    assert command in str(refused.value)


def test_adopting_a_bucket_takes_no_other_stacks() -> None:
    adopting = {"postgres": {"backups": {"method": "objectStore", "bucket": "kept", "adoptBucket": True}}}
    with pytest.raises(pulumi.RunError, match="The bucket kept is there, and belongs to"):
        run_program(adopting, google(buckets={"kept": OTHERS}))
    bucket = run_program(adopting, google(buckets={"kept": OURS})).one("Bucket", "gateway-backups-bucket")
    assert bucket.request.importId == "kept"
    assert list(bucket.request.ignoreChanges) == ["labels"]


def test_a_bucket_that_cannot_be_seen_is_nobodys_to_take(monkeypatch: pytest.MonkeyPatch) -> None:
    call = Mocks.call

    def forbidden(self: Mocks, args: Any) -> Any:
        if args.token == "gcp:storage/getBucket:getBucket":
            return {}, [("name", "googleapi: Error 403: storage.buckets.get denied, forbidden")]
        return call(self, args)

    monkeypatch.setattr(Mocks, "call", forbidden)
    with pytest.raises(pulumi.RunError, match=r"roles/storage\.bucketViewer"):
        run_program(EVERYTHING)


def test_what_is_this_stacks_is_labelled_and_goes_on() -> None:
    program = run_program(EVERYTHING, google(pools={POOL: OURS}, buckets={BUCKET: OURS}))
    assert program.one("Bucket", "gateway-backups-bucket").inputs["labels"] == OURS
    assert program.one("NodePool", "gateway-gpu-pool-nodes").inputs["nodeConfig"]["resourceLabels"] == OURS


@pytest.mark.parametrize(
    "owner", ["llm-gateway/dev", "llm.gateway/dev", "LLM-gateway/dev", "llm_gateway/dev", f"{'a' * 100}/b"]
)
def test_a_label_is_of_one_owner_and_a_label(owner: str) -> None:
    others = {
        "llm-gateway/dev",
        "llm.gateway/dev",
        "LLM-gateway/dev",
        "llm_gateway/dev",
        f"{'a' * 100}/b",
    } - {owner}
    assert owner_label(owner) not in {owner_label(other) for other in others}
    assert len(owner_label(owner)) <= 63
    assert owner_label(owner) == owner_label(owner).lower()


CRD = {"metadata": {"name": "externalsecrets.external-secrets.io"}}
RELEASE = {"name": "external-secrets", "namespace": "external-secrets"}


def of_helm(namespace: str, name: str) -> dict[str, Any]:
    return {
        "metadata": CRD["metadata"]
        | {"annotations": {"meta.helm.sh/release-namespace": namespace, "meta.helm.sh/release-name": name}}
    }


@pytest.mark.parametrize(
    "crd", [CRD, of_helm("external-secrets", "external-secrets")], ids=["not Helm's", "ours"]
)
def test_an_operators_crds_may_be_there(crd: dict[str, Any]) -> None:
    cluster_wide.refuse_other_releases(crd, RELEASE)


@pytest.mark.parametrize("other", [("platform", "external-secrets"), ("external-secrets", "eso")], ids=str)
def test_an_operator_that_the_cluster_has_is_refused_and_named(other: tuple[str, str]) -> None:
    with pytest.raises(pulumi.RunError, match=f"belongs to the Helm release {'/'.join(other)}"):
        cluster_wide.refuse_other_releases(of_helm(*other), RELEASE)


def annotated(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """What `kubectl annotate` annotates, and the annotations. It refuses a name that follows one of these."""
    given = [word for word in words if not word.startswith("--")]
    pairs = [word for word in given if "=" in word or word.endswith("-")]
    names = given[: len(given) - len(pairs)]
    assert given == names + pairs, "all resources must be specified before annotation changes"
    return names, pairs


HELM_OF_OURS = [
    "meta.helm.sh/release-namespace=external-secrets",
    "meta.helm.sh/release-name=external-secrets",
]


def test_the_command_that_gives_crds_to_this_release_is_one_that_kubectl_takes() -> None:
    with pytest.raises(pulumi.RunError) as refused:
        cluster_wide.refuse_other_releases(of_helm("gone", "external-secrets"), RELEASE)
    _, _, command = str(refused.value).partition("kubectl annotate ")
    names, pairs = annotated(command.replace("<each of its CRDs>", "a.external-secrets.io").split())
    assert names == ["crds", "a.external-secrets.io"]
    assert pairs == HELM_OF_OURS


def test_the_commands_of_a_move_are_ones_that_kubectl_takes(tmp_path: Path) -> None:
    """Run as they stand, with a `kubectl` that has one CRD of External Secrets alone and writes down the rest."""
    (block,) = (b for b in blocks(ROOT / "docs/operations.md", "sh") if "meta.helm.sh" in b.text)
    crd = "customresourcedefinition.apiextensions.k8s.io/externalsecrets.external-secrets.io"
    for name, script in (
        ("gcloud", "exit 0"),
        ("kubectl", f'[ "$1" = get ] && echo {crd} || echo "$@" >> {tmp_path}/asked'),
    ):
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    commands = re.sub(r"<[\w-]+>", "external-secrets", block.text)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(["bash", "-ec", commands], check=True, env={"PATH": path})
    verb, *words = (tmp_path / "asked").read_text().split()
    assert verb == "annotate"
    assert annotated(words) == ([crd], HELM_OF_OURS[:1])


def test_a_preview_looks_at_all_that_is_cluster_wide() -> None:
    program = run_program(EVERYTHING)
    looked_at = {
        name
        for (_, name), made in program.resources.items()
        if "gateway-cluster-wide-is-ours" in made.request.hooks.before_create
    }
    namespaces = ("gateway", "serving", "cnpg", "external-secrets", "cert-manager")
    releases = ("external-secrets", "cnpg", "cert-manager", "barman-plugin")
    assert looked_at == {
        *(f"gateway-namespaces-{part}" for part in namespaces),
        *(f"gateway-{part}-release" for part in releases),
        "gateway-secret-sync-store",
    }
    without_namespace = {
        name
        for (kind, name), made in program.resources.items()
        if kind.startswith("kubernetes:")
        and "metadata" in made.inputs
        and "namespace" not in made.inputs["metadata"]
    }
    assert without_namespace <= looked_at
