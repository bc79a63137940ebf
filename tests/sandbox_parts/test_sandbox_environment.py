"""What a process of the sandbox sees of its user, and what it may reach."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from sandbox.cluster.base_objects import nodes, region_of
from sandbox.cluster.loopback import require_loopback
from sandbox.environment import environment, make_directories, user_path
from sandbox.errors import SandboxError
from sandbox.paths import Home
from sandbox.processes import is_ours, python_command

USER = {
    "PATH": "/opt/tools:/usr/bin",
    "HOME": "/home/ada",
    "TERM": "xterm",
    "LC_ALL": "C.UTF-8",
    "GOOGLE_APPLICATION_CREDENTIALS": "/home/ada/key.json",
    "GOOGLE_OAUTH_ACCESS_TOKEN": "ya29.token",
    "CLOUDSDK_CORE_PROJECT": "prod",
    "AWS_SECRET_ACCESS_KEY": "aws",
    "PULUMI_ACCESS_TOKEN": "pul-token",
    "PULUMI_HOME": "/home/ada/.pulumi",
    "PULUMI_CONFIG_PASSPHRASE": "user-passphrase",
    "KUBECONFIG": "/home/ada/.kube/config",
    "KUBE_TOKEN": "kube",
    "HELM_KUBETOKEN": "helm",
    "HTTPS_PROXY": "http://proxy:3128",
    "http_proxy": "http://proxy:3128",
    "SOME_NEW_CLOUD_TOKEN": "unheard-of",
}


def test_nothing_of_the_users_accounts_gets_in(tmp_path: Path) -> None:
    home = Home(tmp_path)
    env = environment(home, "dev", USER)
    kept = {name: value for name, value in env.items() if USER.get(name) == value}
    assert kept == {"TERM": "xterm", "LC_ALL": "C.UTF-8"}
    hidden = {name for name in USER if "TOKEN" in name or "AWS" in name or "roxy" in name.lower()}
    assert not set(env) & hidden
    assert env["PATH"].split(os.pathsep) == [str(home.bin), "/opt/tools", "/usr/bin"]


def test_every_location_is_in_the_home(tmp_path: Path) -> None:
    env = environment(Home(tmp_path), "qa", USER)
    for name in ("HOME", "KUBECONFIG", "PULUMI_HOME", "PULUMI_CONFIG_PASSPHRASE_FILE", "CLOUDSDK_CONFIG"):
        assert Path(env[name]).is_relative_to(tmp_path), name
    assert env["PULUMI_BACKEND_URL"] == (tmp_path / "state").as_uri()
    assert env["PULUMI_OPTION_CONFIG_FILE"] == str(tmp_path / "stacks/llm-gateway/Pulumi.qa.yaml")
    assert env["PULUMI_STACK"] == "qa"


def test_the_programs_of_a_surrounding_sandbox_are_not_the_users() -> None:
    assert user_path({"PATH": "/outer/bin:/usr/bin:", "LLM_GATEWAY_SANDBOX": "/outer"}) == "/usr/bin"


def test_the_home_is_closed_to_others_and_its_passphrase_is_made_once(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    make_directories(home)
    first = home.passphrase.read_text()
    make_directories(home)
    assert home.passphrase.read_text() == first
    assert len(first) >= 32
    assert stat.S_IMODE(home.passphrase.stat().st_mode) == 0o600
    assert stat.S_IMODE(home.root.stat().st_mode) == 0o700


@pytest.mark.parametrize("server", ["https://127.0.0.1:6443", "https://localhost", "https://[::1]:1"])
def test_this_machine_may_be_talked_to(server: str) -> None:
    assert require_loopback(server) == server


@pytest.mark.parametrize(
    "server",
    ["https://34.90.1.2", "https://127.0.0.1.evil.test", "https://localhost@10.0.0.1", "127.0.0.1:6443", ""],
)
def test_anything_else_may_not(server: str) -> None:
    with pytest.raises(SandboxError, match="refused to talk to"):
        require_loopback(server)


def test_only_processes_of_the_home_are_ours(tmp_path: Path) -> None:
    home = Home(tmp_path / "a")
    other = Home(tmp_path / "ab")
    assert is_ours(python_command(home, "sandbox.emulators"), home)
    assert is_ours([f"{home.kwok}/clusters/x/bin/etcd", "--name=node0"], home)
    for command in (
        python_command(other, "sandbox.emulators"),
        [f"{other.kwok}/clusters/x/bin/etcd"],
        ["tail", "-f", f"{home.logs}/daemon.log"],
        ["vim", f"{home.kwok}/options.yaml"],
        ["etcd", f"--data-dir={home.kwok}/clusters/x/etcd"],
        [],
    ):
        assert not is_ours(command, home)


@pytest.mark.parametrize("location", ["europe-west4", "europe-west4-b"])
def test_the_cpu_pool_spans_three_zones(location: str) -> None:
    assert region_of(location) == "europe-west4"
    made = nodes("p", "platform-dev", location)
    zones = [node["metadata"]["labels"]["topology.kubernetes.io/zone"] for node in made]
    assert zones == ["europe-west4-a", "europe-west4-b", "europe-west4-c"]
    assert len({node["metadata"]["name"] for node in made}) == 3
