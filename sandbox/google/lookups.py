"""The lookups getCluster, getProject and getSecret on the emulated cloud.

What they do not do: properties of the real results that the emulated cloud does not have are left empty.
"""

from __future__ import annotations

from collections.abc import Callable

from sandbox.cluster.base_objects import zones_of
from sandbox.errors import SandboxError
from sandbox.google.cloud import Cloud, CloudError
from sandbox.google.resource import Json, Settings
from sandbox.google.secret_manager import secret_outputs
from sandbox.google.stored import require_api

SERVICES = "34.118.224.0/20"
"""The range that GKE gives to the Services of a cluster by default."""


def get_cluster(cloud: Cloud, settings: Settings, args: Json) -> Json:
    """gcp:container/getCluster:getCluster."""
    location, project = settings.need_location(args), settings.need_project(args)
    row = _found(cloud, "cluster", f"projects/{project}/locations/{location}/clusters/{args['name']}")
    return {
        "id": row["name"],
        "name": row["clusterName"],
        "project": row["project"],
        "location": row["location"],
        "endpoint": row["endpoint"],
        "servicesIpv4Cidr": row.get("services", SERVICES),
        "masterAuths": [
            {
                "clusterCaCertificate": row["caCertificate"],
                "clientCertificate": "",
                "clientKey": "",
                "clientCertificateConfigs": [{"issueClientCertificate": False}],
            }
        ],
        "nodeLocations": zones_of(location),
        "workloadIdentityConfigs": [{"workloadPool": f"{row['project']}.svc.id.goog"}],
        "enableAutopilot": False,
        "network": row.get("spec", {}).get("network", f"projects/{row['project']}/global/networks/default"),
        "selfLink": f"https://container.googleapis.com/v1/{row['name']}",
    }


def get_project(cloud: Cloud, settings: Settings, args: Json) -> Json:
    """gcp:organizations/getProject:getProject."""
    project = args.get("projectId") or settings.need_project({})
    try:
        row = cloud.get("project", f"projects/{project}")
    except CloudError as error:
        raise SandboxError(
            f"Error when reading or editing Project Not Found : {project}: googleapi: Error 403: The caller does not "
            "have permission, forbidden"
        ) from error
    require_api(cloud, f"Error when reading or editing Project {project}", project, "cloudresourcemanager")
    return {
        "id": row["name"],
        "name": row["projectId"],
        "projectId": row["projectId"],
        "number": str(row["number"]),
        "labels": {},
        "effectiveLabels": {},
        "pulumiLabels": {},
        "billingAccount": "",
        "folderId": "",
        "orgId": "",
    }


def get_secret(cloud: Cloud, settings: Settings, args: Json) -> Json:
    """gcp:secretmanager/getSecret:getSecret."""
    row = _found(
        cloud,
        "secret",
        f"projects/{settings.need_project(args)}/secrets/{args['secretId'].rpartition('/')[2]}",
    )
    outputs = secret_outputs(row)
    replication: Json = row.get("replication", {"auto": {}})
    return {
        **{key: value for key, value in outputs.items() if value is not None},
        "id": row["name"],
        "labels": outputs["effectiveLabels"],
        "annotations": outputs["effectiveAnnotations"],
        "deletionPolicy": "",
        "deletionProtection": False,
        "replications": [
            {
                "autos": [{"customerManagedEncryptions": []}] if "auto" in replication else [],
                "userManageds": [
                    {
                        "replicas": [
                            {"location": replica["location"], "customerManagedEncryptions": []}
                            for replica in replication["userManaged"]["replicas"]
                        ]
                    }
                ]
                if "userManaged" in replication
                else [],
            }
        ],
        "rotations": [],
        "topics": [],
        "versionAliases": {},
    }


def _found(cloud: Cloud, kind: str, name: str) -> Json:
    try:
        return cloud.get(kind, name)
    except CloudError as error:
        raise SandboxError(f"{name} not found") from error


LOOKUPS: dict[str, Callable[[Cloud, Settings, Json], Json]] = {
    "gcp:container/getCluster:getCluster": get_cluster,
    "gcp:organizations/getProject:getProject": get_project,
    "gcp:secretmanager/getSecret:getSecret": get_secret,
}
