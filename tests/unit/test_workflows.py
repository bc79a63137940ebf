"""What every workflow must hold to; actionlint, in `make lint`, checks that GitHub can run them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatchcase
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml

import versions
from sandbox.paths import REPOSITORY
from sandbox.toolchain.build import Manifest
from tests.support.driver import NOT_IN_GIT
from tests.unit.test_policy import BY_NAME, violations

GITHUB = REPOSITORY / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
FILES = [*sorted((GITHUB / "actions").glob("*/action.yml")), *WORKFLOWS]
# The jobs that may act in Google Cloud or write in the repository. All others may at most read the code.
PERMISSIONS = {
    ("preview", "preview"): {"contents": "read", "id-token": "write"},
    ("preview", "comment"): {"pull-requests": "write"},
    ("deploy", "plan"): {"contents": "read", "id-token": "write"},
    ("deploy", "deploy"): {"contents": "read", "id-token": "write"},
    ("drift", "drift"): {"contents": "read", "id-token": "write", "issues": "write"},
    ("nightly", "issue"): {"contents": "read", "issues": "write"},
    ("release", "release"): {"contents": "write"},
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
    return [step for job in content["jobs"].values() for step in job.get("steps", [])]


def step_named(file: str, name: str) -> dict[str, Any]:
    return next(step for step in steps(GITHUB / file) if step.get("name") == name)


def test_the_workflows_are_there() -> None:
    known = ["bumps", "deploy", "drift", "nightly", "preview", "rehearse", "release"]
    assert [path.stem for path in WORKFLOWS] == known


def test_actions_are_pinned_by_commit_and_say_their_version() -> None:
    ours = r"\./\.github/(actions/\w+|workflows/\w+\.yml)"
    used = [action for path in FILES for action in re.findall(r"uses: (.*)", path.read_text())]
    assert any("@" in action for action in used)
    for action in used:
        assert re.fullmatch(rf"{ours}|[\w./-]+@[0-9a-f]{{40}} # v\d+(\.\d+\.\d+)?", action)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_nothing_untrusted_is_pasted_into_a_script(path: Path) -> None:
    for step in steps(path):
        assert "${{" not in step.get("run", ""), step


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
    if "uses" in job:  # the called workflow's jobs keep the other rules themselves
        assert "secrets" not in job
        return
    assert job["timeout-minutes"] <= 120
    for step in job["steps"]:
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


@pytest.mark.parametrize(("workflow", "name", "job"), list(jobs()), ids=lambda part: str(part)[:20])
def test_one_at_a_time_for_a_stack(workflow: str, name: str, job: dict[str, Any]) -> None:
    if "stack" in job.get("strategy", {}).get("matrix", {}):
        assert "${{ matrix.stack }}" in job["concurrency"]["group"]
        # A deployment that is cancelled half-way must be repaired by hand.
        assert job["concurrency"].get("cancel-in-progress", False) is (name not in ("deploy", "comment"))


def test_a_push_deploys_what_it_is_of_and_the_first_one_deploys_all(tmp_path: Path) -> None:
    clone, output = shutil.copytree(REPOSITORY, tmp_path / "clone", ignore=NOT_IN_GIT), tmp_path / "output"
    commit = "git add --all && git -c user.name=a -c user.email=a@example.com commit --quiet -m a && git rev-parse HEAD"
    first = run(clone, f"git init --quiet && {commit}").stdout.strip()
    clone.joinpath("Pulumi.prod.yaml").open("a").write("# A change.\n")
    run(clone, commit).check_returncode()
    script = step_named("workflows/deploy.yml", "Which environments the push is of")["run"]
    for before, stacks in ((first, ["prod"]), ("0" * 40, ["dev", "prod"]), ("", ["dev", "prod"])):
        run(clone, script, BEFORE=before, GITHUB_OUTPUT=str(output)).check_returncode()
        assert output.read_text() == f"stacks={json.dumps(stacks)}\n"
        output.unlink()


def test_an_environment_waits_for_the_one_before_it() -> None:
    strategy = load(GITHUB / "workflows/deploy.yml")["jobs"]["deploy"]["strategy"]
    assert (strategy["max-parallel"], strategy.get("fail-fast", True)) == (1, True)


def test_nothing_of_a_forks_runs_with_an_identity() -> None:
    content = load(GITHUB / "workflows" / "preview.yml")
    # pull_request_target would hand forks the repository's rights.
    assert set(content["on"]) == {"pull_request"}
    first = content["jobs"].pop("stacks")
    assert first["if"] == "github.event.pull_request.head.repo.full_name == github.repository"
    for job in content["jobs"].values():
        assert "stacks" in job["needs"]
        # A condition with a status function no longer implies that what is needed succeeded.
        assert "cancelled()" not in job["if"] or "needs.stacks.result == 'success'" in job["if"]


def test_identities_are_apart() -> None:
    environments = {(w, n): job.get("environment") for w, n, job in jobs() if "environment" in job}
    assert environments == {
        # Of a pull request's code, and so of nothing that reads more than it must.
        ("preview", "preview"): "${{ matrix.stack }}-preview",
        ("deploy", "plan"): "${{ matrix.stack }}-drift",
        ("drift", "drift"): "${{ matrix.stack }}-drift",
        ("deploy", "deploy"): "${{ matrix.stack }}",
    }


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> list[list[str]]:
    """The commands of docs/environments.md that set up identities and GitHub, as a shell runs them for prod.

    Each is a list of words; a command's input is its last word.
    """
    tmp_path = tmp_path_factory.mktemp("commands")
    page = (REPOSITORY / "docs/environments.md").read_text()
    scripts = re.findall(r"```sh\n(.*?)```", page[page.index("## 3. Identities") :], re.DOTALL)
    recorder = tmp_path / "recorder"
    recorder.write_text(
        f"#!{sys.executable} -IS\n"
        "import json, pathlib, sys\n"
        "command = [pathlib.Path(sys.argv[0]).name, *sys.argv[1:]]\n"
        "command += [sys.stdin.read().strip()] if command[-1] == '-' else []\n"
        f"pathlib.Path({str(tmp_path / 'calls')!r}).open('a').write(json.dumps(command) + '\\n')\n"
        "outputs = {'secretNames': 'projects/1/secrets/litellm-salt-key', 'namespaces': 'llm-gateway'}\n"
        "if command[0] == 'pulumi':\n"
        "    print(json.dumps({'key': outputs.get(command[3], 'projects/1/secrets/litellm-key-a')}))\n"
        "if command[0] == 'jq':\n"
        "    print(*json.load(sys.stdin).values(), sep='\\n')\n"
    )
    recorder.chmod(0o700)
    for command in ("gcloud", "gh", "kubectl", "pulumi", "jq"):
        (tmp_path / command).symlink_to(recorder)
    names = {"STACK": "prod", "PROJECT": "p", "REPOSITORY": "o/r", "NUMBER": "1", "TEAM": "7", "BUCKET": "b"}
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    script = "\n".join(scripts)
    names |= {"KEY": "k", "COPY": "c", "COPY_PROJECT": "other", "LOCATION": "l", "NODES": "n"}
    done = run(tmp_path, script, PATH=path, **names)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in (tmp_path / "calls").read_text().splitlines()]


def roles(commands: list[list[str]], who: str) -> set[tuple[str, str]]:
    """What an identity is granted in Google Cloud: the kind of thing and the role."""
    granted = [words for words in commands if "add-iam-policy-binding" in words]
    return {
        (words[1] if words[0] == "gcloud" else words[0], words[words.index("--role") + 1])
        for words in granted
        if f"serviceAccount:pulumi-prod-{who}@p.iam.gserviceaccount.com" in words
    }


def test_a_previews_identity_only_views(commands: list[list[str]]) -> None:
    viewer = {
        ("storage", "roles/storage.objectViewer"),
        ("kms", "roles/cloudkms.cryptoKeyDecrypter"),
        ("projects", "roles/container.viewer"),
        ("projects", "roles/secretmanager.viewer"),
        ("projects", "roles/serviceusage.serviceUsageViewer"),
        ("secrets", "roles/secretmanager.viewer"),  # the salt's second copy, in another project
    }
    assert roles(commands, "preview") == viewer
    more = {("projects", "roles/iam.securityReviewer"), ("secrets", "roles/secretmanager.secretAccessor")}
    assert roles(commands, "drift") == viewer | more
    bound = [words for words in commands if words[1:3] == ["secrets", "add-iam-policy-binding"]]
    read = {words[3] for words in bound if words[-1] == "roles/secretmanager.secretAccessor"}
    assert read == {"litellm-salt-key", "litellm-key-a", "c"}
    in_cluster = [words for words in commands if words[0] == "kubectl"]
    assert {(*words[1:3], words[4]) for words in in_cluster} == {
        ("-n", "llm-gateway", "role"),
        ("-n", "llm-gateway", "rolebinding"),
    }
    assert [words[-1] for words in in_cluster if "--user" in words] == [
        "pulumi-prod-drift@p.iam.gserviceaccount.com"
    ]


def test_what_the_documents_grant_passes_the_policies(commands: list[list[str]]) -> None:
    """But for the deploy account, which makes the secrets."""
    check = BY_NAME["iam-is-per-secret"]
    for words in commands:
        if words[1:3] == ["projects", "add-iam-policy-binding"]:
            role, member = words[words.index("--role") + 1], words[words.index("--member") + 1]
            refused = violations(
                check.name, "gcp:projects/iAMMember:IAMMember", {"role": role, "member": member}
            )
            assert bool(refused) is (role == "roles/secretmanager.admin" and "-deploy@" in member), words


def test_reviewers_and_branches_guard_the_identities(commands: list[list[str]]) -> None:
    environments = {
        words[5].rpartition("/")[2]: json.loads(words[-1]) for words in commands if "--input" in words
    }
    reviewers = [{"type": "Team", "id": 7}]
    protected = {"protected_branches": True, "custom_branch_policies": False}
    assert environments == {
        "prod-preview": {"reviewers": reviewers},
        "prod-drift": {"deployment_branch_policy": protected},
        "prod": {"reviewers": reviewers, "deployment_branch_policy": protected},
    }


def test_only_deploy_changes_anything_and_only_as_planned() -> None:
    scripts = [(path.stem, step.get("run", "")) for path in FILES for step in steps(path)]
    ((name, script),) = [(name, script) for name, script in scripts if "pulumi up" in script]
    assert name == "deploy"
    assert "--plan plan.json" in script
    assert set(load(GITHUB / "workflows" / "deploy.yml")["on"]) == {"push", "workflow_dispatch"}
    assert load(GITHUB / "workflows" / "deploy.yml")["on"]["push"] == {"branches": ["main"]}


def test_the_cli_is_the_one_that_is_rehearsed() -> None:
    run_by = steps(GITHUB / "actions/pulumi/action.yml")
    (cli,) = [step for step in run_by if "pulumi/actions" in step.get("uses", "")]
    assert f"v{cli['with']['pulumi-version']}" == Manifest.read().version("pulumi")


def test_the_toolchain_is_kept_by_what_it_is_made_of() -> None:
    made, used = (
        next(step["with"] for step in steps(GITHUB / file) if "actions/cache" in step.get("uses", ""))
        for file in ("workflows/rehearse.yml", "actions/rehearsal/action.yml")
    )
    assert made["key"] == used["key"]
    assert made["path"] == used["path"] == "${{ env.LLM_GATEWAY_CACHE }}/toolchain"
    for file in re.findall(r"'([^']+)'", made["key"]):
        assert (REPOSITORY / file).is_file()
    assert "'sandbox/toolchain/go/go.mod', 'sandbox/toolchain/go/go.sum'" in made["key"]


def test_a_pull_request_gets_lint_and_the_whole_suite() -> None:
    content = load(GITHUB / "workflows/rehearse.yml")
    assert {"pull_request", "push", "workflow_call"} == content["on"].keys()
    runs = {
        name: [step["run"] for step in job["steps"] if "run" in step] for name, job in content["jobs"].items()
    }
    assert runs["checks"] == ["make lint test-unit"]
    assert content["jobs"]["checks"]["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]
    assert runs["suite"] == ["make test"]
    # A job's condition is the nightly run's alone: that checks no style.
    conditions = {name: job["if"] for name, job in content["jobs"].items() if "if" in job}
    assert conditions == {"checks": "${{ !inputs.real }}"}


def test_a_pull_request_that_raises_a_pin_is_rehearsed_with_what_it_raises() -> None:
    content = load(GITHUB / "workflows/bumps.yml")
    (paths,) = content["on"]["pull_request"].values()
    for pinned in (
        "versions.py",
        "pyproject.toml",
        "sandbox/cluster/crds.json",
        "sandbox/charts/vllm-stack/Chart.yaml",
    ):
        assert any(fnmatchcase(pinned, path) for path in paths), pinned
    for path in paths:
        assert list(REPOSITORY.glob(path)), f"{path} is no path of this repository"
    rehearsal = content["jobs"]["rehearse"]
    assert rehearsal == {"uses": "./.github/workflows/rehearse.yml", "with": {"real": True}}


def test_upstream_charts_are_compared_with_the_contract_charts() -> None:
    up = load(GITHUB / "workflows/rehearse.yml")["jobs"]["up"]
    assert up["env"]["OPTIONS"] == "${{ inputs.real && '--charts upstream' || '' }}"
    runs = [(step.get("if"), step["run"]) for step in up["steps"] if "run" in step]
    assert runs == [
        (None, 'make up "STACK=$STACK" "OPTIONS=$OPTIONS"'),
        ("inputs.real", '.venv/bin/python -m sandbox charts --stack "$STACK"'),
        ("always()", "make down"),
    ]


@pytest.mark.parametrize("missing", [None, versions.VALKEY_IMAGE])
def test_an_image_that_cannot_be_had_fails_and_is_named(
    tmp_path: Path, missing: versions.Image | None
) -> None:
    docker = tmp_path / "docker"
    docker.write_text(
        f'#!/bin/sh\n[ "$1 $2" = "manifest inspect" ] && [ "$3" != "{missing}" ] && echo "$3" >> {tmp_path}/asked\n'
    )
    docker.chmod(0o700)
    script = step_named("workflows/bumps.yml", "Every image is in its registry")["run"]
    shutil.copy(REPOSITORY / "versions.py", tmp_path)
    done = run(tmp_path, script, PATH=f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    found = [str(image) for image in versions.IMAGES if image != missing]
    assert (tmp_path / "asked").read_text().split() == found
    assert done.returncode == (1 if missing else 0), done.stderr
    assert re.findall("::error::(.*) of versions.py was not found", done.stdout) == [str(missing)] * bool(
        missing
    )


def test_the_nightly_run_takes_the_versions_that_the_program_is_written_for(tmp_path: Path) -> None:
    output = tmp_path / "output"
    pins = step_named("actions/rehearsal/action.yml", "The versions that the program is written for")
    run(REPOSITORY, pins["run"], GITHUB_OUTPUT=str(output))
    found = dict(line.split("=") for line in output.read_text().splitlines())
    action = (GITHUB / "actions/rehearsal/action.yml").read_text()
    used = re.findall(r"steps\.pins\.outputs\.([\w-]+)", action)
    assert sorted(used) == ["pulumi", "pulumi-kubernetes", "pulumi-random"]
    assert {name: found[name] for name in used} == {name: version(name) for name in used}


def run(folder: Path, script: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a step as GitHub runs `shell: bash`."""
    environment = {"PATH": os.environ["PATH"]} | variables
    shell = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
    return subprocess.run(shell, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def scripted(tmp_path: Path, script: str, answers: dict[str, str], **variables: str) -> list[list[str]]:
    """Run a step with a `gh` that answers by its first two arguments and its MARKER; returns the calls it got."""
    gh = tmp_path / "gh"
    calls = tmp_path / "calls"
    gh.write_text(
        "#!/usr/bin/env python3\n"
        "import json, os, pathlib, sys\n"
        f"pathlib.Path({str(calls)!r}).open('a').write(json.dumps(sys.argv[1:]) + '\\n')\n"
        f"print({answers!r}.get(' '.join([*sys.argv[1:3], os.environ.get('MARKER', '')]).strip(), ''))\n"
    )
    gh.chmod(0o700)
    done = run(tmp_path, script, PATH=f"{tmp_path}{os.pathsep}{os.environ['PATH']}", **variables)
    assert done.returncode == 0, done.stderr
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
    script = step_named("workflows/preview.yml", "Post it, or edit the one that is there")
    answers = {"api --paginate": posted}
    calls = scripted(tmp_path, script["run"], answers, COMMENTS="comments", COMMENT="comment")
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
def test_a_failing_check_is_one_issue(tmp_path: Path, result: str, open_: str, then: list[str]) -> None:
    script = step_named("actions/issue/action.yml", "Open, edit or close the issue")["run"]
    (tmp_path / "body.md").write_text("<!-- marker -->\ntext\n")
    about = {"LABEL": "drift", "TITLE": "Drift in dev", "ABOUT": "about", "BODY": "body.md"}
    calls = scripted(tmp_path, script, {"issue list <!-- marker -->": open_}, RESULT=result, **about)
    assert [" ".join(call[:2]) for call in calls] == ["issue list", *then]


def test_the_marker_of_a_preview_is_the_renderers() -> None:
    text = (GITHUB / "workflows/preview.yml").read_text()
    assert 'MARKER: "<!-- llm-gateway preview: ${{ matrix.stack }} -->"' in text


CHANGES = """# Changelog

## 0.3.0 (unreleased)

- Not out yet.

## 0.2.0 (2030-02-01)

- New: this.
- Gone: that.

## 0.1.0 (2030-01-01)

- The first.
"""


@pytest.mark.parametrize(
    ("tag", "notes"),
    [
        ("v0.2.0", "- New: this.\n- Gone: that."),
        ("v0.1.0", "- The first."),
        ("v0.3.0", None),  # says that it is unreleased
        ("v0.2", None),
        ("v0.4.0", None),
    ],
)
def test_a_releases_notes_are_its_section_of_the_changelog(
    tmp_path: Path, tag: str, notes: str | None
) -> None:
    (tmp_path / "CHANGELOG.md").write_text(CHANGES)
    done = run(tmp_path, step_named("workflows/release.yml", "The notes")["run"], TAG=tag)
    if notes is None:
        assert done.returncode == 1
        assert f"no section '## {tag[1:]} (<date>)'" in done.stdout
    else:
        assert (done.returncode, (tmp_path / "notes.md").read_text().strip()) == (0, notes)


def test_a_tag_that_is_not_the_version_is_refused() -> None:
    script = step_named("workflows/release.yml", "The tag is the version")["run"]
    current = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
    assert run(REPOSITORY, script, TAG=f"v{current}").returncode == 0
    refused = run(REPOSITORY, script, TAG="v9.9.9")
    assert refused.returncode == 1
    assert f"The tag is v9.9.9, and pyproject.toml says {current}" in refused.stdout


def test_a_failed_up_is_explained() -> None:
    up, why = step_named("workflows/deploy.yml", "Up"), step_named("workflows/deploy.yml", "Why")
    assert why["if"] == "${{ failure() && steps." + up["id"] + ".outcome == 'failure' }}"
    assert "--event-log up.jsonl" in up["run"]
    assert "-m tools.explain --events up.jsonl" in why["run"]


def test_a_release_comes_after_the_whole_rehearsal() -> None:
    content = load(GITHUB / "workflows/release.yml")
    assert content["on"] == {"push": {"tags": ["v*"]}}
    assert content["jobs"]["rehearse"]["uses"] == "./.github/workflows/rehearse.yml"
    assert "rehearse" in content["jobs"]["release"]["needs"]


def test_hooks_write_what_make_docs_writes() -> None:
    (local,) = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text())["repos"]
    assert local["repo"] == "local"
    commands = {hook["entry"].removeprefix(".venv/bin/python ") for hook in local["hooks"]}
    made = re.search(r"^docs:.*\n((?:\t.*\n)+)", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    assert made
    written = set(re.findall(r"\$\(VENV\) (.*)", made[1]))
    assert {command for command in commands if command.startswith("-m ")} == written


def test_owners_are_of_files_that_exist() -> None:
    lines = (GITHUB / "CODEOWNERS").read_text().splitlines()
    paths = [line.split()[0] for line in lines if line.startswith("/")]
    assert paths
    assert [path for path in paths if not (REPOSITORY / path[1:]).exists()] == []
