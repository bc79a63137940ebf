"""The contract charts, rendered by the real Helm: names, hooks, references, and what they refuse."""

import copy
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox.charts import schema
from sandbox.toolchain import build
from settings.names import is_text

Values = dict[str, Any]
Objects = dict[tuple[str, str], Any]

LITELLM: Values = {
    "image": {
        "repository": "ghcr.io/berriai/litellm-database",
        "tag": "v1.89.2",
        "pullPolicy": "IfNotPresent",
    },
    "masterkeySecretName": "litellm-secrets",
    "masterkeySecretKey": "PROXY_MASTER_KEY",
    "environmentSecrets": ["litellm-secrets"],
    "db": {
        "useExisting": True,
        "deployStandalone": False,
        "endpoint": "litellm-pg-rw",
        "database": "litellm",
        "secret": {"name": "litellm-pg-app", "usernameKey": "username", "passwordKey": "password"},
    },
    "migrationJob": {
        "enabled": True,
        "hooks": {"argocd": {"enabled": False}, "helm": {"enabled": True}},
        "resources": {"requests": {"cpu": "100m"}},
    },
    "envVars": {"ENFORCE_PRISMA_MIGRATION_CHECK": "true"},
    "proxy_config": {
        "model_list": [{"model_name": "qwen-local", "litellm_params": {"model": "hosted_vllm/qwen"}}],
        "general_settings": {"master_key": "os.environ/PROXY_MASTER_KEY"},
    },
    "resources": {"requests": {"cpu": "1", "memory": "4Gi"}},
}
CNPG: Values = {
    "webhook": {"port": 10250},
    "resources": {"requests": {"cpu": "50m"}},
    "crds": {"create": True},
}
EXTERNAL_SECRETS: Values = {
    "installCRDs": True,
    "crds": {"annotations": {"helm.sh/resource-policy": "keep"}},
    "resources": {"requests": {"cpu": "50m"}},
    "webhook": {"resources": {"requests": {"cpu": "20m"}}, "podDisruptionBudget": {"enabled": True}},
    "certController": {"resources": {"requests": {"cpu": "20m"}}},
}
VLLM: Values = {
    "servingEngineSpec": {
        "runtimeClassName": "",
        "strategy": {"type": "Recreate"},
        "labels": {"app": "engine"},
        "vllmApiKey": {"secretName": "vllm-api-key", "secretKey": "api-key"},
        "startupProbe": {"failureThreshold": 180},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
        "modelSpec": [
            {
                "name": "qwen",
                "repository": "vllm/vllm-openai",
                "tag": "v0.23.0",
                "modelURL": "Qwen/Qwen2.5-0.5B-Instruct",
                "modelRevision": "main",
                "replicaCount": 1,
                "requestCPU": 2,
                "requestMemory": "8Gi",
                "requestGPU": 1,
                "pvcStorage": "20Gi",
                "vllmConfig": {"maxModelLen": 8192, "dtype": "bfloat16", "extraArgs": ["--seed", "1"]},
                "nodeSelectorTerms": [{"matchExpressions": [{"key": "pool", "operator": "Exists"}]}],
            }
        ],
    },
    "routerSpec": {
        "repository": "lmcache/lmstack-router",
        "tag": "v0.1.12",
        "labels": {"app": "router"},
        "resources": {"requests": {"cpu": "400m"}},
    },
}
BARMAN: Values = {
    "image": {"registry": "ghcr.io", "repository": "cloudnative-pg/plugin-barman-cloud", "tag": "v0.13.0"},
    "resources": {"requests": {"cpu": "50m"}},
}
CERT_MANAGER: Values = {
    "crds": {"enabled": True, "keep": True},
    "global": {"leaderElection": {"namespace": "cert-manager"}},
    "image": {"repository": "quay.io/jetstack/cert-manager-controller", "tag": "v1.21.1"},
    "webhook": {"resources": {"requests": {"cpu": "20m"}}},
    "startupapicheck": {"enabled": False},
}
RELEASES: dict[str, tuple[str, Values]] = {
    "cert-manager": ("cert-manager", CERT_MANAGER),
    "plugin-barman-cloud": ("plugin-barman-cloud", BARMAN),
    "litellm-helm": ("litellm", LITELLM),
    "cloudnative-pg": ("cnpg", CNPG),
    "external-secrets": ("external-secrets", EXTERNAL_SECRETS),
    "vllm-stack": ("vllm", VLLM),
}
FOR_THE_SANDBOX = ["--kube-version", build.Manifest.read().version("kube-apiserver")]
NOT_EMULATED = [
    (chart.name, path)
    for chart in schema.charts()
    for path in (chart / "not-emulated.txt").read_text().split()
]


