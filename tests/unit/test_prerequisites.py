"""What must be there before an `up`: the list names all that the program needs, and the documents say the same."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pulumi
import pytest
import yaml

import settings
from settings.prerequisites import (
    APIS,
    AUTH_PLUGIN,
    GITHUB_APIS,
    PROGRAMS,
    ROLES,
    STATE_APIS,
    STATE_ROLES,
    CheckedApi,
)
from tests.support.engine import EVERYTHING, ROOT, SETTINGS, Mocks, run_program

STACKS = [*sorted(ROOT.glob("examples/stacks/*.yaml")), *sorted(ROOT.glob("Pulumi.*.yaml"))]
VERTEX = {"vertex_project": "models-project", "vertex_location": "europe-west4"}
GEMINI = {
    "alias": "gemini",
    "inputCostPerToken": 1e-6,
    "outputCostPerToken": 2e-6,
    "hosted": {"model": "vertex_ai/gemini-2.5-pro", "params": VERTEX},
}
STREAMED = {**EVERYTHING, "gpuPool": {"imageStreaming": True}}


class Google(Mocks):
    """It has what the settings say that there is, and keeps what was looked up."""

    def __init__(self, stack: settings.Settings) -> None:
        super().__init__()
        self.asked: set[str] = set()
        exists = [
            {
                "name": pool.name,
                "nodeConfigs": [
                    {
                        "machineType": pool.machine_type,
                        "guestAccelerators": [
                            {
                                "type": pool.accelerator,
                                "count": pool.accelerator_count,
                                "gpuPartitionSize": pool.partition or "",
                                "gpuSharingConfigs": [],
                            }
                        ],
                        "taints": [],
                        "effectiveTaints": [],
                        "resourceLabels": {},
                    }
                ],
            }
            for pool in stack.pools.values()
            if pool.existing
        ]
        dns = {"endpoint": "gke-1.europe-west4.gke.goog", "allowExternalTraffic": True}
        self.cluster = {
            "enableAutopilot": any(pool.autopilot for pool in stack.pools.values()),
            "privateClusterConfigs": [{"privateEndpoint": "172.16.0.2"}],
            "controlPlaneEndpointsConfigs": [{"dnsEndpointConfigs": [dns]}],
            **({"nodePools": exists} if exists else {}),
        }

    def call(self, args: pulumi.runtime.MockCallArgs) -> Any:
        self.asked.add(args.token)
        return super().call(args)


def sections(file: Any) -> dict[str, Any]:
    config = yaml.safe_load(file.read_text())["config"]
    return {key.removeprefix("llm-gateway:"): value for key, value in config.items()}


def parsed(given: Mapping[str, Any]) -> settings.Settings:
    texts = {
        f"llm-gateway:{key}": value if isinstance(value, str) else json.dumps(value)
        for key, value in {**SETTINGS, **given}.items()
    }
    return settings.parse(texts, "dev")


@pytest.mark.parametrize(
    "given",
    [*map(sections, STACKS), {"models": [GEMINI]}, STREAMED],
    ids=[*(file.stem for file in STACKS), "vertex", "everything"],
)
def test_each_kind_of_resource_has_its_api_and_its_role_in_the_list(given: dict[str, Any]) -> None:
    stack = parsed(given)
    google = Google(stack)
    made = {kind for kind, _ in run_program(given, google).resources}
    used = {kind for kind in made | google.asked if kind.startswith(("gcp:", "kubernetes:")) and "/" in kind}
    assert used
    for kind in used:
        # Under these settings: what the page says stands "only with" others would be missing there.
        if kind.startswith("gcp:"):
            apis = [api for api in APIS if kind.startswith(tuple(api.kinds)) and api.asked(stack)]
            assert len(apis) == 1, f"{kind}: its API is to be in settings/prerequisites.py, once: {apis}"
        roles = [role for role in ROLES if kind.startswith(tuple(role.kinds)) and role.asked(stack)]
        assert roles, f"{kind}: the role that makes it is to be in settings/prerequisites.py"


def asked(given: dict[str, Any], off: str) -> Google:
    google = Google(parsed(given))
    google.apis_off = [off]
    return google


@pytest.mark.parametrize(
    ("given", "off", "said"),
    [
        (
            {"models": [GEMINI]},
            "aiplatform.googleapis.com",
            "llm-gateway:models[0].hosted.params.vertex_project: the API aiplatform.googleapis.com is not enabled in "
            "models-project, so Google would refuse every request to its models. Enable it: `gcloud services enable "
            "aiplatform.googleapis.com --project models-project`",
        ),
        (
            STREAMED,
            "containerfilesystem.googleapis.com",
            "llm-gateway:gpuPool.imageStreaming: the API containerfilesystem.googleapis.com is not enabled in example-llm-dev",
        ),
    ],
)
def test_an_api_that_is_off_stops_the_program_before_anything_is_made(
    given: dict[str, Any], off: str, said: str
) -> None:
    google = asked(given, off)
    with pytest.raises(Exception, match=re.escape(said)):
        run_program(given, google)
    assert not {kind for kind in google.made if kind.startswith(("gcp:", "kubernetes:"))}


def test_it_is_said_together_with_what_the_cluster_lacks() -> None:
    google = asked({"models": [GEMINI]}, "aiplatform.googleapis.com")
    google.cluster = {**google.cluster, "workloadIdentityConfigs": []}
    with pytest.raises(Exception, match=r"(?s)is not enabled in models-project.*no Workload Identity"):
        run_program({"models": [GEMINI]}, google)


def test_an_api_that_may_not_be_looked_up_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    warned: list[str] = []
    monkeypatch.setattr(pulumi.log, "warn", lambda text, *_: warned.append(text))
    answer = Mocks.call

    def call(mocks: Mocks, args: pulumi.runtime.MockCallArgs) -> Any:
        if args.token.endswith(":getProjectService"):
            return {}, [("", "googleapi: Error 403: Permission denied to list services, forbidden")]
        return answer(mocks, args)

    monkeypatch.setattr(Mocks, "call", call)
    assert run_program({"models": [GEMINI]}).one("Release", "gateway-litellm-release")
    (text,) = warned
    assert "models-project could not be looked up" in text
    assert "roles/serviceusage.serviceUsageViewer" in text
    assert "Permission denied" in text


def test_nothing_more_is_looked_up_where_no_setting_asks() -> None:
    google = Google(parsed({}))
    run_program({}, google)
    assert not [token for token in google.asked if token.endswith(":getProjectService")]


def enabled(page: str) -> Iterator[set[str]]:
    """The APIs of each `gcloud services enable` of a page."""
    text = (ROOT / page).read_text().replace("\\\n", " ")
    for command in re.findall(r"gcloud services enable ([^\n`]+)", text):
        yield set(re.findall(r"[a-z]+\.googleapis\.com", command))


ALWAYS = {api.name for api in APIS if not api.when}


@pytest.mark.parametrize(
    ("page", "apis"),
    [
        ("docs/environments.md", ALWAYS | set(STATE_APIS) | set(GITHUB_APIS)),
        ("docs/operations.md", ALWAYS | set(STATE_APIS)),
        ("docs/prerequisites.md", ALWAYS),
    ],
)
def test_the_commands_of_the_guides_enable_the_lists_apis(page: str, apis: set[str]) -> None:
    assert next(enabled(page)) == apis


def test_the_example_cluster_enables_what_is_always_needed() -> None:
    text = (ROOT / "examples" / "cluster" / "__main__.py").read_text()
    names = re.search(r"^APIS = (\(.*?\))$", text, re.MULTILINE | re.DOTALL)
    assert names
    apis = {f"{name}.googleapis.com" for name in re.findall(r'"(\w+)"', names[1])}
    assert apis >= ALWAYS


def test_the_accounts_of_a_deployment_get_the_lists_roles() -> None:
    text = (ROOT / "docs" / "environments.md").read_text()
    granted = set(re.findall(r"\broles/[\w.]+", text))
    for loop in re.findall(r"for ROLE in ([\w. ]+); do\n.*add-iam-policy-binding", text):
        granted |= {f"roles/{role}" for role in loop.split()}
    granted |= {f"roles/secretmanager.{role}" for role in re.findall(r'grant "\$\w+" (\w+)', text)}
    # The key's own role is that of a person who makes the stack.
    wanted = {role.name for role in (*ROLES, *STATE_ROLES)} - {"roles/cloudkms.cryptoKeyEncrypterDecrypter"}
    assert granted >= wanted | {role.previews for role in (*ROLES, *STATE_ROLES) if role.previews}


def test_the_versions_are_those_that_are_pinned() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    pinned = re.search(r'"pulumi==(\d+\.\d+)\.', project)
    assert pinned
    cli, python, *_ = PROGRAMS
    assert pinned[1] in cli
    supported = re.findall(r"Programming Language :: Python :: (3\.\d+)", project) or re.findall(
        r'requires-python = ">=(3\.\d+)', project
    )
    assert supported
    assert all(version in python for version in supported)
    assert any(AUTH_PLUGIN in program for program in PROGRAMS)


def test_what_is_looked_up_says_what_would_happen() -> None:
    checked = [api for api in APIS if isinstance(api, CheckedApi)]
    assert checked
    assert all(api.when and api.otherwise for api in checked)
