"""What an `up` finds ready: Google's APIs, the roles of whoever runs it, the cluster, and programs and logins.

This is the one list. docs/prerequisites.md and the README's part are made from it; what the program looks at before
anything is made takes its names and texts from here; a test compares it with the kinds of resources that are made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from settings import Settings

LEAST_KUBERNETES = (1, 30)
"""The first Kubernetes whose API server lets a container sleep before it stops, as the proxy does.

https://kubernetes.io/docs/concepts/containers/container-lifecycle-hooks/
"""
AUTH_PLUGIN = "gke-gcloud-auth-plugin"


def _always(_: Settings) -> bool:
    return True


def _backups_in_a_bucket(settings: Settings) -> bool:
    return settings.postgres.backups.method == "objectStore"


def _bucket(settings: Settings) -> bool:
    return _backups_in_a_bucket(settings) or bool(settings.weight_buckets)


def _vertex(settings: Settings) -> Mapping[str, str]:
    return {
        f"models[{index}].hosted.params.vertex_project": model.hosted.params["vertex_project"]
        for index, model in enumerate(settings.models)
        if model.hosted and model.hosted.as_workload
    }


def _streaming(settings: Settings) -> Mapping[str, None]:
    return {f"{key}.imageStreaming": None for key, pool in settings.pools.items() if pool.image_streaming}


def _cloud_sql(settings: Settings) -> bool:
    return bool(settings.postgres.existing and settings.postgres.existing.cloud_sql)


def _instance(settings: Settings) -> Mapping[str, str]:
    existing = settings.postgres.existing
    found = existing.cloud_sql if existing else None
    return {"postgres.existing.cloudSql.instance": found.project} if found else {}


def _account(settings: Settings) -> Mapping[str, str]:
    existing = settings.postgres.existing
    found = existing.cloud_sql if existing else None
    return {"postgres.existing.cloudSql.serviceAccount": found.account_project} if found else {}


def _looked_up(settings: Settings) -> bool:
    return bool(_vertex(settings) or _streaming(settings) or _cloud_sql(settings))


@dataclass(frozen=True, kw_only=True)
class Api:
    """A Google API that must be enabled.

    `project` says where, and `when` under which settings, which `asked` decides. `kinds` are the beginnings of the tokens
    of what the program makes or looks up by it. `first` is the lookup that fails before anything is made where it is off.
    """

    name: str
    project: str
    why: str
    when: str = ""
    asked: Callable[[Settings], bool] = _always
    kinds: Sequence[str] = ()
    first: str = ""


@dataclass(frozen=True, kw_only=True)
class CheckedApi(Api):
    """One that nothing would miss before much is made, so that it is looked up: `otherwise` says what would happen.

    `keys` are the settings that ask for it, each with the project; None means the cluster's.
    """

    otherwise: str
    keys: Callable[[Settings], Mapping[str, str | None]]


RESOURCE_MANAGER = Api(
    name="cloudresourcemanager.googleapis.com",
    project="`gcp.project`, `cluster.project`",
    why="the number of the cluster's project, by which IAM knows its Kubernetes service accounts; grants on projects",
    kinds=("gcp:organizations/", "gcp:projects/iAMMember:"),
    first="the lookup of the project",
)
CLUSTER_APIS: Sequence[Api] = (
    Api(
        name="compute.googleapis.com",
        project="`cluster.project`",
        why="the cluster's nodes, their disks and reservations",
        first="GKE has enabled it",
    ),
    Api(
        name="container.googleapis.com",
        project="`cluster.project`",
        why="the cluster and its node pools",
        kinds=("gcp:container/",),
        first="the lookup of the cluster",
    ),
    Api(
        name="iamcredentials.googleapis.com",
        project="`cluster.project`",
        why="Workload Identity Federation, by Google's documentation",
    ),
)
APIS: Sequence[Api] = (
    RESOURCE_MANAGER,
    *CLUSTER_APIS,
    Api(
        name="secretmanager.googleapis.com",
        project="`gcp.project`",
        why="every secret",
        kinds=("gcp:secretmanager/",),
        first="the lookup of the secrets",
    ),
    Api(
        name="serviceusage.googleapis.com",
        project="the projects of the APIs that are looked up",
        why="whether they are enabled; it is on in a new project",
        when="an API that is looked up",
        asked=_looked_up,
        kinds=("gcp:projects/getProjectService:",),
    ),
    Api(
        name="storage.googleapis.com",
        project="`gcp.project`",
        why="the backups' bucket, and grants on the buckets of weights; it is on in a new project",
        when="`postgres.backups.method: objectStore`, or weights in a bucket",
        asked=_bucket,
        kinds=("gcp:storage/",),
        first="the lookup of the backups' bucket",
    ),
    CheckedApi(
        name="aiplatform.googleapis.com",
        project="each `vertex_project`",
        why="models of Vertex AI",
        when="Vertex AI without a key",
        asked=lambda settings: bool(_vertex(settings)),
        otherwise="Google would refuse every request to its models",
        keys=_vertex,
    ),
    CheckedApi(
        name="containerfilesystem.googleapis.com",
        project="`cluster.project`",
        why="image streaming",
        when="`gpuPool.imageStreaming`",
        asked=lambda settings: bool(_streaming(settings)),
        otherwise="no image could be streamed, and engines would start late or not at all",
        keys=_streaming,
    ),
    CheckedApi(
        name="sqladmin.googleapis.com",
        project="the instance's project",
        why="the Cloud SQL Auth Proxy finds the instance by it",
        when="`postgres.existing.cloudSql`",
        asked=_cloud_sql,
        otherwise="the Cloud SQL Auth Proxy would never reach the database",
        keys=_instance,
    ),
    CheckedApi(
        name="iam.googleapis.com",
        project="the service account's project",
        why="the Auth Proxy's Kubernetes service account may act as it",
        when="`postgres.existing.cloudSql`",
        asked=_cloud_sql,
        kinds=("gcp:serviceaccount/",),
        otherwise="Google would refuse the grant on the service account, half-way through the `up`",
        keys=_account,
    ),
)
STATE_APIS: Sequence[str] = ("cloudkms.googleapis.com", "storage.googleapis.com")
"""For the state in a bucket, and the key that it is encrypted with."""
GITHUB_APIS: Sequence[str] = (
    "iam.googleapis.com",
    "iamcredentials.googleapis.com",
    "sts.googleapis.com",
)
"""For GitHub's tokens as logins."""