@pytest.fixture(scope="module")
def helm() -> Path:
    return Path(build.ensure().helm)


def run(helm: Path, chart: str, values: Values) -> subprocess.CompletedProcess[str]:
    """Renders a chart as the release that the stack makes of it."""
    command = [helm, "template", RELEASES[chart][0], schema.CHARTS / chart, *FOR_THE_SANDBOX, "-f", "-"]
    return subprocess.run(command, input=json.dumps(values), capture_output=True, text=True, check=False)


def render(helm: Path, chart: str, values: Values | None = None) -> Objects:
    """The objects of a release by kind and name."""
    result = run(helm, chart, RELEASES[chart][1] if values is None else values)
    assert result.returncode == 0, result.stderr
    objects = [document for document in yaml.safe_load_all(result.stdout) if document]
    named = {(document["kind"], document["metadata"]["name"]): document for document in objects}
    assert len(named) == len(objects), "two objects of one kind and name"
    return named


def refusal(helm: Path, chart: str, path: str, value: object) -> str:
    """What Helm says of a release's values with one that is wrong."""
    result = run(helm, chart, with_value(RELEASES[chart][1], path, value))
    assert result.returncode != 0
    return result.stderr


def container(workload: Any) -> Any:
    return workload["spec"]["template"]["spec"]["containers"][0]


def environment(workload: Any) -> dict[str, Any]:
    """The environment of a workload's first container by name; a value, or the reference it comes from."""
    entries = container(workload)["env"]
    assert len({entry["name"] for entry in entries}) == len(entries), "an entry is there twice"
    return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in entries}


def with_value(values: Values, path: str, value: object) -> Values:
    """A copy of the values with one more; numbers in the path index lists."""
    changed = copy.deepcopy(values)
    node: Any = changed
    *parents, key = path.split(".")
    for parent in parents:
        node = node[int(parent)] if parent.isdigit() else node.setdefault(parent, {})
    node[key] = value
    return changed


def something(chart: str, path: str) -> object:
    """A value of the type that the chart's schema wants at a path."""
    node = json.loads((schema.CHARTS / chart / "values.schema.json").read_text())
    for key in path.split("."):
        node = node.get("properties", {}).get(key, {})
    return {"string": "a", "object": {"a": "b"}, "array": [{"a": "b"}]}.get(node.get("type"), True)


@pytest.mark.parametrize("chart", RELEASES)
def test_lint(helm: Path, chart: str) -> None:
    command = [helm, "lint", *FOR_THE_SANDBOX, schema.CHARTS / chart]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("chart", ["cloudnative-pg", "external-secrets", "vllm-stack"])
def test_defaults_render(helm: Path, chart: str) -> None:
    assert render(helm, chart, {})


@pytest.mark.parametrize(
    ("chart", "path"),
    [
        ("litellm-helm", "replicasCount"),
        ("litellm-helm", "db.endpont"),
        ("litellm-helm", "db.secret.userKey"),
        ("litellm-helm", "migrationJob.hooks.helm.enable"),
        # The real chart has values for these, and no template that reads them.
        ("litellm-helm", "migrationJob.retries"),
        ("litellm-helm", "migrationJob.disableSchemaUpdate"),
        ("cloudnative-pg", "resource"),
        ("cloudnative-pg", "webhook.ports"),
        ("cloudnative-pg", "webhook.validating.failPolicy"),
        ("external-secrets", "installCRD"),
        ("external-secrets", "crds.annotation"),
        ("external-secrets", "webhook.podDisruptionBudget.enable"),
        ("vllm-stack", "routerspec"),
        ("vllm-stack", "servingEngineSpec.runtimeClass"),
        ("vllm-stack", "servingEngineSpec.vllmApiKey.secretname"),
        ("vllm-stack", "servingEngineSpec.modelSpec.0.modelUrl"),
        ("vllm-stack", "servingEngineSpec.modelSpec.0.vllmConfig.maxModelLength"),
        ("vllm-stack", "routerSpec.otel.endpont"),
    ],
)
def test_misspelt_key_is_refused_by_name(helm: Path, chart: str, path: str) -> None:
    assert f"'{path.rpartition('.')[2]}' not allowed" in refusal(helm, chart, path, {})


