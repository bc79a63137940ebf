"""The way out of the cluster: who asks which proxy, what NetworkPolicies leave open, and whose certificates are believed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.request import proxy_bypass_environment  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType]

import pytest

import settings
from components import egress
from sandbox.network.policies import End, Policies
from settings.egress import Egress
from tests.support.certificates import Authority
from tests.support.engine import COSTS, EVERYTHING, SETTINGS, Mocks, Recording, run_program

CA = Authority().pem
ADDRESS = "10.40.0.3"
PROXY = f"http://{ADDRESS}:3128"
OURS = "localhost,127.0.0.1,.svc,.cluster.local,metadata.google.internal,169.254.169.254"
INTERNET, GOOGLE, OTHER = End("198.51.100.1"), End("10.20.0.5"), End("10.40.0.4")
PODS = {
    "litellm": End("10.8.0.1", "llm-gateway", {"app.kubernetes.io/name": "litellm"}),
    "engine": End("10.8.0.2", "vllm", {"environment": "engine"}),
    "external-secrets": End("10.8.0.3", "external-secrets", {"app.kubernetes.io/name": "external-secrets"}),
    "postgres": End("10.8.0.4", "llm-gateway", {"cnpg.io/cluster": "litellm-pg"}),
}
MODELS = [
    *EVERYTHING["models"],
    {"alias": "own", **COSTS, "endpoint": {"url": "http://10.50.0.7:8080/v1", "model": "llama"}},
    {"alias": "out", **COSTS, "endpoint": {"url": "https://models.example.com/v1", "model": "llama"}},
]


def run(**section: Any) -> Recording:
    egress = {"httpProxy": PROXY, "httpsProxy": PROXY, **section}
    google = Mocks(versions=[("egress-proxy", "4")])
    return run_program({**EVERYTHING, "models": MODELS, "egress": egress}, google)


@pytest.fixture(scope="module")
def proxied() -> Recording:
    return run()


@pytest.fixture(scope="module")
def believing() -> Recording:
    return run(ca=CA, noProxy=["googleapis.com"])


def values(recording: Recording, release: str) -> Any:
    return recording.one("Release", f"gateway-{release}-release").inputs["values"]


def engine(recording: Recording) -> Any:
    (spec,) = values(recording, "vllm")["servingEngineSpec"]["modelSpec"]
    return spec


def told(listed: list[Mapping[str, str]]) -> Mapping[str, str]:
    found = {variable["name"]: variable["value"] for variable in listed}
    assert len(found) == len(listed), "the API server refuses a variable that is there twice"
    return found


def test_each_pod_that_goes_out_is_told_the_proxy(proxied: Recording) -> None:
    store = proxied.one("ObjectStore", "gateway-backups-object-store").inputs["spec"]
    services = ",34.118.224.0/20"  # Kubernetes' API, for clients in Go
    for variables, more in (
        (values(proxied, "litellm")["envVars"], ",10.50.0.7"),
        (told(engine(proxied)["env"]), ""),
        (told(values(proxied, "external-secrets")["extraEnv"]), services),
        (told(store["instanceSidecarConfiguration"]["env"]), services),
    ):
        assert (variables["HTTP_PROXY"], variables["HTTPS_PROXY"]) == (PROXY, PROXY)
        assert variables["NO_PROXY"] == OURS + more
    for part in ("webhook", "certController"):
        assert "extraEnv" not in values(proxied, "external-secrets")[part]
    assert "env" not in values(proxied, "vllm")["routerSpec"]  # it asks engines by their pods' addresses


def test_each_of_them_reaches_the_proxy_and_no_other_address_outside(proxied: Recording) -> None:
    found = Policies([policy.inputs for policy in proxied.all("NetworkPolicy")])
    for name, pod in PODS.items():
        assert found.allow(pod, End(ADDRESS), 3128), name
        for target in (INTERNET, GOOGLE, OTHER, End(ADDRESS)):
            assert not found.allow(pod, target, 443), (name, target)
    assert not found.allow(PODS["engine"], OTHER, 3128)
    assert found.allow(PODS["litellm"], End("10.50.0.7"), 8080)
    assert not found.allow(PODS["engine"], End("10.50.0.7"), 8080)


def test_what_is_excepted_is_reached_directly(believing: Recording) -> None:
    found = Policies([policy.inputs for policy in believing.all("NetworkPolicy")])
    for name in ("external-secrets", "postgres"):
        assert found.allow(PODS[name], GOOGLE, 443)
        assert not found.allow(PODS[name], End(ADDRESS), 3128)
    assert not found.allow(PODS["engine"], GOOGLE, 443)
    assert not found.allow(PODS["litellm"], GOOGLE, 443)  # no model is Google's


@pytest.mark.parametrize(
    ("hosted", "excepted", "direct"),
    [
        ("openai/gpt-4o", "googleapis.com", False),
        ("gemini/gemini-2.5-pro", "generativelanguage.googleapis.com", True),
        ("openai/gpt-4o", "api.openai.com", True),
        ("openai/gpt-4o", "8.8.8.8", False),
    ],
)
def test_litellm_reaches_exceptions_that_may_be_its_providers(
    hosted: str, excepted: str, direct: bool
) -> None:
    models = [{"alias": "a", "hosted": {"model": hosted, "apiKeySecret": "key"}}]
    section = {"httpsProxy": PROXY, "noProxy": [excepted]}
    recording = run_program({"models": models, "egress": section})
    found = Policies([policy.inputs for policy in recording.all("NetworkPolicy")])
    assert found.allow(PODS["litellm"], INTERNET, 443) == direct


def test_each_pod_that_goes_out_believes_the_authority(believing: Recording) -> None:
    litellm = values(believing, "litellm")
    assert litellm["envVars"]["PYTHONPATH"] == "/etc/llm-gateway:/etc/llm-gateway-authorities"
    files = believing.one("ConfigMap", "gateway-litellm-authorities").inputs["data"]
    assert files == {"egress.pem": CA, "sitecustomize.py": egress.STARTUP.read_text()}
    assert "llm-gateway/egress.pem" in litellm["podAnnotations"]

    spec, made = engine(believing), believing.one("ConfigMap", "gateway-vllm-authorities").inputs
    assert made["data"] == files
    assert spec["extraVolumes"][0]["configMap"]["name"] == made["metadata"]["name"]
    variables = told(spec["env"])
    assert variables["PYTHONPATH"] == spec["extraVolumeMounts"][0]["mountPath"]
    assert variables["HF_HUB_DISABLE_XET"] == "1"
    assert "llm-gateway/egress.pem" in spec["podAnnotations"]

    secrets = values(believing, "external-secrets")
    (made,) = secrets["extraObjects"]
    assert made["data"] == {"egress.pem": CA}
    assert secrets["extraVolumes"][0]["configMap"]["name"] == made["metadata"]["name"]
    folders = told(secrets["extraEnv"])["SSL_CERT_DIR"].split(":")
    assert folders == ["/etc/ssl/certs", secrets["extraVolumeMounts"][0]["mountPath"]]
    assert "llm-gateway/egress.pem" in secrets["podAnnotations"]


def test_without_the_section_nothing_changes(everything: Recording) -> None:
    for registration in everything.resources.values():
        text = json.dumps(registration.inputs)
        assert not any(word in text for word in ("_PROXY", "egress.pem", "SSL_CERT"))


@pytest.mark.parametrize(
    ("url", "by"),
    [
        ("https://api.openai.com/v1", PROXY),
        ("http://models.example.com:8080/v1", None),
        ("https://sub.corp.example/v1", None),
        ("https://corp.example", None),
        ("https://notcorp.example", PROXY),
        ("https://igw.models.svc/v1", None),
        ("https://igw.models.svc.cluster.local:8443", None),
        ("https://10.1.2.3", None),
        ("https://8.8.8.8", PROXY),
        ("https://8.8.4.4", None),
        ("https://metadata.google.internal", None),
    ],
)
def test_which_proxy_is_asked_is_what_python_reads_in_the_variables(url: str, by: str | None) -> None:
    section = Egress.model_validate({"httpsProxy": PROXY, "noProxy": [".corp.example", "8.8.4.4"]})
    assert section.by(url) == by
    variables = section.variables([url])
    proxies = {"no": variables["NO_PROXY"], "https": variables["HTTPS_PROXY"]}
    host = url.split("/")[2].partition(":")[0]
    read = proxies.get(url.partition(":")[0])
    assert (None if proxy_bypass_environment(host, proxies) else read) == by


def read(section: Mapping[str, Any], **others: Any) -> settings.Settings:
    sections = {**SETTINGS, "egress": section, **others}
    return settings.parse({f"llm-gateway:{key}": json.dumps(value) for key, value in sections.items()}, "dev")


OBJECTS = {"backups": {"method": "objectStore"}}
LOGIN = {"httpsProxy": PROXY, "proxySecret": "egress-proxy"}
CLOUD_SQL = {
    "existing": {
        "passwordSecret": "cloudsql",
        "cloudSql": {
            "instance": "example-llm-dev:europe-west4:gateway",
            "serviceAccount": "litellm-database@example-llm-dev.iam.gserviceaccount.com",
        },
    }
}
ELSEWHERE = {"operators": {"externalSecrets": {"install": False}}}


@pytest.fixture(scope="module")
def logging_in() -> Recording:
    return run(proxySecret="egress-proxy/versions/4", noProxy=["googleapis.com"])


def test_the_login_comes_from_a_secret_that_no_value_holds(logging_in: Recording) -> None:
    proxy = PROXY.replace("://", "://$(EGRESS_PROXY_LOGIN)@")
    litellm = values(logging_in, "litellm")
    assert not {"HTTP_PROXY", "HTTPS_PROXY"} & litellm["envVars"].keys()
    assert litellm["envVars"]["NO_PROXY"].startswith(OURS)
    for variables, secret in (
        (litellm["extraEnvVars"], "litellm-secrets"),
        (engine(logging_in)["env"], "vllm-environment"),
    ):
        # Kubernetes puts in what stands before in the list alone.
        assert variables[0]["name"] == "EGRESS_PROXY_LOGIN"
        assert variables[0]["valueFrom"] == {"secretKeyRef": {"name": secret, "key": "EGRESS_PROXY_LOGIN"}}
        found = {variable["name"]: variable.get("value") for variable in variables}
        assert len(found) == len(variables)
        assert (found["HTTP_PROXY"], found["HTTPS_PROXY"]) == (proxy, proxy)
        brought = logging_in.one("ExternalSecret", f"gateway-secret-sync-{secret}").inputs["spec"]
        (read,) = [one["remoteRef"] for one in brought["data"] if one["secretKey"] == "EGRESS_PROXY_LOGIN"]
        assert read == {"key": "egress-proxy", "version": "4"}
        assert "[A-Za-z0-9._~%!*+,;=&-]+:" in brought["target"]["template"]["data"]["EGRESS_PROXY_LOGIN"]
    restarted = (litellm["podAnnotations"], engine(logging_in)["podAnnotations"])
    for given, secret in zip(restarted, ("litellm-secrets", "vllm-environment"), strict=True):
        assert "egress-proxy=4" in given[f"llm-gateway/{secret}"]
    # They ask Google without the proxy.
    assert "EGRESS_PROXY_LOGIN" not in json.dumps(values(logging_in, "external-secrets"))


def test_policies_know_the_proxy_that_wants_a_login(logging_in: Recording) -> None:
    found = Policies([policy.inputs for policy in logging_in.all("NetworkPolicy")])
    for name in ("litellm", "engine"):
        assert found.allow(PODS[name], End(ADDRESS), 3128), name


@pytest.mark.parametrize(
    ("section", "others", "key", "said"),
    [
        ({"httpsProxy": "https://proxy:3128"}, {}, "egress.httpsProxy", "String should match"),
        ({"httpsProxy": "http://me:secret@proxy:3128"}, {}, "egress.httpsProxy", "String should match"),
        ({"httpsProxy": "http://proxy:99999"}, {}, "egress.httpsProxy", "no such port"),
        ({"httpsProxy": "http://127.0.0.1:3128"}, {}, "egress.httpsProxy", "the pod itself"),
        ({"httpsProxy": PROXY, "noProxy": ["10.0.0.0/8"]}, {}, "egress.noProxy[0]", "no name and no address"),
        ({"httpsProxy": PROXY, "noProxy": ["*.corp"]}, {}, "egress.noProxy[0]", "no name and no address"),
        ({"httpsProxy": PROXY, "noProxy": ["a.b:443"]}, {}, "egress.noProxy[0]", "no name and no address"),
        ({"httpsProxy": PROXY, "noProxy": ["a.b", "a.b"]}, {}, "egress.noProxy", "a.b is there twice"),
        ({"noProxy": ["a.b"]}, {}, "egress.noProxy", "there is no proxy"),
        ({"ca": "-----BEGIN CERTIFICATE-----"}, {}, "egress.ca", "no certificate can be read"),
        ({"httpsProxy": PROXY, "ca": CA}, {"postgres": OBJECTS}, "egress.ca", "by the proxy"),
        ({"proxySecret": "egress-proxy"}, {}, "egress.proxySecret", "there is no proxy"),
        (LOGIN | {"proxySecret": "me:secret"}, {}, "egress.proxySecret", "String should match"),
        (LOGIN, {}, "egress.proxySecret", "External Secrets brings the login"),
        (
            LOGIN | {"noProxy": ["secretmanager.googleapis.com"]},
            {},
            "egress.proxySecret",
            "External Secrets brings the",
        ),
        (
            LOGIN,
            ELSEWHERE | {"postgres": OBJECTS},
            "egress.proxySecret",
            "backups go to Cloud Storage by the proxy",
        ),
        (
            LOGIN,
            ELSEWHERE | {"postgres": CLOUD_SQL},
            "egress.proxySecret",
            "the Cloud SQL Auth Proxy asks Google",
        ),
        (
            {**LOGIN, "noProxy": ["googleapis.com"], "proxySecret": "litellm-salt-key"},
            {},
            "egress.proxySecret",
            "the gateway's own secret",
        ),
        *(
            ({}, {"litellm": {"environment": {name: "x"}}}, f"litellm.environment.{name}", "from the program")
            for name in (
                "HTTPS_PROXY",
                "no_proxy",
                "SSL_CERT_FILE",
                "REQUESTS_CA_BUNDLE",
                "EGRESS_PROXY_LOGIN",
            )
        ),
    ],
)
def test_refused(section: Mapping[str, Any], others: Mapping[str, Any], key: str, said: str) -> None:
    with pytest.raises(settings.SettingsError) as refused:
        read(section, **others)
    assert any(key == mistake.key and said in mistake.problem for mistake in refused.value.mistakes)


@pytest.mark.parametrize(
    ("section", "others"),
    [
        ({"ca": CA}, {"postgres": OBJECTS}),
        ({"httpsProxy": PROXY, "ca": CA, "noProxy": ["storage.googleapis.com"]}, {"postgres": OBJECTS}),
        ({"httpsProxy": "http://squid.proxy.svc.cluster.local:3128"}, {"postgres": OBJECTS}),
        (LOGIN, ELSEWHERE),
        (LOGIN | {"noProxy": ["googleapis.com"]}, {"postgres": OBJECTS}),
        (LOGIN | {"noProxy": ["googleapis.com"]}, {"postgres": CLOUD_SQL}),
    ],
)
def test_taken(section: Mapping[str, Any], others: Mapping[str, Any]) -> None:
    read(section, **others)


def test_a_python_that_has_a_startup_module_of_its_own_runs_it_too(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for folder in (ours, theirs):
        folder.mkdir()
    (ours / "sitecustomize.py").write_text(egress.STARTUP.read_text())
    (ours / "egress.pem").write_text(CA)
    (theirs / "sitecustomize.py").write_text("print('theirs')")
    command = [
        sys.executable,
        "-c",
        "import os, ssl; print(os.environ['SSL_CERT_FILE'] == os.environ['REQUESTS_CA_BUNDLE'])",
    ]
    environment = {"PYTHONPATH": f"{ours}:{theirs}", "TMPDIR": str(tmp_path), "PATH": os.environ["PATH"]}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["theirs", "True"]
    (both,) = tmp_path.glob("authorities-*.pem")
    assert both.read_text().endswith(CA)
    assert both.read_text().count("BEGIN CERTIFICATE") > 100
