"""Makes objects that another tool installed from a chart this program's Releases': `python -m tools.takeover --stack STACK`.

Argo CD renders a chart and applies its objects without Helm, and Helm installs over no object that does not say which
release it is of. What a preview would create of Releases is rendered with Helm, and each object that the cluster has
gets the label and the two annotations that Helm looks for. Nothing else is changed, and no pod restarts. All is looked at
before anything is marked: an object of another Helm release, or one that Argo CD still manages, stops it.

After the `up`, `--finish` removes what the former manifests said and the charts do not, a variable for example: Helm, which
takes an object over, leaves it.

It runs `pulumi` and `helm` with the login of an `up`, and reaches the cluster by the current context of KUBECONFIG.
Source of the marks: Helm 3, pkg/action/validate.go.
"""

# The cluster's own client is untyped.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml
from kubernetes.config import ConfigException, new_client_from_config
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import DynamicApiError, ResourceNotFoundError

from components.ownership import RELEASE, live_object, take_fields
from tools import pulumi_cli

Object = dict[str, Any]
Identity = tuple[str, str, str, str]
"""Group, kind, namespace and name; empty texts for the core group and for what has no namespace."""
_LABEL = "app.kubernetes.io/managed-by"
_NAME, _NAMESPACE = "meta.helm.sh/release-name", "meta.helm.sh/release-namespace"
_MERGE = "application/merge-patch+json"
_MANAGER = "llm-gateway-takeover"


class TakeoverError(Exception):
    """Nothing was marked; the message says why and what to do."""


def to_install(preview: Mapping[str, Any]) -> Iterator[Object]:
    """The inputs of the Releases that a preview (`pulumi preview --json`) would create."""
    for step in preview["steps"]:
        if step["op"] == "create" and step["newState"]["type"] == RELEASE:
            yield step["newState"]["inputs"]


def capabilities(api: DynamicClient) -> list[str]:
    """Options that have Helm render as for this cluster: its version, and every API that it serves."""
    kinds = api.resources.search()
    served = {f"{kind.group_version}{name}" for kind in kinds for name in ("", f"/{kind.kind}")}
    version: Any = api.version
    return ["--kube-version", version["kubernetes"]["gitVersion"], "--api-versions", ",".join(sorted(served))]


def rendered(release: Mapping[str, Any], options: Sequence[str]) -> list[Object]:
    """The objects that Helm would install, hooks and the chart's `crds` left out. Raises TakeoverError."""
    command = ["helm", "template", release["name"], release["chart"], "--namespace", release["namespace"]]
    command += ["--no-hooks", "--values", "-", *options]
    if repository := (release.get("repositoryOpts") or {}).get("repo"):
        command += ["--repo", repository]
    if version := release.get("version"):
        command += ["--version", version]
    return _objects(command, json.dumps(release.get("values") or {}))


def _objects(command: Sequence[str], given: str = "") -> list[Object]:
    """The objects that a command of Helm prints. Raises TakeoverError."""
    try:
        done = subprocess.run(command, input=given, capture_output=True, text=True)
    except FileNotFoundError:
        raise TakeoverError("helm is not on PATH: install it, or in a sandbox use `make takeover`.") from None
    if done.returncode:
        raise TakeoverError(f"`{' '.join(command[:4])}` failed:\n{done.stderr}")
    return [found for found in yaml.safe_load_all(done.stdout) if found]


def installed(api: DynamicClient, release: Mapping[str, Any], options: Sequence[str]) -> Iterator[Object]:
    """The objects of a release that the cluster has; `options` are its capabilities."""
    for body in rendered(release, options):
        if live := _live(api, body, release["namespace"]):
            yield live


def _live(api: DynamicClient, body: Object, namespace: str) -> Object | None:
    """An object of a chart as the cluster has it; its body gets the namespace that Helm would give it."""
    try:
        kind = api.resources.get(api_version=body["apiVersion"], kind=body["kind"])
    except ResourceNotFoundError:
        return None
    if kind.namespaced:
        body["metadata"].setdefault("namespace", namespace)
    return live_object(api, body)


def managed_by_argocd(api: DynamicClient) -> dict[Identity, str]:
    """Argo CD's Application, as namespace/name, by each object that it manages; empty where there is no Argo CD."""
    try:
        kind = api.resources.get(api_version="argoproj.io/v1alpha1", kind="Application")
    except ResourceNotFoundError:
        return {}
    found: dict[Identity, str] = {}
    for application in kind.get().to_dict()["items"]:
        name = f"{application['metadata']['namespace']}/{application['metadata']['name']}"
        for each in (application.get("status") or {}).get("resources") or []:
            identity = each.get("group") or "", each["kind"], each.get("namespace") or "", each["name"]
            found[identity] = name
    return found


