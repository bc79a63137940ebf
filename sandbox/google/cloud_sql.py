"""The Cloud SQL Auth Proxy where it is played: whether Google would let its pod in.

What it does not do: look whether the instance is there, has an address of the kind asked for, and can be reached; log in to
a database (roles/cloudsql.instanceUser), or forward anything: nothing answers at its port. Words:
https://github.com/GoogleCloudPlatform/cloud-sql-proxy, and those of Google's APIs and of GKE's metadata server.
"""

from __future__ import annotations

from sandbox.cluster.client import Json
from sandbox.containers.names import repository
from sandbox.google.apis import is_enabled
from sandbox.google.cloud import Cloud, CloudError, member_name, project_number
from sandbox.google.workload_identity import principal

IMAGE = "gcr.io/cloud-sql-connectors/cloud-sql-proxy"
ACTS_AS = "iam.gke.io/gcp-service-account"
_ROLES = ("roles/cloudsql.client", "roles/cloudsql.editor", "roles/cloudsql.admin")
_OPTIONS = frozenset(
    {
        "--address",
        "--auto-iam-authn",
        "--health-check",
        "--http-address",
        "--http-port",
        "--max-sigterm-delay",
        "--port",
        "--private-ip",
        "--run-connection-test",
        "--structured-logs",
    }
)


def refusal(cloud: Cloud, pod: Json, account: Json | None) -> tuple[str, str] | None:
    """A container of the Auth Proxy's that would end at once, and its last words; None where none would.

    `account` is the pod's ServiceAccount. Options that this does not know are refused, too.
    """
    for container in pod["spec"]["containers"]:
        if repository(container["image"]) == IMAGE:
            words = _last_words(cloud, pod, account, container.get("args", []))
            return (container["name"], words) if words else None
    return None


def _last_words(cloud: Cloud, pod: Json, account: Json | None, arguments: list[str]) -> str | None:
    instances = [argument for argument in arguments if not argument.startswith("-")]
    options = [argument.partition("=")[0] for argument in arguments if argument.startswith("-")]
    for option in options:
        if option not in _OPTIONS:
            return f"Error: the sandbox does not know the option {option}"
    if len(instances) != 1:
        return "Error: missing instance_connection_name (e.g., project:region:instance)"
    (instance,) = instances
    project = instance.partition(":")[0]
    terminal = (
        f"The proxy has encountered a terminal error: unable to start: [{instance}] Unable to mount socket: "
    )
    refused = f'{terminal}config error: failed to get instance metadata (connection name = "{instance}"): '
    if "--run-connection-test" not in options:
        return None
    namespace, name = pod["metadata"]["namespace"], pod["spec"].get("serviceAccountName", "default")
    identity = principal(cloud, namespace, name)
    annotations = (account or {"metadata": {}})["metadata"].get("annotations") or {}
    if email := annotations.get(ACTS_AS):
        acted_as = f"projects/{email.partition('@')[2].partition('.')[0]}/serviceAccounts/{email}"
        if not _granted(
            cloud, "serviceAccountIamMember", acted_as, "roles/iam.workloadIdentityUser", identity
        ):
            return (
                f"{refused}compute: Received 403 `Unable to generate access token; IAM returned 403 Forbidden: Permission "
                "'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist).`"
            )
        identity = f"serviceAccount:{email}"
    try:
        on = is_enabled(cloud, project, "sqladmin.googleapis.com")
    except CloudError:
        on = True  # a project that nobody may see answers as one without the role
    if not on:
        return (
            f"{refused}googleapi: Error 403: Cloud SQL Admin API has not been used in project {project_number(project)} before "
            "or it is disabled., accessNotConfigured"
        )
    if not any(_granted(cloud, "projectIamMember", f"projects/{project}", role, identity) for role in _ROLES):
        return (
            f"{refused}googleapi: Error 403: boss::NOT_AUTHORIZED: Not authorized to access resource. Possibly missing "
            f"permission cloudsql.instances.get on resource instances/{instance.rpartition(':')[2]}., forbidden"
        )
    return None


def _granted(cloud: Cloud, kind: str, resource: str, role: str, member: str) -> bool:
    try:
        cloud.get(kind, member_name(resource, role, member))
    except CloudError:
        return False
    return True
