"""Dev for real, changed while it serves: no request is dropped, no spend is lost, and what the salt encrypted stays readable."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator, Sequence
from typing import Any

import httpx
import pytest

from sandbox.cluster import control_plane
from tests.support.driver import Sandbox
from tests.support.load import Answer, failures, is_accounted_for, loading
from tests.support.serving import (
    PODS_RUN,
    ask,
    calling,
    kubectl,
    new_keys,
    proxies,
    scale_postgres_operator,
)
from tests.support.waiting import wait_for
from versions import LITELLM_IMAGE

pytestmark = PODS_RUN

Json = dict[str, Any]
NEW_TAG = f"{LITELLM_IMAGE.tag}-stable"
SECRETS = "/api/v1/namespaces/llm-gateway/secrets"
STORED = "stored"
"""A model, and a credential with its API key, in the database: the salt encrypts both."""


@pytest.fixture(scope="module", autouse=True)
def stored(gateway: Sandbox) -> Iterator[None]:
    """A model, and its upstream's key as a credential, added over the admin API while these tests run."""
    with calling(gateway, gateway.secret("litellm-master-key")) as admin:
        values = {"api_key": gateway.secret("vllm-api-key")}
        credential = {"credential_name": STORED, "credential_values": values, "credential_info": {}}
        admin.post("/credentials", json=credential).raise_for_status()
        params = {
            "model": "hosted_vllm/Qwen/Qwen2.5-0.5B-Instruct",
            "api_base": "http://vllm-router-service.vllm.svc.cluster.local/v1",
            "litellm_credential_name": STORED,
        }
        model = {"model_name": STORED, "litellm_params": params}
        made = admin.post("/model/new", json=model).raise_for_status().json()
        wait_for(lambda: ask(admin, model=STORED).is_success)
    yield
    with calling(gateway, gateway.secret("litellm-master-key")) as admin:
        admin.post("/model/delete", json={"id": made["model_id"]}).raise_for_status()
        admin.delete(f"/credentials/{STORED}").raise_for_status()


def with_the_stored_key(sandbox: Sandbox) -> httpx.Response:
    """What the stored model answers, by whichever proxy serves now."""
    with calling(sandbox, sandbox.secret("litellm-master-key")) as admin:
        return ask(admin, model=STORED)


def test_rolling_changes_drop_nothing(gateway: Sandbox) -> None:
    """The image of the new tag is the same here: what is shown is the rollout to it, migration included."""
    before, keys = secrets(gateway), new_keys(gateway, 2)
    with loading(gateway.run("url").succeeded().text.strip(), keys) as answers:
        rolled_out(gateway, answers, {"litellm": {"retries": 1}, "secrets": {"masterKeyGeneration": 2}})
        gateway.patch("versions.py", f'"{LITELLM_IMAGE.tag}"', f'"{NEW_TAG}"')
        rolled_out(gateway, answers, {"secrets": {"databasePasswordGeneration": 2}})
    streamed, longest = sum(each.streamed for each in answers), max(each.seconds for each in answers)
    print(f"{len(answers)} requests, {streamed} streamed, longest {longest:.1f} s: {failures(answers)}")
    assert not failures(answers)
    is_accounted_for(gateway, answers, keys)
    (pod,) = (each["spec"]["containers"][0] for each in gateway.running("llm-gateway", "litellm"))
    assert pod["image"] == f"{LITELLM_IMAGE.repository}:{NEW_TAG}"
    assert all(value != before[name] for name, value in secrets(gateway).items())
    with calling(gateway, before["litellm-master-key"]) as former:
        assert former.get("/v1/models").status_code == 401
    wait_for(lambda: with_the_stored_key(gateway).is_success, 60)


def rolled_out(sandbox: Sandbox, answers: Sequence[Answer], settings: Json) -> None:
    """Change settings under load, which goes on with the new proxy alone."""
    pods = proxies(sandbox)
    sandbox.configure({f"llm-gateway:{section}": change for section, change in settings.items()})
    sandbox.up().succeeded()
    wait_for(lambda: len(now := proxies(sandbox)) == 1 and now != pods, 120)
    so_far = len(answers)
    wait_for(lambda: len(answers) > so_far + 5, 120)


def secrets(sandbox: Sandbox) -> dict[str, str]:
    return {name: sandbox.secret(name) for name in ("litellm-master-key", "litellm-db-password")}


def test_with_another_salt_a_stored_key_is_unreadable(gateway: Sandbox) -> None:
    """Why the salt is guarded: what External Secrets and the program would never do is done by hand here."""
    scale = ("--namespace", "external-secrets", "scale", "deployment", "external-secrets")
    kubectl(gateway, *scale, "--replicas=0").succeeded()
    salt = gateway.get(f"{SECRETS}/litellm-secrets")["data"]["LITELLM_SALT_KEY"]
    try:
        restart_with(gateway, base64.b64encode(b"another").decode())
        unreadable = "Error decrypting value for key: api_key, Did your master_key/salt key change recently?"
        wait_for(lambda: unreadable in logs(gateway), 60)
        assert with_the_stored_key(gateway).is_error
    finally:
        restart_with(gateway, salt)
        kubectl(gateway, *scale, "--replicas=1").succeeded()
    wait_for(lambda: with_the_stored_key(gateway).is_success, 60)


def restart_with(sandbox: Sandbox, salt: str) -> None:
    """Write the salt, in base64, into the cluster's Secret, and have another proxy read it."""
    pods = proxies(sandbox)
    control_plane.api(sandbox.home).send(
        "PATCH",
        f"{SECRETS}/litellm-secrets",
        {"data": {"LITELLM_SALT_KEY": salt}},
        "application/merge-patch+json",
    )
    kubectl(sandbox, "delete", "pod", *pods).succeeded()
    kubectl(sandbox, "rollout", "status", "deployment/litellm", "--timeout=300s").succeeded()


def logs(sandbox: Sandbox) -> str:
    """Of the only proxy; `deployment/litellm` may be the migration's pod."""
    return kubectl(sandbox, "logs", *proxies(sandbox)).succeeded().text


def test_dev_answers_on_without_its_database_and_catches_up(gateway: Sandbox) -> None:
    used, unused = new_keys(gateway, 2)
    with loading(gateway.run("url").succeeded().text.strip(), [used]) as answers:
        wait_for(lambda: len(answers) > 3, 120)
        scale_postgres_operator(gateway, 0)
        kubectl(gateway, "delete", "pod", "litellm-pg-1").succeeded()
        gone = time.time()
        with calling(gateway, unused) as other:
            assert ask(other).is_success
        failed = ("Error in spend logs queue monitor", 'Job "update_spend')
        wait_for(lambda: all(each in logs(gateway) for each in failed), 60)
        scale_postgres_operator(gateway, 1)
        wait_for(lambda: database_answers(gateway), 120)
        back = time.time()
        so_far = len(answers)
        wait_for(lambda: len(answers) > so_far + 5, 120)
    during = [each for each in answers if gone < each.sent < back]
    print(f"away {back - gone:.1f} s: {len(during)} of {len(answers)} requests; {failures(answers)}")
    assert len(during) > 5
    assert not failures(answers)
    is_accounted_for(gateway, answers, [used])


def database_answers(sandbox: Sandbox) -> bool:
    query = ("exec", "litellm-pg-1", "-c", "postgres", "--", "psql", "-d", "litellm", "-tAc", "SELECT 1")
    return kubectl(sandbox, *query).code == 0