@pytest.mark.parametrize(
    ("chart", "path", "value"),
    [
        ("litellm-helm", "replicaCount", "two"),
        ("litellm-helm", "environmentSecrets", "litellm-secrets"),
        ("external-secrets", "webhook.create", "yes"),
        ("vllm-stack", "servingEngineSpec.modelSpec.0.replicaCount", "one"),
        ("vllm-stack", "servingEngineSpec.vllmApiKey", "a plain key"),
    ],
)
def test_wrong_type_is_refused_by_path(helm: Path, chart: str, path: str, value: object) -> None:
    assert f"at '/{path.replace('.', '/')}'" in refusal(helm, chart, path, value)


@pytest.mark.parametrize(
    "key",
    ["name", "repository", "tag", "modelURL", "replicaCount", "requestCPU", "requestMemory", "requestGPU"],
)
def test_vllm_model_requires(helm: Path, key: str) -> None:
    values = copy.deepcopy(VLLM)
    del values["servingEngineSpec"]["modelSpec"][0][key]
    assert f"missing property '{key}'" in run(helm, "vllm-stack", values).stderr


@pytest.mark.parametrize(("chart", "path"), NOT_EMULATED)
def test_not_emulated_is_refused_by_name(helm: Path, chart: str, path: str) -> None:
    value = {"loraAdapters": [{"name": "a"}]}.get(path) or something(chart, path)
    assert f"{path} is not emulated" in refusal(helm, chart, path, value)


def test_litellm_objects(helm: Path) -> None:
    objects = render(helm, "litellm-helm")
    assert set(objects) == {
        ("Deployment", "litellm"),
        ("Service", "litellm"),
        ("ConfigMap", "litellm-config"),
        ("Job", "litellm-migrations"),
    }
    assert objects["Service", "litellm"]["spec"]["ports"][0]["port"] == 4000
    config = yaml.safe_load(objects["ConfigMap", "litellm-config"]["data"]["config.yaml"])
    assert config == LITELLM["proxy_config"]


def test_litellm_migration_is_a_hook_that_needs_nothing_of_the_release(helm: Path) -> None:
    objects = render(helm, "litellm-helm")
    job = objects["Job", "litellm-migrations"]
    annotations = job["metadata"]["annotations"]
    assert annotations["helm.sh/hook"] == "pre-install,pre-upgrade"
    assert annotations["helm.sh/hook-delete-policy"] == "before-hook-creation"
    assert "argocd.argoproj.io/hook" not in annotations
    assert "envFrom" not in container(job)
    assert "litellm-config" not in yaml.safe_dump(job)
    own = environment(job)
    assert own["DISABLE_SCHEMA_UPDATE"] == "false"
    assert own["ENFORCE_PRISMA_MIGRATION_CHECK"] == "true"
    assert own["DATABASE_HOST"] == "litellm-pg-rw"
    assert "PROXY_MASTER_KEY" not in own


def test_litellm_migration_races_the_proxy_by_default(helm: Path) -> None:
    job = render(helm, "litellm-helm", LITELLM | {"migrationJob": {}})["Job", "litellm-migrations"]
    assert "helm.sh/hook" not in job["metadata"]["annotations"]
    assert job["metadata"]["annotations"]["argocd.argoproj.io/hook"] == "PreSync"


def test_litellm_proxy_reads_only_named_secrets(helm: Path) -> None:
    proxy = render(helm, "litellm-helm")["Deployment", "litellm"]
    own = environment(proxy)
    assert own["DISABLE_SCHEMA_UPDATE"] == "true"
    assert own["PROXY_MASTER_KEY"]["secretKeyRef"] == {"name": "litellm-secrets", "key": "PROXY_MASTER_KEY"}
    assert own["DATABASE_PASSWORD"]["secretKeyRef"] == {"name": "litellm-pg-app", "key": "password"}
    assert container(proxy)["envFrom"] == [{"secretRef": {"name": "litellm-secrets"}}]
    assert container(proxy)["image"] == "ghcr.io/berriai/litellm-database:v1.89.2"
    assert container(proxy)["readinessProbe"]["httpGet"] == {"path": "/health/readiness", "port": "http"}


def test_litellm_restarts_on_changed_configuration(helm: Path) -> None:
    changed = with_value(LITELLM, "proxy_config.litellm_settings", {"drop_params": True})
    before, after = (
        render(helm, "litellm-helm", values)["Deployment", "litellm"]["spec"]["template"]["metadata"]
        for values in (LITELLM, changed)
    )
    assert before["annotations"]["checksum/config"] != after["annotations"]["checksum/config"]


def test_litellm_makes_a_master_key_only_when_none_is_named(helm: Path) -> None:
    objects = render(helm, "litellm-helm", LITELLM | {"masterkeySecretName": ""})
    assert ("Secret", "litellm-masterkey") in objects