def identity_of(body: Mapping[str, Any]) -> Identity:
    """Group, kind, namespace and name of an object."""
    group = body["apiVersion"].rpartition("/")[0]
    metadata = body["metadata"]
    return group, body["kind"], metadata.get("namespace") or "", metadata["name"]


def in_the_way(live: Mapping[str, Any], release: Mapping[str, Any]) -> str | None:
    """Why an object may not become the release's, or None."""
    annotations = live["metadata"].get("annotations") or {}
    theirs = annotations.get(_NAMESPACE), annotations.get(_NAME)
    if not any(theirs) or theirs == (release["namespace"], release["name"]):
        return None
    return (
        f"{_said(identity_of(live))} is of the Helm release {theirs[0]}/{theirs[1]}. Uninstall that, or give this stack another "
        "namespace."
    )


def take_over(stack: str, api: DynamicClient) -> None:
    """Mark what the next `up` installs over, and say so. Raises TakeoverError and pulumi_cli.PulumiError."""
    preview = json.loads(pulumi_cli.run(stack, "preview", "--json"))
    options = capabilities(api)
    found = [(live, release) for release in to_install(preview) for live in installed(api, release, options)]
    problems = [problem for live, release in found if (problem := in_the_way(live, release))]
    managed = managed_by_argocd(api)
    wanted = [*(identity_of(live) for live, _ in found), *created(preview)]
    problems += [
        f"{_said(identity)} is managed by Argo CD's Application {managed[identity]}, which would undo what an `up` "
        "changes. Have it let go first: docs/from-gitops.md."
        for identity in wanted
        if identity in managed
    ]
    if problems:
        raise TakeoverError("\n".join(["Nothing was marked.", *problems]))
    for live, release in found:
        metadata = live["metadata"]
        marks = {_NAME: release["name"], _NAMESPACE: release["namespace"]}
        kind = api.resources.get(api_version=live["apiVersion"], kind=live["kind"])
        kind.patch(
            body={"metadata": {"labels": {_LABEL: "Helm"}, "annotations": marks}},
            name=metadata["name"],
            namespace=metadata.get("namespace"),
            content_type=_MERGE,
        )
        print(f"{_said(identity_of(live))}: of release {release['namespace']}/{release['name']} from now on")
    print(
        "What the cluster has of these charts can be installed over: run `pulumi up` with llm-gateway:recover: true."
    )


def finish(stack: str, api: DynamicClient) -> None:
    """Remove what other tools' manifests said of the Releases' objects and the charts do not, and say where."""
    state = json.loads(pulumi_cli.run(stack, "stack", "export"))
    for resource in state["deployment"]["resources"]:
        if resource["type"] != RELEASE:
            continue
        name, namespace = resource["outputs"]["name"], resource["outputs"]["namespace"]
        for body in _objects(["helm", "get", "manifest", name, "--namespace", namespace]):
            live = _live(api, body, namespace)
            if live is None or not take_fields(api, live, _MANAGER):
                continue
            kind = api.resources.get(api_version=body["apiVersion"], kind=body["kind"])
            # What this manager was given and does not say now, no other manager having it, goes.
            applied = kind.server_side_apply(
                body=body,
                name=body["metadata"]["name"],
                namespace=body["metadata"].get("namespace"),
                field_manager=_MANAGER,
                force_conflicts=True,
            ).to_dict()
            print(f"{_said(identity_of(applied))}: {'changed' if _changed(live, applied) else 'as it was'}")


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    return any(before.get(key) != after.get(key) for key in ("data", "rules", "spec", "subjects", "webhooks"))


def created(preview: Mapping[str, Any]) -> Iterator[Identity]:
    """The objects that a preview would create without Helm."""
    for step in preview["steps"]:
        kind = step["newState"]["type"] if step["op"] == "create" else ""
        if kind.startswith("kubernetes:") and kind != RELEASE:
            yield identity_of(step["newState"]["inputs"])


def _said(identity: Identity) -> str:
    _, kind, namespace, name = identity
    return f"{kind} {f'{namespace}/' if namespace else ''}{name}"


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.takeover", description=__doc__)
    parser.add_argument("--stack", required=True)
    parser.add_argument(
        "--finish", action="store_true", help="after the `up`: remove what former manifests left"
    )
    given = parser.parse_args(arguments)
    try:
        (finish if given.finish else take_over)(given.stack, DynamicClient(new_client_from_config()))
    except (TakeoverError, pulumi_cli.PulumiError, DynamicApiError) as error:
        print(error, file=sys.stderr)
        return 1
    except ConfigException as error:
        print(f"KUBECONFIG leads to no cluster: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
