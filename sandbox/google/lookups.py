"""The lookups getBucket, getCluster, getProject, getProjectService and those of secrets on the emulated cloud.

What they do not do: private and DNS-based endpoints; properties of the real results that the emulated cloud does not have are left empty.
"""

from __future__ import annotations

from collections.abc import Callable

from sandbox.cluster.base_objects import zones_of
from sandbox.errors import SandboxError
from sandbox.google.apis import is_enabled
from sandbox.google.cloud import Cloud, CloudError, project_number
from sandbox.google.resource import Json, Settings
from sandbox.google.secret_manager import secret_outputs
from sandbox.google.stored import require_api
from sandbox.toolchain.build import Manifest

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
        "nodePools": [
            {
                "name": pool["pool"],
                "nodeLocations": pool["zones"],
                "nodeConfigs": [
                    {
                        "labels": pool["spec"]["nodeConfig"].get("labels", {}),
                        "machineType": pool["spec"]["nodeConfig"]["machineType"],
                        "resourceLabels": pool["spec"]["nodeConfig"].get("resourceLabels", {}),
                        "guestAccelerators": [
                            {
                                "type": gpu["type"],
                                "count": gpu["count"],
                                "gpuPartitionSize": gpu.get("gpuPartitionSize", ""),
                                "gpuSharingConfigs": [gpu["gpuSharingConfig"]]
                                if gpu.get("gpuSharingConfig")
                                else [],
                            }
                            for gpu in pool["spec"]["nodeConfig"].get("guestAccelerators", [])
                        ],
                        "taints": pool["spec"]["nodeConfig"].get("taints", []),
                        "effectiveTaints": pool["spec"]["nodeConfig"].get("taints", []),
                    }
                ],
            }
            for pool in cloud.list("nodePool", f"{row['name']}/nodePools/")
        ],
        "workloadIdentityConfigs": [{"workloadPool": f"{row['project']}.svc.id.goog"}],
        "enableAutopilot": row.get("autopilot", False),
        "masterVersion": f"{Manifest.read().version('kube-apiserver').removeprefix('v')}-gke.1000000",
        "datapathProvider": row.get("spec", {}).get("datapathProvider", "ADVANCED_DATAPATH"),
        "networkPolicies": [{"enabled": False, "provider": ""}],
        # The sandbox's API server has one address, and no name that a certificate of Google's is for.
        "privateClusterConfigs": [],
        "controlPlaneEndpointsConfigs": [],
        "network": row.get("spec", {}).get("network", f"projects/{row['project']}/global/networks/default"),
        "selfLink": f"https://container.googleapis.com/v1/{row['name']}",
    }


def get_bucket(cloud: Cloud, settings: Settings, args: Json) -> Json:
    """gcp:storage/getBucket:getBucket. The account here may view the buckets of its own project alone."""
    name = args["name"]
    try:
        row = cloud.get("bucket", name)
    except CloudError as error:
        raise SandboxError("googleapi: Error 404: The specified bucket does not exist., notFound") from error
    if row["project"] != settings.project:
        raise SandboxError(
            "googleapi: Error 403: The caller does not have storage.buckets.get access to the Google Cloud Storage bucket. "
            "Permission 'storage.buckets.get' denied on resource (or it may not exist)., forbidden"
        )
    return {
        "id": name,
        "name": name,
        "project": row["project"],
        "projectNumber": project_number(row["project"]),
        "location": row["location"],
        "labels": row["labels"],
        "effectiveLabels": row["labels"],
        "pulumiLabels": row["labels"],
        "publicAccessPrevention": row["publicAccessPrevention"],
        "storageClass": row["storageClass"],
        "timeCreated": row["timeCreated"],
        "updated": row["updated"],
        "uniformBucketLevelAccess": row["uniformBucketLevelAccess"],
        "selfLink": f"https://www.googleapis.com/storage/v1/b/{name}",
        "url": f"gs://{name}",
    }


def get_project(cloud: Cloud, settings: Settings, args: Json) -> Json:
    """gcp:organizations/getProject:getProject."""
    project = args.get("projectId") or settings.need_project({})
    row = _project(cloud, project, f"Project Not Found : {project}", f"Project {project}")
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


