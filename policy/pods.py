"""What pods may do on their nodes."""

from __future__ import annotations

from collections.abc import Iterator

from policy.base import Resource, in_kubernetes, resource_policy, walk

_FORBIDDEN = {
    "privileged": "is root on its node",
    "hostNetwork": "uses its node's network, where no NetworkPolicy applies",
    "hostPID": "sees every process of its node",
    "hostIPC": "shares memory with every process of its node",
    "allowPrivilegeEscalation": "may gain more rights than it was started with",
}
_HARMLESS_CAPABILITIES = {"NET_BIND_SERVICE"}


def _unprivileged(resource: Resource) -> Iterator[str]:
    for path, value in walk(resource.props):
        name = path.rpartition(".")[2]
        if value is True and name in _FORBIDDEN:
            yield f"{path} of {resource.name}: the pod {_FORBIDDEN[name]}."
        elif name == "hostPath" and isinstance(value, dict):
            yield f"{path} of {resource.name}: the pod reads its node's files."
        elif name == "capabilities" and isinstance(value, dict):
            added = value.get("add")
            for capability in added if isinstance(added, list) else []:
                if capability not in _HARMLESS_CAPABILITIES:
                    yield f"{path} of {resource.name}: the pod has the capability {capability}."


POLICIES = [
    resource_policy(
        "pods-are-unprivileged",
        "No pod is privileged or shares its node's network, processes or files, neither by a manifest nor by a chart's "
        "values: it could read every secret on the node.",
        "`privileged: false` and `allowPrivilegeEscalation: false`, no `host...` setting, a PersistentVolumeClaim, "
        "`emptyDir` or ConfigMap instead of `hostPath`; ROOT_WITHOUT_RIGHTS of components/pod_security.py is such a context.",
        in_kubernetes,
        _unprivileged,
    ),
]
