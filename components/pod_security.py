"""Security contexts of containers."""

from __future__ import annotations

from typing import Any

from pulumi_kubernetes.core.v1 import CapabilitiesArgs, SeccompProfileArgs, SecurityContextArgs

ROOT_WITHOUT_RIGHTS: dict[str, Any] = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
"""For images that run as root: the restricted Pod Security Standard in all but `runAsNonRoot`."""
RESTRICTED = SecurityContextArgs(
    read_only_root_filesystem=True,
    allow_privilege_escalation=False,
    capabilities=CapabilitiesArgs(drop=["ALL"]),
    seccomp_profile=SeccompProfileArgs(type="RuntimeDefault"),
)
"""For other images: the restricted standard, where the pod says `runAsNonRoot`."""