@dataclass(frozen=True, kw_only=True)
class Role:
    """A role of whoever runs `pulumi up`, and `previews`, which is enough for a preview; empty: it needs none there."""

    name: str
    on: str
    why: str
    previews: str = ""
    when: str = ""
    asked: Callable[[Settings], bool] = _always
    kinds: Sequence[str] = ()


BUCKET_VIEWER = "roles/storage.bucketViewer"
SERVICE_VIEWER = "roles/serviceusage.serviceUsageViewer"
SECRET_VIEWER = "roles/secretmanager.viewer"
ROLES: Sequence[Role] = (
    Role(
        name="roles/container.admin",
        on="the cluster's project",
        why="the cluster, its project's number, node pools, and what is made in the cluster, roles and CRDs included",
        previews="roles/container.viewer",
        kinds=("gcp:container/", "gcp:organizations/", "kubernetes:"),
    ),
    Role(
        name="roles/secretmanager.admin",
        on="`gcp.project`",
        why="secrets, their versions, and who may read each",
        previews=SECRET_VIEWER,
        kinds=("gcp:secretmanager/",),
    ),
    Role(
        name="roles/iam.serviceAccountUser",
        on="the nodes' service account (`gpuPool.serviceAccount`)",
        why="a node pool runs as it",
        when="a GPU pool that the stack makes",
        asked=lambda settings: any(not (pool.existing or pool.autopilot) for pool in settings.pools.values()),
        kinds=("gcp:container/nodePool:",),
    ),
    Role(
        name="roles/storage.admin",
        on="`gcp.project`; for weights, their buckets are enough",
        why="the backups' bucket, and who may read and write a bucket",
        previews=BUCKET_VIEWER,
        when="`postgres.backups.method: objectStore`, or weights in a bucket",
        asked=_bucket,
        kinds=("gcp:storage/",),
    ),
    Role(
        name="roles/resourcemanager.projectIamAdmin",
        on="each `vertex_project`",
        why="the proxy's own account gets `roles/aiplatform.user`",
        when="Vertex AI without a key",
        asked=lambda settings: bool(settings.vertex_projects),
        kinds=("gcp:projects/iAMMember:",),
    ),
    Role(
        name="roles/iam.serviceAccountAdmin",
        on="the service account (`postgres.existing.cloudSql.serviceAccount`)",
        why="the Auth Proxy's Kubernetes service account gets `roles/iam.workloadIdentityUser` on it",
        when="`postgres.existing.cloudSql`",
        asked=_cloud_sql,
        kinds=("gcp:serviceaccount/",),
    ),
    Role(
        name=SERVICE_VIEWER,
        on="the projects of the APIs that are looked up",
        why="whether they are enabled; without it a warning says that nobody knows",
        previews=SERVICE_VIEWER,
        when="an API that is looked up",
        asked=_looked_up,
        kinds=("gcp:projects/getProjectService:",),
    ),
    *(
        Role(
            name=f"roles/secretmanager.{role}",
            on="the secret of the copy",
            why=why,
            previews=previews,
            when="`secrets.saltCopy`",
            asked=lambda settings: settings.secrets.salt_copy is not None,
            kinds=("gcp:secretmanager/",),
        )
        for role, why, previews in (
            ("viewer", "whether the copy is there", SECRET_VIEWER),
            ("secretVersionAdder", "it is written once", ""),
            ("secretAccessor", "it is compared with the salt", ""),
        )
    ),
)
STATE_ROLES: Sequence[Role] = (
    Role(
        name="roles/storage.objectUser",
        on="the state's bucket",
        why="the state",
        previews="roles/storage.objectViewer",
    ),
    Role(
        name="roles/cloudkms.cryptoKeyEncrypterDecrypter",
        on="the state's key",
        why="secrets in the state; `roles/cloudkms.cryptoKeyDecrypter` once the stack is made",
        previews="roles/cloudkms.cryptoKeyDecrypter",
    ),
)


