"""Attacks on the salt: `python -m tests.rehearsal.attacks [--seed 1] [--count 36] [--out FILE]` writes a page.

The attacks meet a stack that is up, protected, with a second copy of the salt. Each does up to two deeds
with the stock CLI or at Google, then an `up` under changed settings, with neither policies nor guard. Then the
settings are put back, and `up` is run, at most twice. Where that is not enough, the way back that the messages
name is gone. Which attacks these are is drawn by the seed: first each deed alone, then mixtures.
"""

from __future__ import annotations

import argparse
import base64
import random
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from sandbox.paths import REPOSITORY
from sandbox.stack_file import merged
from tests.rehearsal.test_secrets_life import cluster, database_role, in_cluster
from tests.support.crashes import ADOPTED, ANNOTATE
from tests.support.driver import PROJECT, Sandbox
from tests.support.sandboxes import Sandboxes, TemporaryFolders

Config = dict[str, Any]
_MOST_UPS = 2
_UNASKED = "which the state has lost"
"""What the program says of a value that would be made again."""
_BY_HAND = b"another value"
_SALT_ID, _COPY_ID = "litellm-salt-key", "llm-gateway-dev-salt"
_SALT = f"projects/{PROJECT}/secrets/{_SALT_ID}"
_COPY = f"projects/example-llm-vault/secrets/{_COPY_ID}"
BASE: Config = {"llm-gateway:protect": True, "llm-gateway:secrets": {"saltCopy": _COPY}}
_SECRET, _VERSION = "gcp:secretmanager/secret:Secret", "gcp:secretmanager/secretVersion:SecretVersion"
_VALUE = "random:index/randomPassword:RandomPassword"
_EXTERNAL_SECRET = "kubernetes:external-secrets.io/v1:ExternalSecret"


@dataclass
class Attack:
    """A sandbox under attack, and the settings that hold from here on: what a way back adds to them stays."""

    sandbox: Sandbox
    base: Config
    ups: int = 0
    text: str = ""

    def up(self, config: Config | None = None) -> bool:
        """One `up`; whether it ended with 0."""
        done = self.sandbox.up(config=merged(self.base, config or {}))
        self.ups += 1
        self.text = done.text
        return done.code == 0

    def pulumi(self, *arguments: str) -> None:
        """One command; an engine that refuses it has held, so that its exit code does not matter."""
        self.sandbox.run("exec", "--", "pulumi", *arguments)

    def urn(self, kind: str, name: str) -> str:
        """The URN in the state, or what it was: a resource that is gone can be named as well."""
        parents = "llmgateway:llm_gateway:LlmGateway$llmgateway:gateway_secrets:GatewaySecrets"
        return f"urn:pulumi:{self.sandbox.stack}::llm-gateway::{parents}${kind}::gateway-secrets-{name}"

    def refresh(self) -> None:
        self.sandbox.run("refresh", config=self.base)


Deed = Callable[[Attack], object]


def _forget(kind: str, name: str = _SALT_ID) -> Deed:
    return lambda attack: attack.pulumi(
        "state", "delete", attack.urn(kind, name), "--force", "--target-dependents", "--yes"
    )


def _import(kind: str, suffix: str = "") -> Deed:
    def deed(attack: Attack) -> None:
        stack = f"urn:pulumi:{attack.sandbox.stack}::llm-gateway::"
        parent = (
            "llmgateway:llm_gateway:LlmGateway$llmgateway:gateway_secrets:GatewaySecrets::gateway-secrets"
        )
        attack.pulumi(
            *("import", kind, f"gateway-secrets-{_SALT_ID}", _SALT + suffix, "--yes"),
            *("--protect=false", "--generate-code=false", "--parent", f"secrets={stack}{parent}"),
            *("--provider", f"google={stack}pulumi:providers:gcp::google"),
        )

    return deed


