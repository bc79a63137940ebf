"""kubernetes:helm.sh/v3:Release through the helm binary.

Charts: a folder or archive, oci://, or a name with repositoryOpts.repo. Every input but those of EMULATED is
refused by name. A failed release stays, in the cluster and partially in the state, and the next `up` upgrades
it, as with the real provider. Unlike that one, a refresh notices changed values and says so when the release
is in a failed state.
"""

from __future__ import annotations

import copy
import hashlib
import json
import threading
import time
from collections.abc import Iterator

import yaml
from pulumi.provider.experimental.provider import CheckFailure, DiffResponse

from sandbox.errors import SandboxError
from sandbox.latency import seconds
from sandbox.plugins.kubernetes.cluster import Cluster, Object
from sandbox.plugins.kubernetes.helm import HelmError, helm, helm_on, live_release
from sandbox.plugins.sdk import check_inputs
from sandbox.plugins.values import detailed_diff, has_unknown, under

EMULATED = frozenset({"chart", "name", "namespace", "repositoryOpts", "timeout", "values", "version"})
_REPOSITORY = frozenset({"repo"})
# Outputs, deprecated inputs and what the SDK always sends.
_DROPPED = frozenset({"allowNullValues", "compat", "resourceNames", "status"})
_TIMEOUT_SECONDS = 300
_SWITCHES = (
    *(
        "allowNullValues",
        "atomic",
        "cleanupOnFail",
        "createNamespace",
        "dependencyUpdate",
        "devel",
        "disableCRDHooks",
    ),
    *(
        "disableOpenapiValidation",
        "disableWebhooks",
        "forceUpdate",
        "lint",
        "recreatePods",
        "renderSubchartNotes",
    ),
    *("replace", "resetValues", "reuseValues", "skipAwait", "skipCrds", "verify", "waitForJobs"),
    "takeOwnership",  # newer than the states that the others were seen in; its check fills in every switch
)
_DEFAULTS: Object = {
    **dict.fromkeys(_SWITCHES, False),
    **dict.fromkeys(("description", "keyring", "postrender"), ""),
}
"""What the real provider's check fills in. In a state without it, its first preview would show an update per release."""


def identifier(inputs: Object) -> str:
    """Pulumi's id of a release."""
    return f"{inputs['namespace']}/{inputs['name']}"


def failure(inputs: Object, problem: str, what: str) -> str:
    """The real provider's error; `what` is "was created, but " of a release that is new."""
    return (
        f'Helm release "{identifier(inputs)}" {what}failed to initialize completely. Use Helm CLI to investigate: '
        f"failed to become available within allocated timeout. Error: Helm Release {identifier(inputs)}: {problem}"
    )


def warning(inputs: Object, problem: str) -> str:
    """The real provider's warning beside the error of a new release."""
    return (
        f'Helm release "{inputs["name"]}" was created but has a failed status. Use the `helm` command to investigate '
        f"the error, correct it, then retry. Reason: {problem}"
    )


def check(
    token: str, name: str, seed: bytes, old: Object, new: Object, namespace: str
) -> tuple[Object, list[CheckFailure]]:
    """Inputs with name, namespace, timeout and the chart's exact version, and what is wrong with them."""
    failures = check_inputs("kubernetes", token, new)
    settings = {key: value for key, value in new.items() if key not in _DROPPED}
    refused = sorted(settings.keys() - EMULATED - {failure.property for failure in failures})
    repository = settings.get("repositoryOpts") or {}
    refused += [f"repositoryOpts.{key}" for key in repository if key not in _REPOSITORY]
    failures += [
        CheckFailure(key, f'the sandbox does not emulate Release\'s "{key}"; leave it out.')
        for key in refused
    ]
    checked: Object = {
        **_DEFAULTS,
        "name": old.get("name") or f"{name}-{hashlib.sha256(seed).hexdigest()[:8]}",
        "namespace": namespace,
        "timeout": _TIMEOUT_SECONDS,
        **settings,
    }
    if not failures and not has_unknown(checked):
        try:
            checked["version"] = yaml.safe_load(helm(["show", "chart", *_chart(checked)]))["version"]
        except HelmError as error:
            failures.append(
                CheckFailure("chart", f"{error}; check the chart's name, version and repository.")
            )
    return checked, failures


def diff(old: Object, new: Object) -> DiffResponse:
    """What changes; name and namespace force a replacement."""
    changes = detailed_diff(old, new, under("name", "namespace"))
    return DiffResponse(
        bool(changes),
        replaces=[path for path, change in changes.items() if "REPLACE" in change.kind.name],
        detailed_diff=changes,
    )