@dataclass(frozen=True)
class Feature:
    """Something of the cluster, without which `otherwise` happens; it is looked at before anything is made."""

    name: str
    otherwise: str
    when: str = ""


_VERSION = ".".join(map(str, LEAST_KUBERNETES))
WORKLOAD_IDENTITY = Feature("Workload Identity Federation", "External Secrets could read no secret")
ENFORCEMENT = Feature(
    "enforcement of NetworkPolicies (GKE Dataplane V2 or Calico)",
    "every pod of it could reach the database",
    "`network.policies`, the default",
)
KUBERNETES = Feature(f"Kubernetes {_VERSION} or later", "the API server would refuse the proxy's pods")
ENDPOINT = Feature(
    "the endpoint of `cluster.endpoint` within reach",
    "neither Pulumi nor kubectl could talk to it",
)
STANDARD = Feature(
    "node pools, so no Autopilot",
    "GKE would refuse the node pool",
    "self-hosted models without `gpuPool.autopilot`",
)
AUTOPILOT = Feature(
    "Autopilot",
    "no node would come and the engines would stay Pending",
    "`gpuPool.autopilot`",
)
EXISTING_POOL = Feature(
    "the node pool, with the machine type, GPUs, sharing and taint that the settings say",
    "engines would stay Pending, or start where they do not fit",
    "`gpuPool.existing`",
)
FEATURES = (WORKLOAD_IDENTITY, ENFORCEMENT, KUBERNETES, ENDPOINT, STANDARD, AUTOPILOT, EXISTING_POOL)

PROGRAMS: Mapping[str, str] = {
    "[Pulumi CLI](https://www.pulumi.com/docs/install/) 3.259 or newer 3.x": "`pulumi login gs://<state-bucket>`",
    "Python 3.11, 3.12 or 3.13": "",
    "`gcloud`": "`gcloud auth application-default login`, for Google and for the cluster",
    f"`{AUTH_PLUGIN}`": f"comes with `gcloud components install {AUTH_PLUGIN}`; it takes the same login",
}
"""What must be on the machine, each with its login."""