def _replace(kind: str, name: str = _SALT_ID) -> Deed:
    return lambda attack: attack.pulumi("up", "--yes", "--skip-preview", "--replace", attack.urn(kind, name))


def _taint(kind: str) -> Deed:
    return lambda attack: attack.pulumi("state", "taint", attack.urn(kind, _SALT_ID), "--yes")


def _untaint(attack: Attack) -> None:
    """docs/troubleshooting.md, "previously-imported resources"."""
    attack.pulumi("state", "untaint", "--all", "--yes")


def _destroy(kind: str, name: str) -> Deed:
    def deed(attack: Attack) -> None:
        for resource in attack.sandbox.resources():
            if resource["type"] == kind and resource["urn"].endswith(f"::{name}"):
                only = ("--target", resource["urn"], "--target-dependents")
                attack.pulumi("destroy", "--yes", "--skip-preview", *only)

    return deed


def _lose_state(attack: Attack) -> None:
    attack.sandbox.home.checkpoint(attack.sandbox.stack).unlink()


def _rename_stack(attack: Attack) -> None:
    attack.pulumi("stack", "rename", "renamed")
    shutil.copy(REPOSITORY / "Pulumi.dev.yaml", attack.sandbox.root / "Pulumi.renamed.yaml")
    attack.sandbox.stack = "renamed"


def _name_project(name: str) -> Deed:
    def deed(attack: Attack) -> None:
        file = attack.sandbox.root / "Pulumi.yaml"
        lines = file.read_text().splitlines()
        file.write_text(
            "\n".join(f"name: {name}" if line.startswith("name:") else line for line in lines) + "\n"
        )

    return deed


def _version(state: str) -> Deed:
    def deed(attack: Attack) -> None:
        attack.sandbox.cloud.set_secret_version(f"{_SALT}/versions/1", state)
        attack.refresh()

    return deed


def _from_copy(attack: Attack) -> None:
    """docs/operations.md, "The salt is gone at Google"."""
    cloud = attack.sandbox.cloud
    if not any(row["name"] == _SALT for row in cloud.list("secret")):
        notes = {"llm-gateway-owner": "llm-gateway/dev", "llm-gateway-salt-version": "1"}
        row = {"project": PROJECT, "secretId": _SALT_ID, "replication": {"auto": {}}, "annotations": notes}
        cloud.create("secret", _SALT, row | {"versionDestroyTtl": "2592000s"})
        copy = cloud.get("secretVersion", f"{_COPY}/versions/1")
        cloud.add_secret_version(_SALT, base64.b64decode(copy["payload"]))
    attack.refresh()


def _keep_owner(attack: Attack) -> None:
    """docs/operations.md, "A second stack in one project, and a renamed stack"."""
    attack.base = merged(attack.base, {"llm-gateway:owner": "llm-gateway/dev"})


def _adopt(attack: Attack) -> None:
    """docs/operations.md, "A value is gone from the state": a version as `adopt` for each value that is."""
    sandbox = attack.sandbox
    there = {
        resource["urn"].rpartition("::")[2] for resource in sandbox.resources() if resource["type"] == _VALUE
    }
    adopt = {key: 1 for key, secret in ADOPTED.items() if f"gateway-secrets-{secret}" not in there}
    config: Config = {"llm-gateway:secrets": {"adopt": adopt}} if adopt else {}
    if "gateway-secrets-litellm-key-search-app" not in there:
        key = {"name": "search-app", "team": "search", "budget": 20, "rpm": 600, "adopt": 1}
        config["llm-gateway:virtualKeys"] = [key]
    attack.base = merged(attack.base, config)


def _recover(attack: Attack) -> None:
    """docs/operations.md, "The state is lost"."""
    _adopt(attack)
    if not attack.up({"llm-gateway:recover": True}) and "gateway-gpu-pool-nodes" in attack.text:
        attack.sandbox.mend()
        attack.up({"llm-gateway:recover": True})
    if "llm-gateway:recover: " in attack.text:  # refused: the state has the rest
        for _ in range(4):  # each object's own message names the command; what needs it comes next
            if attack.up():
                break
            for command in ANNOTATE.findall(attack.text.replace("\n", " ")):
                attack.sandbox.run("exec", "--", *shlex.split(command))