def install(cluster: Cluster, inputs: Object, cancelled: threading.Event) -> tuple[Object, str | None]:
    """The new release's outputs and, if it failed, why. Raises HelmError if nothing was made."""
    namespace, name = inputs["namespace"], inputs["name"]
    if live_release(cluster, namespace, name):
        raise SandboxError("cannot re-use a name that is still in use")
    return _run(cluster, ["install"], inputs, 0, cancelled)


def upgrade(cluster: Cluster, inputs: Object, cancelled: threading.Event) -> tuple[Object, str | None]:
    """The upgraded release's outputs and, if it failed, why. Raises HelmError if no revision was made."""
    before = live_release(cluster, inputs["namespace"], inputs["name"])
    revision = before["version"] if before else 0
    return _run(cluster, ["upgrade", "--history-max", "0"], inputs, revision, cancelled)


def read(cluster: Cluster, resource_id: str, inputs: Object) -> tuple[Object, Object, str | None] | None:
    """Outputs, inputs as the cluster has them, and what is wrong with the release; None when it is gone.

    Without inputs (an import) they are the release's own: its chart by name alone.
    """
    namespace, _, name = resource_id.rpartition("/")
    live = live_release(cluster, namespace or cluster.namespace, name)
    if live is None:
        return None
    status = _status(cluster, live)
    if not inputs:
        inputs = _DEFAULTS | {key: status[key] for key in ("name", "namespace", "chart", "version")}
        inputs["timeout"] = _TIMEOUT_SECONDS
    values = live.get("config") or {}
    live_inputs = inputs if values == (inputs.get("values") or {}) else {**inputs, "values": values}
    problem = None
    if status["status"] != "deployed":
        problem = f"release {resource_id} is {status['status']}: {live['info'].get('description', '')}"
    return _outputs(live_inputs, live, status), live_inputs, problem


def uninstall(cluster: Cluster, state: Object, cancelled: threading.Event) -> None:
    """Uninstalls a release and waits for its objects to go; one that is gone already is fine."""
    arguments = ["uninstall", state["name"], "--ignore-not-found", *_waiting(state)]
    helm_on(cluster, state["namespace"], arguments, cancelled=cancelled)


def _chart(inputs: Object) -> list[str]:
    arguments = [inputs["chart"]]
    if inputs.get("version"):
        arguments += ["--version", inputs["version"]]
    if repository := (inputs.get("repositoryOpts") or {}).get("repo"):
        arguments += ["--repo", repository]
    return arguments


def _waiting(inputs: Object) -> list[str]:
    return ["--wait", "--timeout", f"{inputs['timeout']}s"]


def _run(
    cluster: Cluster, command: list[str], inputs: Object, revision: int, cancelled: threading.Event
) -> tuple[Object, str | None]:
    namespace, name = inputs["namespace"], inputs["name"]
    arguments = [*command, name, *_chart(inputs), *_waiting(inputs), "--values", "-", "--output", "json"]
    problem = None
    try:
        values = json.dumps(inputs.get("values") or {})
        live: Object = json.loads(helm_on(cluster, namespace, arguments, stdin=values, cancelled=cancelled))
    except HelmError as error:
        kept = live_release(cluster, namespace, name)
        if kept is None or kept["version"] == revision or kept["info"]["status"] == "deployed":
            raise
        live = kept
        problem = str(error)
    time.sleep(seconds("release"))
    return _outputs(inputs, live, _status(cluster, live)), problem


def _status(cluster: Cluster, live: Object) -> Object:
    arguments = ["get", "metadata", live["name"], "--output", "json"]
    known: Object = json.loads(helm_on(cluster, live["namespace"], arguments))
    return {
        "name": live["name"],
        "namespace": live["namespace"],
        "revision": live["version"],
        "status": live["info"]["status"],
        "chart": known["chart"],
        "version": known["version"],
        "appVersion": known.get("appVersion", ""),
    }


def _outputs(inputs: Object, live: Object, status: Object) -> Object:
    names: dict[str, list[str]] = {}
    for body in _documents(live.get("manifest", "")):
        group = body["apiVersion"].rpartition("/")[0]
        kind = f"{body['kind']}.{group}" if group else body["kind"]
        metadata = body["metadata"]
        full = (
            f"{metadata['namespace']}/{metadata['name']}" if metadata.get("namespace") else metadata["name"]
        )
        names.setdefault(f"{kind}/{body['apiVersion']}", []).append(full)
    return {**copy.deepcopy(inputs), "version": status["version"], "status": status, "resourceNames": names}


def _documents(manifest: str) -> Iterator[Object]:
    for body in yaml.safe_load_all(manifest):
        if body and "kind" in body:
            yield body
