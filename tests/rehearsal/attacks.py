"""Attacks on the salt: `python -m tests.rehearsal.attacks [--seed 1] [--count 30] [--out FILE]` writes a table.

Each attack is drawn by the seed: one to three stock `pulumi` commands on the state, or deeds at Google, and then an
`up` without a preview under changed settings. Then the settings are put back, and `up` is run until it ends with 0.
All attacks meet one stack, so that what one of them leaves behind meets the next.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.rehearsal.test_secrets_life import database_role, in_cluster, values
from tests.support.driver import Sandbox

Deed = Callable[[Sandbox], object]
SALT = "gateway-secrets-litellm-salt-key"
_SECRET, _VERSION = "gcp:secretmanager/secret:Secret", "gcp:secretmanager/secretVersion:SecretVersion"
_MOST_UPS = 3
_SALT_ID = "litellm-salt-key"


def _pulumi(sandbox: Sandbox, *arguments: str) -> None:
    """One command; an engine that refuses it has held, so that its exit code does not matter."""
    sandbox.run("exec", "--", "pulumi", *arguments)


def _urn(sandbox: Sandbox, kind: str, name: str) -> str:
    """The URN in the state, or what it was: a resource that is gone is named as well."""
    parents = "llmgateway:llm_gateway:LlmGateway$llmgateway:gateway_secrets:GatewaySecrets"
    return f"urn:pulumi:{sandbox.stack}::llm-gateway::{parents}${kind}::{name}"


def _forget(kind: str, name: str = SALT) -> Deed:
    return lambda sandbox: _pulumi(
        sandbox, "state", "delete", _urn(sandbox, kind, name), "--force", "--target-dependents", "--yes"
    )


def _import(kind: str, suffix: str = "") -> Deed:
    def deed(sandbox: Sandbox) -> None:
        parent = _urn(sandbox, kind, SALT).split("::")[2].rpartition("$")[0]
        stack = f"urn:pulumi:{sandbox.stack}::llm-gateway::"
        secret = f"projects/{sandbox.project}/secrets/{_SALT_ID}{suffix}"
        _pulumi(
            sandbox,
            *("import", kind, SALT, secret, "--yes", "--protect=false", "--generate-code=false"),
            *("--parent", f"secrets={stack}{parent}::gateway-secrets"),
            *("--provider", f"google={stack}pulumi:providers:gcp::google"),
        )

    return deed


def _another_version(sandbox: Sandbox) -> None:
    """Somebody adds a version to the salt's Secret by hand."""
    sandbox.cloud.add_secret_version(f"projects/{sandbox.project}/secrets/{_SALT_ID}", b"another value")


def _destroy(kind: str, name: str) -> Deed:
    def deed(sandbox: Sandbox) -> None:
        urns = [
            resource["urn"]
            for resource in sandbox.resources()
            if resource["type"] == kind and resource["urn"].endswith(f"::{name}")
        ]
        for urn in urns:
            _pulumi(sandbox, "destroy", "--yes", "--skip-preview", "--target", urn, "--target-dependents")

    return deed


DEEDS: Mapping[str, Deed] = {
    "state delete Secret": _forget(_SECRET),
    "state delete SecretVersion": _forget(_VERSION),
    "state delete vLLM key's value": _forget(
        "random:index/randomPassword:RandomPassword", "gateway-secrets-vllm-api-key"
    ),
    "state unprotect --all": lambda sandbox: _pulumi(sandbox, "state", "unprotect", "--all", "--yes"),
    "import Secret": _import(_SECRET),
    "add version at Google": _another_version,
    "import version 1": _import(_VERSION, "/versions/1"),
    "import version 2": _import(_VERSION, "/versions/2"),
    "refresh": lambda sandbox: _pulumi(sandbox, "refresh", "--yes", "--skip-preview"),
    "destroy SecretVersion": _destroy(_VERSION, SALT),
    "destroy Secret": _destroy(_SECRET, SALT),
    "destroy ExternalSecret": _destroy(
        "kubernetes:external-secrets.io/v1:ExternalSecret", "gateway-secret-sync-litellm-secrets"
    ),
}
SETTINGS: Mapping[str, dict[str, Any]] = {
    "as they were": {},
    "saltKey: 1": {"llm-gateway:secrets": {"adopt": {"saltKey": 1}}},
    "saltKey: 2": {"llm-gateway:secrets": {"adopt": {"saltKey": 2}}},
    "prefix: eu-": {"llm-gateway:secrets": {"prefix": "eu-"}},
    "owner: a/b": {"llm-gateway:owner": "a/b"},
    "replicaLocations": {"llm-gateway:secrets": {"replicaLocations": ["europe-west4"]}},
    "gcp.project": {
        "llm-gateway:gcp": {"project": "example-llm-other"},
        "llm-gateway:cluster": {
            "name": "platform-dev",
            "location": "europe-west4",
            "project": "example-llm-dev",
        },
    },
}