def _then(*deeds: Deed) -> Deed:
    def deed(attack: Attack) -> None:
        for one in deeds:
            one(attack)

    return deed


def _unprotect(attack: Attack) -> None:
    """The salt's own protection goes, the database's stays."""
    for kind in (_SECRET, _VERSION):
        attack.pulumi("state", "unprotect", attack.urn(kind, _SALT_ID), "--yes")


def _add_version(attack: Attack) -> None:
    attack.sandbox.cloud.add_secret_version(_SALT, _BY_HAND)


_BACK = ("recover", _recover)
_UNTAINT = ("state untaint", _untaint)
_ENABLE = ("versions enable", _version("ENABLED"))
_OF_SALT = f"gateway-secrets-{_SALT_ID}"
DEEDS: Mapping[str, tuple[Deed, tuple[str, Deed] | None]] = {
    "unprotect --all": (lambda attack: attack.pulumi("state", "unprotect", "--all", "--yes"), None),
    "unprotect, taint Secret": (_then(_unprotect, _taint(_SECRET)), _UNTAINT),
    "unprotect, taint SecretVersion": (_then(_unprotect, _taint(_VERSION)), _UNTAINT),
    "up --replace SecretVersion": (_replace(_VERSION), None),
    "unprotect, up --replace SecretVersion": (_then(_unprotect, _replace(_VERSION)), None),
    "up --replace master key's value": (_replace(_VALUE, "litellm-master-key"), None),
    "destroy --target ExternalSecret": (
        _destroy(_EXTERNAL_SECRET, "gateway-secret-sync-litellm-secrets"),
        None,
    ),
    "refresh": (Attack.refresh, None),
    "versions add at Google": (_add_version, None),
    "versions disable at Google": (_version("DISABLED"), _ENABLE),
    "versions destroy at Google": (_version("DESTROYED"), _ENABLE),
    "secrets delete at Google": (
        lambda attack: attack.sandbox.cloud.delete("secret", _SALT),
        ("from the copy", _from_copy),
    ),
    "state delete Secret": (_forget(_SECRET), _BACK),
    "state delete SecretVersion": (_forget(_VERSION), _BACK),
    "state delete, import Secret": (_then(_forget(_VERSION), _forget(_SECRET), _import(_SECRET)), _BACK),
    "versions add, state delete, import version 2": (
        _then(_add_version, _forget(_VERSION), _import(_VERSION, "/versions/2")),
        _BACK,
    ),
    "destroy --target Secret": (_destroy(_SECRET, _OF_SALT), _BACK),
    "unprotect, destroy --target SecretVersion": (
        _then(_unprotect, _destroy(_VERSION, _OF_SALT)),
        _BACK,
    ),
    "state delete password's value": (_forget(_VALUE, "litellm-db-password"), _BACK),
    "state delete master key's value": (_forget(_VALUE, "litellm-master-key"), _BACK),
    "the state lost": (_lose_state, _BACK),
    "stack rename": (_rename_stack, ("owner", _keep_owner)),
    "project renamed": (_name_project("renamed"), ("name it back", _name_project("llm-gateway"))),
}
SETTINGS: Mapping[str, Config] = {
    "as they were": {},
    "saltKey: 1": {"llm-gateway:secrets": {"adopt": {"saltKey": 1}}},
    "saltKey: 2": {"llm-gateway:secrets": {"adopt": {"saltKey": 2}}},
    "masterKey: 1": {"llm-gateway:secrets": {"adopt": {"masterKey": 1}}},
    "no saltCopy": {"llm-gateway:secrets": {"saltCopy": None}},
    "prefix: eu-": {"llm-gateway:secrets": {"prefix": "eu-"}},
    "owner: a/b": {"llm-gateway:owner": "a/b"},
    "replicaLocations": {"llm-gateway:secrets": {"replicaLocations": ["europe-west4"]}},
    "protect: false": {"llm-gateway:protect": False},
    "postgres.name": {"llm-gateway:postgres": {"name": "other"}, "llm-gateway:protect": False},
    "namespaces.gateway": {"llm-gateway:namespaces": {"gateway": "other"}, "llm-gateway:protect": False},
    "gcp.project": {
        "llm-gateway:gcp": {"project": "example-llm-other"},
        "llm-gateway:cluster": {"name": "platform-dev", "location": "europe-west4", "project": PROJECT},
        "llm-gateway:protect": False,
    },
}


