"""What every workflow must hold to; actionlint, in `make lint`, checks that GitHub can run them."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox.paths import REPOSITORY
from sandbox.toolchain.build import Manifest

GITHUB = REPOSITORY / ".github"
FILES = sorted(GITHUB.rglob("*.yml"))
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
# The jobs that may act in Google Cloud or write in the repository. All others may at most read the code.
PERMISSIONS = {
    ("preview", "preview"): {"contents": "read", "id-token": "write"},
    ("preview", "comment"): {"pull-requests": "write"},
    ("deploy", "plan"): {"contents": "read", "id-token": "write"},
    ("deploy", "deploy"): {"contents": "read", "id-token": "write"},
    ("drift", "drift"): {"contents": "read", "id-token": "write", "issues": "write"},
}


def load(path: Path) -> dict[str, Any]:
    content = yaml.safe_load(path.read_text())
    # YAML 1.1 takes the key `on` for true.
    return {("on" if key is True else key): value for key, value in content.items()}


def jobs() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path in WORKFLOWS:
        for name, job in load(path)["jobs"].items():
            yield path.stem, name, job


def steps(path: Path) -> list[dict[str, Any]]:
    content = load(path)
    if "runs" in content:
        return content["runs"]["steps"]
    return [step for job in content["jobs"].values() for step in job["steps"]]


def step(workflow: str, job: str, name: str) -> dict[str, Any]:
    content = load(GITHUB / "workflows" / f"{workflow}.yml")
    return next(each for each in content["jobs"][job]["steps"] if each.get("name") == name)


def test_the_workflows_are_there() -> None:
    assert [path.stem for path in WORKFLOWS] == ["deploy", "drift", "preview", "rehearse"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_actions_are_pinned_by_commit_and_say_their_version(path: Path) -> None:
    used = re.findall(r"uses: (.*)", path.read_text())
    assert used
    for action in used:
        assert re.fullmatch(r"\./\.github/actions/\w+|[\w./-]+@[0-9a-f]{40} # v\d+(\.\d+\.\d+)?", action)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_nothing_untrusted_is_pasted_into_a_script(path: Path) -> None:
    for each in steps(path):
        assert "${{" not in each.get("run", ""), each


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_there_is_no_key(path: Path) -> None:
    text = path.read_text()
    assert "credentials_json" not in text
    assert "secrets." not in text


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_failed_pipe_fails_its_step(path: Path) -> None:
    assert load(path)["defaults"] == {"run": {"shell": "bash"}}  # named, GitHub runs it with pipefail


@pytest.mark.parametrize(("workflow", "name", "job"), list(jobs()), ids=lambda part: str(part)[:20])
def test_jobs_may_do_what_they_need_and_nothing_else(workflow: str, name: str, job: dict[str, Any]) -> None:
    default = load(GITHUB / "workflows" / f"{workflow}.yml")["permissions"]
    allowed = job.get("permissions", default)
    assert allowed == PERMISSIONS.get((workflow, name), {"contents": "read"})
    assert job["timeout-minutes"] <= 120
    for each in job["steps"]:
        if each.get("uses", "").startswith("actions/checkout@"):
            assert each["with"]["persist-credentials"] is False


@pytest.mark.parametrize(("workflow", "name", "job"), list(jobs()), ids=lambda part: str(part)[:20])
def test_one_at_a_time_for_a_stack(workflow: str, name: str, job: dict[str, Any]) -> None:
    if "stack" in job.get("strategy", {}).get("matrix", {}):
        assert "${{ matrix.stack }}" in job["concurrency"]["group"]
        # A deployment that is cancelled half-way must be repaired by hand.
        assert job["concurrency"].get("cancel-in-progress", False) is (name not in ("deploy", "comment"))


def test_nothing_of_a_forks_runs_with_an_identity() -> None:
    content = load(GITHUB / "workflows" / "preview.yml")
    assert set(content["on"]) == {
        "pull_request"
    }  # pull_request_target would hand forks the repository's rights
    first = content["jobs"].pop("stacks")
    assert first["if"] == "github.event.pull_request.head.repo.full_name == github.repository"
    for job in content["jobs"].values():
        assert "stacks" in job["needs"]
        # A condition with a status function no longer implies that what is needed succeeded.
        assert "cancelled()" not in job["if"] or "needs.stacks.result == 'success'" in job["if"]


def test_identities_are_apart() -> None:
    environments = {(w, n): job.get("environment") for w, n, job in jobs() if "environment" in job}
    reading = "${{ matrix.stack }}-preview"
    assert environments == {
        ("preview", "preview"): reading,
        ("deploy", "plan"): reading,
        ("drift", "drift"): reading,
        ("deploy", "deploy"): "${{ matrix.stack }}",
    }


def test_only_deploy_changes_anything_and_only_as_planned() -> None:
    changing = [
        (path.stem, each["run"])
        for path in FILES
        for each in steps(path)
        if "pulumi up" in each.get("run", "")
    ]
    assert [name for name, _ in changing] == ["deploy"]
    assert "--plan plan.json" in changing[0][1]
    assert set(load(GITHUB / "workflows" / "deploy.yml")["on"]) == {"push", "workflow_dispatch"}
    assert load(GITHUB / "workflows" / "deploy.yml")["on"]["push"] == {"branches": ["main"]}


def test_the_cli_is_the_one_that_is_rehearsed() -> None:
    (cli,) = [
        each
        for each in steps(GITHUB / "actions/pulumi/action.yml")
        if "pulumi/actions" in each.get("uses", "")
    ]
    assert f"v{cli['with']['pulumi-version']}" == Manifest.read().version("pulumi")


def test_the_toolchain_is_kept_by_what_it_is_made_of() -> None:
    kept = [
        each["with"]
        for each in steps(GITHUB / "workflows/rehearse.yml")
        if "actions/cache" in each.get("uses", "")
    ]
    assert len(kept) == 2
    assert kept[0]["key"] == kept[1]["key"]
    assert kept[0]["path"] == kept[1]["path"] == "${{ env.LLM_GATEWAY_CACHE }}/toolchain"
    for file in re.findall(r"'([^']+)'", kept[0]["key"]):
        assert (REPOSITORY / file).is_file()
    assert "'sandbox/toolchain/go/go.mod', 'sandbox/toolchain/go/go.sum'" in kept[0]["key"]


def scripted(tmp_path: Path, script: str, answers: dict[str, str], **variables: str) -> list[list[str]]:
    """Run a step with a `gh` that answers by its first two arguments; returns the calls it got."""
    gh = tmp_path / "gh"
    calls = tmp_path / "calls"
    gh.write_text(
        "#!/usr/bin/env python3\n"
        "import json, pathlib, sys\n"
        f"pathlib.Path({str(calls)!r}).open('a').write(json.dumps(sys.argv[1:]) + '\\n')\n"
        f"print({answers!r}.get(' '.join(sys.argv[1:3]), ''))\n"
    )
    gh.chmod(0o700)
    environment = {**variables, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    # As GitHub runs `shell: bash`.
    shell = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
    subprocess.run(shell, cwd=tmp_path, env=environment, check=True)
    return [json.loads(line) for line in calls.read_text().splitlines()]


@pytest.mark.parametrize(
    ("posted", "last"),
    [
        ("", ["api", "--silent", "-X", "POST", "comments", "-F", "body=@comment.md"]),
        ("7\n9", ["api", "--silent", "-X", "PATCH", "comment/7", "-F", "body=@comment.md"]),
    ],
    ids=["first", "again"],
)
def test_one_comment_is_posted_then_edited(tmp_path: Path, posted: str, last: list[str]) -> None:
    script = step("preview", "comment", "Post it, or edit the one that is there")
    calls = scripted(
        tmp_path, script["run"], {"api --paginate": posted}, COMMENTS="comments", COMMENT="comment"
    )
    assert calls[0][:3] == ["api", "--paginate", "comments"]
    assert calls[1:] == [last]


@pytest.mark.parametrize(
    ("result", "open_", "then"),
    [
        ("success", "", []),
        ("success", "4", ["issue close"]),
        ("failure", "4", ["issue edit"]),
        ("failure", "", ["label create", "issue create"]),
    ],
)
def test_drift_is_one_issue(tmp_path: Path, result: str, open_: str, then: list[str]) -> None:
    script = step("drift", "drift", "Open, edit or close the issue")
    calls = scripted(tmp_path, script["run"], {"issue list": open_}, RESULT=result, STACK="dev")
    assert [" ".join(call[:2]) for call in calls] == ["issue list", *then]


@pytest.mark.parametrize(("workflow", "kind"), [("preview", "preview"), ("drift", "drift")])
def test_the_marker_is_the_renderers(workflow: str, kind: str) -> None:
    text = (GITHUB / "workflows" / f"{workflow}.yml").read_text()
    assert f'MARKER: "<!-- llm-gateway {kind}: ${{{{ matrix.stack }}}} -->"' in text
