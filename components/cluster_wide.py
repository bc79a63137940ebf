"""Looks, in the preview already, for cluster-wide objects of this stack's names that another stack has.

Everything else that a stack makes in the cluster is in its own namespaces.
"""

# The cluster's own client is untyped.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import ForbiddenError

from components import ownership
from components.cluster import ClusterHandle
from settings import PROJECT

_OBJECTS = ("kubernetes:core/v1:Namespace", "kubernetes:external-secrets.io/v1:ClusterSecretStore")
_CRDS = {
    "external-secrets": "externalsecrets.external-secrets.io",
    "cnpg": "clusters.postgresql.cnpg.io",
    "cert-manager": "certificates.cert-manager.io",
    "plugin-barman-cloud": "objectstores.barmancloud.cnpg.io",
}
"""One of the CRDs that a release installs, by the release's name."""
_SETTINGS = {
    "external-secrets": f"{PROJECT}:operators.externalSecrets.install: false",
    "cnpg": f"{PROJECT}:operators.cnpg.install: false",
    "cert-manager": f"{PROJECT}:operators.certManager.install: false",
    "plugin-barman-cloud": f"{PROJECT}:operators.cnpg.install: false",
}
"""What has a stack do without a release of its own."""
_CRD = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"}
_HELM = "meta.helm.sh/release-"


def looked_at(name: str, owner: str, cluster: ClusterHandle, recover: bool) -> pulumi.ResourceTransformation:
    """A transformation that looks in the cluster for each cluster-wide object and operator that would be created.

    It needs the right to view the cluster, and passes over what it may not view: the `up` looks at that.

    Args:
        name: prefix of the hook's name, unique in the program.
        owner: this stack's mark.
        cluster: where it would be made.
        recover: as for `ownership.marked`.
    """

    connection = ownership.Connection(cluster)

    def look(api: DynamicClient, args: pulumi.ResourceHookArgs) -> None:
        inputs = args.new_inputs or {}
        is_release = args.type == ownership.RELEASE
        wanted = {**_CRD, "metadata": {"name": _CRDS[inputs["name"]]}} if is_release else inputs
        try:
            live = ownership.live_object(api, wanted)
        except ForbiddenError:
            return
        if live and is_release:
            refuse_other_releases(live, inputs)
        elif live and pulumi.runtime.is_dry_run():  # in an `up`, ownership.py looks
            ownership.refuse_others(live, args.name, owner, recover)

    async def run(args: pulumi.ResourceHookArgs) -> None:
        if await cluster.kubeconfig.future():
            await connection.use(lambda api: look(api, args))

    hook = pulumi.ResourceHook(
        f"{name}-cluster-wide-is-ours", run, pulumi.ResourceHookOptions(on_dry_run=True)
    )
    hooks = pulumi.ResourceOptions(hooks=pulumi.ResourceHookBinding(before_create=[hook]))

    def transform(args: pulumi.ResourceTransformationArgs) -> pulumi.ResourceTransformationResult | None:
        if args.type_ in _OBJECTS or (args.type_ == ownership.RELEASE and args.props["name"] in _CRDS):
            opts = pulumi.ResourceOptions.merge(args.opts, hooks)
            return pulumi.ResourceTransformationResult(args.props, opts)
        return None

    return transform


def refuse_other_releases(crd: Mapping[str, Any], release: Mapping[str, Any]) -> None:
    """Raise pulumi.RunError where Helm keeps a CRD for another release than this one."""
    annotations = crd["metadata"].get("annotations") or {}
    namespace, name = (annotations.get(f"{_HELM}{part}") for part in ("namespace", "name"))
    if None in (namespace, name) or (namespace, name) == (release["namespace"], release["name"]):
        return
    raise pulumi.RunError(
        f"The cluster has {release['name']} already: its CRD {crd['metadata']['name']} belongs to the Helm release "
        f"{namespace}/{name}, of another stack or of the cluster's own. Helm would refuse a second one half-way. "
        f"{_SETTINGS[release['name']]} uses the one that is there. Or use another cluster, or that namespace if it is this stack's. If only the CRDs are left of that release, give them "
        "to this one: kubectl annotate crds <each of its CRDs> --overwrite "
        f"{_HELM}namespace={release['namespace']} {_HELM}name={release['name']}"
    )
