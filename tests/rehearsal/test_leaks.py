"""A rotation shows no value, old or new, wherever it leaves something; and the search that says so finds what leaks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import yaml

from sandbox.environment import environment, make_directories
from sandbox.paths import REPOSITORY, Home
from sandbox.plugins.shims import write_shims
from sandbox.toolchain.build import ensure
from tests.support import leaks
from tests.support.driver import Sandbox

ROTATED = {
    "llm-gateway:secrets": {
        "masterKeyGeneration": 2,
        "databasePasswordGeneration": 2,
        "vllmApiKeyGeneration": 2,
    },
}
# As an engine of a user's has it: with the backups of the state.
NO_BACKUPS = "PULUMI_DIY_BACKEND_DISABLE_CHECKPOINT_BACKUPS"
WITH_BACKUPS = ("exec", "--", "env", "-u", NO_BACKUPS, "pulumi")
UP = ("up", "--yes", "--skip-preview", "--diff")
BOTH = """
import pulumi
import pulumi_random as random

keepers = {"generation": pulumi.Config().get("generation") or "1"}
pulumi.export("password", random.RandomPassword("p", length=33, special=False, keepers=keepers).result)
pulumi.export("bytes", random.RandomBytes("b", length=24, keepers=keepers).hex)
"""


def stored(sandbox: Sandbox) -> dict[str, str]:
    """Every value that Secret Manager holds, by version."""
    names = [row["name"] for row in sandbox.cloud.list("secretVersion")]
    return {name: sandbox.secret(name.split("/")[3], name.rpartition("/")[2]) for name in names}


def test_a_rotation_shows_no_value(own_dev: Sandbox) -> None:
    log = own_dev.home.event_log("dev", "up")
    with leaks.Processes(own_dev.home) as processes:
        printed = own_dev.run("preview", config=ROTATED).succeeded().text
        printed += own_dev.run("exec", "--", "pulumi", "preview", "--diff").succeeded().text
        log.unlink()
        printed += own_dev.run(*WITH_BACKUPS, *UP, "--event-log", str(log)).succeeded().text
        own_dev.run("report").succeeded()
    values = stored(own_dev)
    assert len([name for name in values if name.endswith("/2")]) == 3
    preview = own_dev.home.event_log("dev", "preview")
    command = [sys.executable, "-m", "tools.review", "comment", str(preview), "--stack", "dev"]
    comment = subprocess.run(
        [*command, "--diff", str(preview.with_suffix(".diff"))],
        cwd=REPOSITORY,
        capture_output=True,
        check=True,
    )
    places = leaks.files(own_dev.root.parent, own_dev.home) | processes.places
    places |= {"printed": printed.encode(), "comment": comment.stdout}
    assert leaks.search(values, places) == []
    # All of it was there to be searched.
    assert "gateway-secrets-litellm-master-key" in printed
    for part in (
        "/history/",
        "/backups/",
        "stacks/llm-gateway/dev.json",
        "dev-up.jsonl",
        "dev-preview.diff",
        "/report",
        "/logs/",
        "cmdline ",
        "environ ",
    ):
        assert any(part in place and content for place, content in places.items()), part
    assert leaks.search({"a name": "gateway-secrets-litellm-master-key"}, {"comment": comment.stdout})


def test_the_search_finds_a_value_that_is_an_id(tmp_path: Path) -> None:
    """RandomBytes shows its value as base64 of bytes known as hex; a RandomPassword beside it shows none."""
    home, program = Home(tmp_path / "home", "both"), tmp_path / "program"
    make_directories(home)
    write_shims(home, ensure())
    program.mkdir()
    runtime = {"name": "python", "options": {"virtualenv": sys.prefix}}
    (program / "Pulumi.yaml").write_text(yaml.safe_dump({"name": "both", "runtime": runtime}))
    (program / "__main__.py").write_text(BOTH)
    env = environment(home, "dev")
    del env["PULUMI_STACK"], env["PULUMI_OPTION_CONFIG_FILE"], env[NO_BACKUPS]

    def pulumi(*arguments: str) -> str:
        done = subprocess.run(
            [home.bin / "pulumi", *arguments], cwd=program, env=env, text=True, capture_output=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    pulumi("stack", "init", "dev")
    pulumi(*UP, "--event-log", str(tmp_path / "up.jsonl"))
    pulumi("config", "set", "generation", "2")
    printed = pulumi("preview", "--diff")
    values = json.loads(pulumi("stack", "output", "--json", "--show-secrets"))
    found = leaks.search(values, leaks.files(tmp_path, home) | {"printed": printed.encode()})
    for place in ("/stacks/both/dev.json (", "/history/", "/backups/", "up.jsonl", "printed"):
        assert any(place in line for line in found), place
    assert {line.split(" is in ")[0] for line in found} == {"bytes"}
    assert {line.rpartition(" (")[2] for line in found} == {"bytes of the hex, base64 at offset 0)"}