@dataclass(frozen=True)
class Row:
    """What an attack did. `ups` is how many it took, once the attack was over, to end with 0; 0: none did."""

    attack: str
    settings: str
    refused: bool
    salt: str
    master_key: str
    password: str
    database: str
    ups: int
    back: str
    base: Config
    """The settings that the way back ended with."""

    @property
    def held(self) -> bool:
        """Whether nothing was lost, and an `up` goes through again."""
        return {self.salt, self.master_key, self.password, self.database} == {"kept"} and self.ups > 0


def attack(sandbox: Sandbox, deeds: list[str], settings: str, base: Config = BASE) -> Row:
    """Run one attack on a stack that is up, and go the way back.

    `base` are its settings: BASE, and what the way back of an earlier attack on it left in them.
    """
    it = Attack(sandbox, base)
    before, database = in_cluster(sandbox), _database(sandbox)
    for deed in deeds:
        DEEDS[deed][0](it)
    refused = not it.up(SETTINGS[settings])
    seen = [_in_cluster(sandbox)]
    ended = not (refused or SETTINGS[settings])
    if SETTINGS[settings]:
        it.ups = 0
    back: list[str] = []
    ended = ended or any(it.up() for _ in range(_MOST_UPS - it.ups))
    if not ended and not deeds and _UNASKED in it.text:
        back.append("adopt")
        _adopt(it)
        ended = it.up()
    for way in dict.fromkeys(DEEDS[deed][1] for deed in deeds):
        # What is only disabled is no reason for an `up` to fail, and is to be enabled all the same.
        if way and (not ended or way[0] == "versions enable"):
            back.append(way[0])
            way[1](it)
            ended = any(it.up() for _ in range(_MOST_UPS))
    after = _in_cluster(sandbox)
    salts = {found.get(_SALT_ID) for found in [*seen, after] if found}
    kept = salts == {before[_SALT_ID]} and _made(sandbox) <= {before[_SALT_ID], _BY_HAND.decode()}
    if not ended:
        print(it.text, file=sys.stderr)
    uid, password = _database(sandbox)
    return Row(
        attack=", ".join(deeds),
        settings=settings,
        refused=refused,
        salt=_word(kept),
        master_key=_word(after.get("litellm-master-key") == before["litellm-master-key"]),
        password=_word(password == database[1]),
        database=_word(uid == database[0]),
        ups=it.ups if ended else 0,
        back=", ".join(back),
        base=it.base,
    )


def _word(kept: bool) -> str:
    return "kept" if kept else "LOST"


def _database(sandbox: Sandbox) -> tuple[str, str]:
    """The database's uid and its owner's password; nothing where it is gone."""
    try:
        return cluster(sandbox)["metadata"]["uid"], database_role(sandbox)["password"]
    except Exception:  # as above
        return "", ""


def _made(sandbox: Sandbox) -> set[str]:
    """Every value that a salt's Secret or its copy has, in whichever project and under whichever prefix.

    What was imported and then replaced by the salt is destroyed, and has none.
    """
    versions = sandbox.cloud.list("secretVersion")
    rows = [row for row in versions if "salt" in row["name"] and row["state"] != "DESTROYED"]
    return {base64.b64decode(row["payload"]).decode() for row in rows}


