"""A rotation shows no value, old or new, wherever it leaves something; and the search that says so finds what leaks."""

from __future__ import annotations

import subprocess
import sys

from sandbox.paths import REPOSITORY
from tests.support import leaks
from tests.support.driver import Sandbox

ROTATED = {
    "llm-gateway:secrets": {
        "masterKeyGeneration": 2,
        "databasePasswordGeneration": 2,
        "vllmApiKeyGeneration": 2,
    },
}
# As an engine of a user's has it: with the history of updates and the backups of the state.
WITH_HISTORY = ("exec", "--", "env", "-u", "PULUMI_DIY_BACKEND_DISABLE_CHECKPOINT_BACKUPS", "pulumi")
UP = ("up", "--yes", "--skip-preview", "--diff")
LEAKING = """
import pulumi
import pulumi_gcp as gcp
import pulumi_random as random

import settings

project = settings.load().gcp.project
google = pulumi.ResourceOptions(provider=gcp.Provider("google", project=project))
key = random.RandomBytes("key", length=24, opts=pulumi.ResourceOptions(provider=random.Provider("random")))
secret = gcp.secretmanager.Secret("key", project=project, secret_id="key", replication={"auto": {}}, opts=google)
gcp.secretmanager.SecretVersion("key", secret=secret.id, secret_data=key.hex, opts=google)
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
        printed += own_dev.run(*WITH_HISTORY, *UP, "--event-log", str(log)).succeeded().text
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


def test_a_value_that_is_an_id_is_found_and_refused(empty: Sandbox) -> None:
    """RandomBytes shows its value in state, history and diffs: the search must find it, the policies refuse it."""
    (empty.root / "__main__.py").write_text(LEAKING)
    refused = empty.run("preview").failed().text
    assert "key is a RandomBytes: its id is its value in base64" in refused
    log = empty.home.event_log("dev", "up")
    printed = empty.run(*WITH_HISTORY, *UP, "--event-log", str(log)).succeeded().text
    files = leaks.files(empty.root.parent, empty.home)
    found = leaks.search(stored(empty), files | {"printed": printed.encode()})
    for part in ("stacks/llm-gateway/dev.json (", "/history/", "dev-up.jsonl"):
        assert any(part in line and "bytes of the hex, base64 at offset 0" in line for line in found), part
