"""The comment on a pull request, from recorded previews; hostile values have no effect in it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from sandbox.paths import REPOSITORY
from tools.review import guard
from tools.review.comment import LIMIT, comment
from tools.review.events import Change, Operation, PolicyResult, Step, read
from tools.review.model import review

DATA = Path(__file__).parent / "data"
ROTATED_KEY = DATA / "preview-rotated-key.jsonl"
MARKDOWN = MarkdownIt("commonmark").enable("table")
HOSTILE = "a|b\\|c`d``e``` <script>x</script> <!-- llm-gateway --> @all\n| new | row |\n```\n</details>"


def operation(*steps: Step, **fields: Any) -> Operation:
    empty: dict[str, Any] = {"outputs": {}, "outputs_before": {}, "policies": [], "policies_checked": set()}
    ended: dict[str, Any] = {"diagnostics": [], "result": "succeeded", "preview": True, "duration": 1}
    made: dict[str, Any] = {"steps": list(steps), **empty, **ended, **fields}
    return Operation(**made)


def step(op: str, name: str = "pool", *changed: Change, protected: bool = False) -> Step:
    return Step(
        urn=f"urn:pulumi:dev::p::t:m:T::{name}",
        name=name,
        type="t:m:T",
        parent="",
        component=False,
        op=op,
        protected=protected,
        was_protected=protected,
        started=0,
        ended=0,
        changed=list(changed),
        done=True,
    )


def test_a_rotated_key() -> None:
    text = comment(review(read(ROTATED_KEY)), "dev", diff="the diff")
    versions = "`litellm-master-key=2,litellm-salt-key=1,vllm-api-key=1`"
    assert text.splitlines() == [
        "<!-- llm-gateway preview: dev -->",
        "**Preview of `dev`: 2 to replace, 3 to update, 46 unchanged**",
        "",
        "| | resource | type | what changes |",
        "| --- | --- | --- | --- |",
        "| **replace** | `secrets-litellm-master-key` | `random:index/randomPassword:RandomPassword` | "
        "`keepers.generation` `2` → `3` |",
        "| **replace** | `secrets-litellm-master-key` | `gcp:secretmanager/secretVersion:SecretVersion` | "
        "`secretData` `[secret]` → `[known after up]` |",
        "| **update** | `secret-sync-litellm-secrets` | `kubernetes:external-secrets.io/v1:ExternalSecret` | "
        "`spec.data[0].remoteRef.version` `2` → `[known after up]` |",
        "| **update** | `secret-sync-litellm-secrets-synced` | `kubernetes:core/v1:ConfigMap` | "
        f"`metadata.annotations.llm-gateway/secret-versions` {versions} → `[known after up]` |",
        "| **update** | `litellm-release` | `kubernetes:helm.sh/v3:Release` | "
        f"`values.podAnnotations.llm-gateway/litellm-secrets` {versions} → `[known after up]` |",
        "",
        "<details><summary>Full diff</summary>",
        "",
        "```text",
        "the diff",
        "```",
        "",
        "</details>",
    ]


def test_a_wrong_setting() -> None:
    text = comment(review(read(DATA / "preview-wrong-setting.jsonl")), "dev")
    assert text.splitlines() == [
        "<!-- llm-gateway preview: dev -->",
        "**Preview of `dev`: failed**",
        "",
        "**Errors**",
        "",
        "```text",
        "error: Pulumi.dev.yaml: 1 wrong setting(s); nothing was touched.",
        "  llm-gateway:models: List should have at least 1 item after validation, not 0 (it is []).",
        "    What would happen: the gateway would answer no request.",
        "    Write instead: - {alias: qwen-local, inputCostPerToken: 0.00000005, outputCostPerToken: 0.0000002, "
        "vllm: {model: Qwen/Qwen2.5-0.5B-Instruct}}",
        "an unhandled error occurred: program exited with non-zero exit code: 1",
        "```",
    ]


def test_no_change_is_one_line() -> None:
    text = comment(review(operation(step("same"), step("read"))), "dev", diff="nothing")
    assert text == "<!-- llm-gateway preview: dev -->\n**Preview of `dev`: no changes, 2 resources**\n"


def test_what_must_not_be_missed_comes_first() -> None:
    steps = [step(op, op, protected=True) for op in ("same", "update", "create", "replace", "delete")]
    text = comment(review(operation(*steps)), "prod")
    assert "1 to delete, 1 to replace, 1 to create, 1 to update, 1 unchanged" in text
    rows = [line for line in text.splitlines() if line.startswith("| **")]
    assert [row.split("**")[1] for row in rows] == ["delete", "replace", "create", "update"]
    assert "**Touches what is protected:** `delete` (delete), `replace` (replace), `update` (update)" in text


def test_what_failed_in_a_preview_is_not_to_be_done() -> None:
    failed = replace(step("update"), failed=True)
    assert review(operation(failed, result="failed")).headline == "failed, 1 failed, 0 unchanged"


def test_outputs_that_other_stacks_read() -> None:
    before = {"a": 1, "b": [1], "c": "x"}
    changes = operation(step("same"), outputs={"a": 1, "b": [1, 2]}, outputs_before=before)
    text = comment(review(changes), "dev")
    assert "2 outputs changed" in text
    assert "| **update** | `b` | `output` | `b[1]` + `2` |" in text
    assert "| **delete** | `c` | `output` | `c` - `x` |" in text


def test_policies() -> None:
    checked = {("pack", "pinned"), ("pack", "bounded")}
    text = comment(review(operation(step("create"), policies_checked=checked)), "dev")
    assert "\n\nPolicies: 2 checked, none violated\n" in text
    violated = PolicyResult("pack", "pinned", "urn:pulumi:dev::p::t::image", "mandatory", "latest is no tag")
    text = comment(review(operation(policies=[violated], policies_checked=checked, result="failed")), "dev")
    shown = "```text\nmandatory: pinned, image: latest is no tag\n```"
    assert f"**Policies: 2 checked, 1 violated**\n\n{shown}" in text


def test_the_guard_stops_a_replaced_database() -> None:
    database = replace(step("replace", "postgres-cluster"), type="kubernetes:postgresql.cnpg.io/v1:Cluster")
    preview = operation(database)
    text = comment(review(preview, guard.findings(preview)), "dev")
    assert "**Stopped by the guard**\n\n```text\npostgres-cluster" in text
    assert "Stopped" not in comment(review(preview, guard.findings(preview, ["postgres-cluster"])), "dev")


def test_hostile_values_are_text() -> None:
    change = Change(f"labels.{HOSTILE}", "update", HOSTILE, {"x": HOSTILE})
    harmless = replace(change, path="labels.x", old="x", new={"x": "x"})
    pages: list[str] = []
    for shown, text in ((change, HOSTILE), (harmless, "x")):
        policy = PolicyResult("pack", "p", "", "mandatory", text)
        preview = operation(step("update", text, shown), policies=[policy])
        pages.append(MARKDOWN.render(comment(review(preview), "dev", diff=text)))
    structure = [[token.type for token in MARKDOWN.parse(page)] for page in pages]
    assert structure[0] == structure[1]
    hostile, plain = pages
    for tag in ("<td>", "<code", "<pre>", "<details>", "</details>", "<script", "<!--"):
        assert hostile.count(tag) == plain.count(tag), hostile
    assert "a|b" in hostile


def test_a_long_diff_is_cut_at_githubs_limit() -> None:
    diff = "\n".join(f"{number} ````" for number in range(20_000))
    text = comment(review(operation(step("update"))), "dev", diff=diff)
    assert LIMIT - 300 < len(text) <= LIMIT
    assert text.rstrip().endswith("</details>")
    assert "of 20000 lines; `make preview` and the workflow's log have all." in text
    assert MARKDOWN.render(text).count("<pre>") == 1


def test_any_number_of_changes_fits() -> None:
    policies = [PolicyResult("pack", f"p{n}", "", "mandatory", "|" * 5_000) for n in range(100)]
    steps = [step("update", "|" * 300, Change("|" * 300, "update", "|" * 99, "|" * 99)) for _ in range(2_000)]
    text = comment(review(operation(*steps, policies=policies)), "dev", diff="x\n" * 100_000)
    assert len(text) <= LIMIT
    assert "and 1990 more." in text
    assert "cut, " in text


@pytest.mark.parametrize("name", ["dev -->", "", "a/b"])
def test_a_stack_that_cannot_be_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is no stack's name"):
        comment(review(operation()), name)


def ran(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tools.review", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, input=stdin, capture_output=True, text=True, check=False)


def test_the_command(tmp_path: Path) -> None:
    diff = tmp_path / "diff"
    diff.write_text("the diff\n")
    shown = ran("comment", str(ROTATED_KEY), "--stack", "dev", "--diff", str(diff), "--kind", "drift")
    assert shown.stdout == comment(review(read(ROTATED_KEY)), "dev", "drift", "the diff")
    table = ran("table", str(ROTATED_KEY))
    assert "Preview: 2 to replace, 3 to update, 46 unchanged" in table.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["table", "none.jsonl"], "none.jsonl is no event log that can be read: "),
        (["table", "pyproject.toml"], "pyproject.toml is no event log that can be read: "),
        (["comment", str(ROTATED_KEY), "--stack", "a/b"], "no comment: 'a/b' is no stack's name"),
        (["comment", str(ROTATED_KEY), "--stack", "dev", "--diff", "none.diff"], "no comment: "),
    ],
)
def test_the_command_says_what_it_cannot_read(arguments: list[str], said: str) -> None:
    done = ran(*arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: {said}")


def test_the_command_names_the_environments_of_a_change() -> None:
    assert json.loads(ran("stacks").stdout) == ["dev", "prod"]
    settings = ran("stacks", "--changed-files", "-", stdin="Pulumi.prod.yaml\ndocs/network.md\n")
    assert json.loads(settings.stdout) == ["prod"]