def test_cnpg_objects(helm: Path) -> None:
    objects = render(helm, "cloudnative-pg")
    kinds = {"ServiceAccount", "ClusterRole", "ClusterRoleBinding", "ConfigMap"}
    assert {kind for kind, _ in objects} >= kinds
    operator = container(objects["Deployment", "cnpg-cloudnative-pg"])
    assert operator["image"] == "ghcr.io/cloudnative-pg/cloudnative-pg:1.29.1"
    assert {"name": "webhook-server", "containerPort": 10250, "protocol": "TCP"} in operator["ports"]
    port = objects["Service", "cnpg-webhook-service"]["spec"]["ports"][0]
    assert (port["port"], port["targetPort"]) == (443, "webhook-server")
    for which, kind in (("mutating", "Mutating"), ("validating", "Validating")):
        name = f"cnpg-{which}-webhook-configuration"
        webhooks = objects[f"{kind}WebhookConfiguration", name]["webhooks"]
        cluster = next(webhook for webhook in webhooks if webhook["name"] == f"{which[0]}cluster.cnpg.io")
        assert cluster["failurePolicy"] == "Fail"
        assert cluster["rules"][0]["resources"] == ["clusters"]
        assert cluster["clientConfig"]["service"]["name"] == "cnpg-webhook-service"


def test_barman_plugin_is_found_by_its_service_and_waits_for_its_certificates(helm: Path) -> None:
    objects = render(helm, "plugin-barman-cloud")
    service = objects["Service", "barman-cloud"]["metadata"]
    assert service["labels"]["cnpg.io/pluginName"] == "barman-cloud.cloudnative-pg.io"
    assert service["annotations"]["cnpg.io/pluginServerSecret"] == "barman-cloud-server-tls"
    plugin = objects["Deployment", "plugin-barman-cloud"]
    volumes = plugin["spec"]["template"]["spec"]["volumes"]
    certificates = [item["spec"] for (kind, _), item in objects.items() if kind == "Certificate"]
    made = {certificate["secretName"] for certificate in certificates}
    assert {volume["secret"]["secretName"] for volume in volumes} == made
    settings = objects["ConfigMap", "plugin-barman-cloud-config"]["data"]
    assert settings["SIDECAR_IMAGE"].startswith("ghcr.io/cloudnative-pg/plugin-barman-cloud-sidecar:")


def test_cert_manager_objects(helm: Path) -> None:
    objects = render(helm, "cert-manager")
    deployments = {name for kind, name in objects if kind == "Deployment"}
    assert deployments == {"cert-manager", "cert-manager-webhook", "cert-manager-cainjector"}
    arguments = container(objects["Deployment", "cert-manager"])["args"]
    assert "--leader-election-namespace=cert-manager" in arguments
    selector = objects["Service", "cert-manager-webhook"]["spec"]["selector"]
    labels = objects["Deployment", "cert-manager-webhook"]["spec"]["template"]["metadata"]["labels"]
    assert selector.items() <= labels.items()


def test_external_secrets_objects(helm: Path) -> None:
    objects = render(helm, "external-secrets")
    for name in ("external-secrets", "external-secrets-webhook", "external-secrets-cert-controller"):
        deployment = objects["Deployment", name]
        assert deployment["spec"]["template"]["spec"]["serviceAccountName"] == name
        assert ("ServiceAccount", name) in objects
        assert container(deployment)["image"] == "ghcr.io/external-secrets/external-secrets:v2.6.0"
        selector = deployment["spec"]["selector"]["matchLabels"]
        assert selector["app.kubernetes.io/name"] == name
    assert "readinessProbe" not in container(objects["Deployment", "external-secrets"])
    for configuration, kinds in (
        ("secretstore-validate", ["secretstores", "clustersecretstores"]),
        ("externalsecret-validate", ["externalsecrets"]),
    ):
        webhooks = objects["ValidatingWebhookConfiguration", configuration]["webhooks"]
        assert [webhook["rules"][0]["resources"][0] for webhook in webhooks] == kinds
        for webhook in webhooks:
            assert webhook["clientConfig"]["service"]["name"] == "external-secrets-webhook"


def test_external_secrets_webhooks_account_ignores_the_release_name(helm: Path) -> None:
    objects = render(helm, "external-secrets", EXTERNAL_SECRETS | {"fullnameOverride": "eso"})
    accounts = {name for kind, name in objects if kind == "ServiceAccount"}
    assert accounts == {"eso", "external-secrets-webhook", "external-secrets-cert-controller"}