def _in_cluster(sandbox: Sandbox) -> dict[str, str]:
    """What pods would read; nothing while a Secret is away."""
    try:
        return in_cluster(sandbox)
    except Exception:  # what the API server's client raises for a 404
        return {}


def drawn(seed: int, count: int) -> list[tuple[list[str], str]]:
    """Attacks by a seed: each deed alone, then one or two, or none, with each of the settings in turn."""
    draw = random.Random(seed)  # noqa: S311  # repeatable, and for no secret
    alone = [([deed], "as they were") for deed in DEEDS]
    changed = [name for name, config in SETTINGS.items() if config]
    mixed = [
        (draw.sample(list(DEEDS), draw.randint(0, 2)), changed[number % len(changed)])
        for number in range(max(0, count - len(alone)))
    ]
    return [*alone, *mixed][:count]


def table(rows: list[Row]) -> str:
    """The rows as Markdown."""
    head = "| deeds | settings | its `up` | salt | master key | password | database | `up`s to go on | way back |"
    lines = [
        f"| {row.attack or '-'} | {row.settings} | {'refused' if row.refused else 'went through'} | {row.salt} "
        f"| {row.master_key} | {row.password} | {row.database} | {row.ups or 'none'} | {row.back or '-'} |"
        for row in rows
    ]
    return "\n".join([head, "|---|---|---|---|---|---|---|---|---|", *lines, ""])


_PAGE = """# Attacks on the salt

Written by this command, from real `up`s in sandboxes. The seed draws the attacks: first each deed alone, then mixtures.

<!-- run: tests/rehearsal/test_attacks.py::test_no_attack_changes_the_salt -->
```sh
python -m tests.rehearsal.attacks --seed {seed} --count {count} --out docs/attacks.md
```

The attacks meet one stack, with `protect: true` and a second copy of the salt. Each attack begins with what the attack before it left. Somebody
does the deeds, with the stock CLI or at Google, and then runs `up` under the changed settings, with neither policies nor guard: that is "its
`up`". Then the settings are put back, and `up` is run up to two times. "Way back" says what it took beyond that, in the words of
[operations.md](operations.md); *recover* is what stands under "The state is lost". The salt is *kept* if Secret Manager never held another
value that this program made, and pods were never given another one.

{table}"""


def under_attack(sandboxes: Sandboxes, attacks: Iterator[tuple[list[str], str]]) -> Iterator[Row]:
    """The outcome of each attack. They meet one stack, so that what one leaves meets the next; a lost one is made anew."""
    for first in attacks:
        with sandboxes.forked("dev") as sandbox:
            sandbox.up(config=BASE).succeeded()
            base = BASE
            for deeds, settings in chain([first], attacks):
                row = attack(sandbox, deeds, settings, base)
                yield row
                if not row.held:
                    break
                base = row.base


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.rehearsal.attacks", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=36)
    parser.add_argument("--first", type=int, default=1, help="go on with this one of them")
    parser.add_argument("--out", type=Path)
    parser.add_argument(
        "--folder", type=Path, help="where the sandboxes are; they stay there (default: they do not)"
    )
    options = parser.parse_args()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="attacks-") as folder:
        sandboxes = Sandboxes(TemporaryFolders(options.folder or Path(folder)))
        try:
            attacks = iter(drawn(options.seed, options.count)[options.first - 1 :])
            for row in under_attack(sandboxes, attacks):
                rows.append(row)
                print(table(rows[-1:]).splitlines()[-1], flush=True)
                if options.out:
                    page = _PAGE.format(seed=options.seed, count=options.count, table=table(rows))
                    options.out.write_text(page)
        finally:
            sandboxes.close()
    return 0 if all(row.held for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
