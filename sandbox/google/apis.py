"""Which of Google's APIs are enabled in a project of the emulated cloud."""

from __future__ import annotations

from sandbox.google.cloud import Cloud

IN_USE = frozenset(
    f"{name}.googleapis.com"
    for name in (
        "artifactregistry",
        "cloudkms",
        "cloudresourcemanager",
        "compute",
        "container",
        "containerfilesystem",
        "iam",
        "iamcredentials",
        "logging",
        "monitoring",
        "secretmanager",
        "serviceusage",
        "storage",
        "sts",
    )
)
"""The APIs of a project that has a cluster before any stack: GKE's own, and what the gateway always needs."""


def service_name(project: str, service: str) -> str:
    """The name under which an enabled API, such as "compute.googleapis.com", is stored."""
    return f"projects/{project}/services/{service}"


def is_enabled(cloud: Cloud, project: str, service: str) -> bool:
    """Whether an API is enabled in a project. Raises CloudError where there is no such project."""
    row = cloud.get("project", f"projects/{project}")
    # Every new project has Service Usage, which enables the others.
    found = frozenset({"serviceusage.googleapis.com"}) if row.get("bare") else IN_USE
    return service in found or bool(cloud.list("service", service_name(row["projectId"], service)))