def test_vllm_objects(helm: Path) -> None:
    objects = render(helm, "vllm-stack")
    assert set(objects) == {
        ("Deployment", "vllm-qwen-deployment-vllm"),
        ("Service", "vllm-qwen-engine-service"),
        ("PersistentVolumeClaim", "vllm-qwen-storage-claim"),
        ("Secret", "vllm-secrets"),
        ("Deployment", "vllm-deployment-router"),
        ("Service", "vllm-router-service"),
        ("ServiceAccount", "vllm-router-service-account"),
        ("Role", "vllm-reader"),
        ("RoleBinding", "vllm-deployment-access-binding"),
    }
    assert "storageClassName" not in objects["PersistentVolumeClaim", "vllm-qwen-storage-claim"]["spec"]
    for service in ("vllm-qwen-engine-service", "vllm-router-service"):
        assert objects["Service", service]["spec"]["ports"][0]["port"] == 80


def test_names_are_what_helm_reads_as_text(helm: Path, tmp_path: Path) -> None:
    """The vLLM chart, as charts do with their Release's namespace, writes the name without quotes."""
    words = ["null", "true", "yes", "no", "on", "off", "y", "n", "0", "007", "1e3", "1e-3", "12e05"]
    words += [
        "0x1f",
        "0o17",
        "0b11",
        "0b12",
        "0o18",
        "0xg",
        "1e",
        "e3",
        "3-1",
        "4o-mini",
        "2026-01-31",
        "inf",
    ]
    words += ["nan", "qwen", "nul", "o1", "1-e3", "0x", "1e3e3"]
    (tmp_path / "Chart.yaml").write_text("{apiVersion: v2, name: words, version: 0.0.1}")
    (tmp_path / "templates").mkdir()
    template = '{{ range .Values.words }}{{ . | quote }}: {{ kindOf (get (fromYaml (printf "a: %s" .)) "a") }}\n{{ end }}'
    (tmp_path / "templates" / "kinds.yaml").write_text(template)
    command = [helm, "template", "words", tmp_path, "-f", "-"]
    text = subprocess.run(
        command, input=json.dumps({"words": words}), capture_output=True, text=True, check=True
    )
    kinds = yaml.safe_load(text.stdout)
    assert {word: kind == "string" for word, kind in kinds.items()} == {word: is_text(word) for word in words}


def test_vllm_engine_pod(helm: Path) -> None:
    engine = render(helm, "vllm-stack")["Deployment", "vllm-qwen-deployment-vllm"]
    pod = engine["spec"]["template"]["spec"]
    assert engine["spec"]["strategy"] == {"type": "Recreate"}
    assert "runtimeClassName" not in pod
    assert pod["tolerations"] == VLLM["servingEngineSpec"]["tolerations"]
    affinity = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert affinity["nodeSelectorTerms"] == VLLM["servingEngineSpec"]["modelSpec"][0]["nodeSelectorTerms"]
    assert [volume["name"] for volume in pod["volumes"]] == ["vllm-storage"]
    assert container(engine)["resources"]["limits"] == {"nvidia.com/gpu": "1"}
    assert container(engine)["command"][:3] == ["vllm", "serve", "Qwen/Qwen2.5-0.5B-Instruct"]
    assert container(engine)["startupProbe"]["failureThreshold"] == 180
    key = environment(engine)["VLLM_API_KEY"]["secretKeyRef"]
    assert key == {"name": "vllm-api-key", "key": "api-key"}
    assert engine["spec"]["selector"]["matchLabels"]["app"] == "engine"


def test_vllm_shares_memory_only_for_tensor_parallel_models(helm: Path) -> None:
    values = with_value(VLLM, "servingEngineSpec.modelSpec.0.vllmConfig.tensorParallelSize", 2)
    engine = render(helm, "vllm-stack", values)["Deployment", "vllm-qwen-deployment-vllm"]
    assert "shm" in [volume["name"] for volume in engine["spec"]["template"]["spec"]["volumes"]]


@pytest.mark.parametrize("key", ["raySpec", "keda", "lmcacheConfig"])
def test_vllm_model_feature_not_emulated(helm: Path, key: str) -> None:
    said = refusal(helm, "vllm-stack", f"servingEngineSpec.modelSpec.0.{key}", {"enabled": True})
    assert f"modelSpec[].{key}.enabled is not emulated" in said


def test_vllm_router_ignores_tolerations_so_they_are_refused(helm: Path) -> None:
    assert "'tolerations' not allowed" in refusal(helm, "vllm-stack", "routerSpec.tolerations", [])