@dataclass(frozen=True)
class Row:
    """What an attack did. `ups` is how many it took, with the settings put back, to end with 0; 0: none did."""

    attack: str
    settings: str
    refused: bool
    salt: str
    master_key: str
    password: str
    database: str
    ups: int

    @property
    def held(self) -> bool:
        """Whether nothing was lost, and an `up` goes through again."""
        return {self.salt, self.master_key, self.password, self.database} == {"kept"} and self.ups > 0


def attack(sandbox: Sandbox, deeds: list[str], settings: str) -> Row:
    """Run one attack and mend what it did."""
    before, role = values(sandbox), database_role(sandbox)
    salt, cluster = sandbox.secret(_SALT_ID, "1"), _cluster(sandbox)
    for deed in deeds:
        DEEDS[deed](sandbox)
    refused = sandbox.up(config=SETTINGS[settings]).code != 0
    seen = {_in_cluster(sandbox).get(_SALT_ID), salt}
    ups = next((number for number in range(1, _MOST_UPS + 1) if sandbox.up().code == 0), 0)
    seen.add(_in_cluster(sandbox).get(_SALT_ID))
    made = [
        row
        for row in sandbox.cloud.list("secretVersion")
        if _SALT_ID in row["name"] and not row["name"].endswith("/1")
    ]
    by_hand = {
        sandbox.secret(_SALT_ID, row["version"]) for row in made if row["name"].split("/")[3] == _SALT_ID
    }
    made_one = len(made) != len([row for row in made if row["name"].split("/")[3] == _SALT_ID])
    after = _in_cluster(sandbox)
    return Row(
        attack=", ".join(deeds),
        settings=settings,
        refused=refused,
        salt=_word(seen - {None} == {salt} and by_hand <= {"another value"} and not made_one),
        master_key=_word(after.get("litellm-master-key") == before["litellm-master-key"]),
        password=_word(database_role(sandbox)["password"] == role["password"]),
        database=_word(_cluster(sandbox) == cluster),
        ups=ups,
    )


def _word(kept: bool) -> str:
    return "kept" if kept else "LOST"


def _cluster(sandbox: Sandbox) -> str:
    return sandbox.namespaced("clusters", "llm-gateway", "litellm-pg", group="postgresql.cnpg.io/v1")[
        "metadata"
    ]["uid"]


def _in_cluster(sandbox: Sandbox) -> dict[str, str]:
    """What pods would read; nothing while the Secret is away."""
    try:
        return in_cluster(sandbox)
    except Exception:  # what the API server's client raises for a 404
        return {}


def drawn(seed: int, count: int) -> list[tuple[list[str], str]]:
    """Attacks by a seed: each deed and each setting alone, then random sequences."""
    draw = random.Random(seed)  # noqa: S311  # repeatable, and for no secret
    alone = [([deed], "as they were") for deed in DEEDS] + [([], name) for name in SETTINGS if SETTINGS[name]]
    mixed = [
        (draw.sample(list(DEEDS), draw.randint(2, 3)), draw.choice(list(SETTINGS)))
        for _ in range(max(0, count - len(alone)))
    ]
    return [*alone, *mixed][:count]


def table(rows: list[Row]) -> str:
    """The rows as Markdown."""
    head = "| attack | settings | its up | salt | master key | password | database | ups to go on |"
    lines = [
        f"| {row.attack or '-'} | {row.settings} | {'refused' if row.refused else 'went through'} | {row.salt} "
        f"| {row.master_key} | {row.password} | {row.database} | {row.ups or 'none'} |"
        for row in rows
    ]
    return "\n".join([head, "|---|---|---|---|---|---|---|---|", *lines, ""])


def run(sandbox: Sandbox, seed: int, count: int, out: Path | None = None) -> list[Row]:
    """All attacks of a seed on a stack that is up; the table grows in `out`."""
    rows: list[Row] = []
    for deeds, settings in drawn(seed, count):
        rows.append(attack(sandbox, deeds, settings))
        print(table(rows[-1:]).splitlines()[-1], flush=True)
        if out:
            out.write_text(table(rows))
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.rehearsal.attacks", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=30)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="attacks-") as folder:
        sandbox = Sandbox(Path(folder)).make()
        try:
            sandbox.run("up").succeeded()
            rows = run(sandbox, options.seed, options.count, options.out)
        finally:
            sandbox.run("down")
    return 0 if all(row.held for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