def get_project_service(cloud: Cloud, settings: Settings, args: Json) -> Json:
    """gcp:projects/getProjectService:getProjectService. As the real one, it finds nothing where the API is off."""
    project, service = settings.need_project(args), args["service"]
    what = f"Project Service {project}/{service}"
    _project(cloud, project, what, what)
    if not is_enabled(cloud, project, service):
        return {}
    return {"id": f"{project}/{service}", "project": project, "service": service}


def _project(cloud: Cloud, project: str, none: str, what: str) -> Json:
    """A project that the account here may see; `none` and `what` are what the provider calls it where it is missing, or not."""
    doing = "Error when reading or editing"
    try:
        row = cloud.get("project", f"projects/{project}")
    except CloudError as error:
        raise SandboxError(
            f"{doing} {none}: googleapi: Error 403: The caller does not have permission, forbidden"
        ) from error
    require_api(cloud, f"{doing} {what}", project, "cloudresourcemanager")
    return row


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


def get_secrets(cloud: Cloud, settings: Settings, args: Json) -> Json:
    """gcp:secretmanager/getSecrets:getSecrets, without a filter."""
    if args.get("filter"):
        raise SandboxError("getSecrets with a filter is not emulated in the sandbox")
    project = settings.need_project(args)
    require_api(cloud, "Error when listing Secrets", project, "secretmanager")
    name = f"projects/{project}/secrets"
    rows = cloud.list("secret", f"{name}/")
    secrets = [get_secret(cloud, settings, {"project": project, "secretId": row["secretId"]}) for row in rows]
    return {
        "id": name,
        "project": project,
        "filter": "",
        "secrets": [
            {
                **{key: value for key, value in secret.items() if key != "id"},
                "secretType": "",
                "tags": {},
                "ttl": "",
                "versionDestroyTtl": secret.get("versionDestroyTtl", ""),
            }
            for secret in secrets
        ],
    }


def get_secret_version(cloud: Cloud, settings: Settings, args: Json) -> Json:
    """gcp:secretmanager/getSecretVersion:getSecretVersion, without the value.

    As the real one, it finds the newest one where none is named, and calls a version that is disabled enabled.
    """
    if args.get("fetchSecretData", True):
        raise SandboxError("getSecretVersion with fetchSecretData is not emulated in the sandbox")
    secret = f"projects/{settings.need_project(args)}/secrets/{args['secret'].rpartition('/')[2]}"
    try:
        cloud.get("secret", secret)
        numbers = [int(row["version"]) for row in cloud.list("secretVersion", f"{secret}/versions/")]
        number = args.get("version") or max(numbers, default="latest")
        row = cloud.get("secretVersion", f"{secret}/versions/{number}")
    except CloudError as error:
        raise SandboxError(
            "error retrieving available secret manager secret versions: googleapi: Error "
            f"{error.status}: {error.message}"
        ) from error
    _, project, _, secret_id, _, version = row["name"].split("/")
    name = f"projects/{project_number(project)}/secrets/{secret_id}/versions/{version}"
    return {
        "id": name,
        "name": name,
        "project": project,
        "secret": secret_id,
        "version": version,
        "createTime": row.get("createTime", ""),
        "destroyTime": row.get("destroyTime", ""),
        "enabled": True,
        "secretData": "",
        "isSecretDataBase64": False,
        "fetchSecretData": False,
    }


def _found(cloud: Cloud, kind: str, name: str) -> Json:
    try:
        return cloud.get(kind, name)
    except CloudError as error:
        raise SandboxError(f"{name} not found") from error


LOOKUPS: dict[str, Callable[[Cloud, Settings, Json], Json]] = {
    "gcp:container/getCluster:getCluster": get_cluster,
    "gcp:organizations/getProject:getProject": get_project,
    "gcp:projects/getProjectService:getProjectService": get_project_service,
    "gcp:secretmanager/getSecret:getSecret": get_secret,
    "gcp:secretmanager/getSecretVersion:getSecretVersion": get_secret_version,
    "gcp:secretmanager/getSecrets:getSecrets": get_secrets,
    "gcp:storage/getBucket:getBucket": get_bucket,
}
