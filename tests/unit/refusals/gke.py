"""Project, cluster and GPU pools."""

from tests.support.entries import H200, Cases, vllm

BAD: Cases = [
    ({"gcp": None}, "llm-gateway:gcp: the key is missing", "project: my-project-id"),
    ({"gcp": {"project": "X"}}, "llm-gateway:gcp.project", "project: my-project-id"),
    ({"gcp": {"projct": "example-llm"}}, "llm-gateway:gcp.projct: no such key", "project"),
    ({"gcp": "example-llm"}, "llm-gateway:gcp:", "{project: my-project-id}"),
    ({"cluster": {"name": "platform"}}, "llm-gateway:cluster.location", "location: europe-west4"),
    ({"cluster": {"name": "platform", "location": "here"}}, "llm-gateway:cluster.location", "europe-west4"),
    ({"gpuPool": {"minNodes": 2}}, "llm-gateway:gpuPool.minNodes", "minNodes: 1"),
    ({"gpuPool": {"maxNodes": 0}}, "llm-gateway:gpuPool.maxNodes", "maxNodes: 1"),
    ({"gpuPool": {"maxNodes": "1"}}, "llm-gateway:gpuPool.maxNodes", "maxNodes: 1"),
    ({"gpuPool": {"accelerator": "nvidia-h100"}}, "llm-gateway:gpuPool.accelerator", "nvidia-l4"),
    ({"gpuPool": {"acceleratorCount": 2}}, "llm-gateway:gpuPool.acceleratorCount", "acceleratorCount: 1"),
    ({"gpuPool": {"maxUnavailable": 0}}, "llm-gateway:gpuPool.maxUnavailable", "maxUnavailable: 1"),
    ({"gpuPool": {"taint": {"effect": "NoSchedule"}}}, "llm-gateway:gpuPool.taint.effect", "NO_SCHEDULE"),
    # Names within the limits of Google Cloud and of Kubernetes.
    ({"gcp": {"project": "p" * 31}}, "llm-gateway:gcp.project", "project: my-project-id"),
    ({"gcp": {"project": "123456789012"}}, "llm-gateway:gcp.project", "project: my-project-id"),
    ({"cluster": {"name": "c" * 41, "location": "europe-west4"}}, "llm-gateway:cluster.name", "platform-dev"),
    ({"gpuPool": {"name": "GPU"}}, "llm-gateway:gpuPool.name", "name: llm-gpu"),
    ({"gpuPool": {"labels": {"team": "not a label"}}}, "llm-gateway:gpuPool.labels", "team: platform"),
    ({"gpuPool": {"taint": {"key": "a b"}}}, "llm-gateway:gpuPool.taint.key", "nvidia.com/gpu"),
    ({"gpuPool": {"serviceAccount": "me@example.com"}}, "llm-gateway:gpuPool.serviceAccount", "iam.gser"),
    ({"gpuPool": {"reservation": "R"}}, "llm-gateway:gpuPool.reservation", "l4-europe-west4"),
    # The cluster: by name, or from another stack, not both.
    (
        {"cluster": {"name": "a", "location": "europe-west4", "stack": "organization/gke/dev"}},
        "llm-gateway:cluster.stack",
        "either",
    ),
    ({"cluster": {}}, "llm-gateway:cluster.name", "organization/gke-cluster/dev"),
    ({"cluster": {"stack": "gke/dev"}}, "llm-gateway:cluster.stack", "organization/gke-cluster/dev"),
    # GPUs: type, count, machine type and engines fit each other.
    ({"gpuPool": {"machineType": "e2-standard-4"}}, "llm-gateway:gpuPool.machineType", "g2-standard-4"),
    ({"gpuPool": {"machineType": "g2-standard-5"}}, "llm-gateway:gpuPool.machineType", "g2-standard-4"),
    ({"gpuPool": {"machineType": "n1-standard-8"}}, "llm-gateway:gpuPool.accelerator", "nvidia-tesla-t4"),
    (
        {
            "gpuPool": {
                "machineType": "n1-standard-8",
                "accelerator": "nvidia-tesla-t4",
                "acceleratorCount": 3,
            }
        },
        "llm-gateway:gpuPool.acceleratorCount",
        "acceleratorCount: 1",
    ),
    (
        {"gpuPool": {"machineType": "a2-ultragpu-1g", "accelerator": "nvidia-tesla-a100"}},
        "llm-gateway:gpuPool.accelerator",
        "nvidia-a100-80gb",
    ),
    (
        {"gpuPool": {"machineType": "a3-highgpu-1g", "accelerator": "nvidia-h100-80gb"}},
        "llm-gateway:gpuPool.spot",
        "spot: true",
    ),
    ({"gpuPool": {"spot": True, "reservation": "l4"}}, "llm-gateway:gpuPool.spot", "spot: false"),
    ({"gpuPool": {"zones": ["us-central1-a"]}}, "llm-gateway:gpuPool.zones[0]", "europe-west4-a"),
    (
        {"gpuPool": {"zones": ["europe-west4-a", "europe-west4-a"]}},
        "llm-gateway:gpuPool.zones",
        "each zone once",
    ),
    ({"gpuPool": {"maxSurge": 20}}, "llm-gateway:gpuPool.maxSurge", "maxSurge: 19"),
    ({"gpuPool": H200}, "llm-gateway:gpuPool.diskType", "hyperdisk-balanced"),
    (
        {"gpuPool": {"reservation": "projects/p/reservations/l4"}},
        "llm-gateway:gpuPool.reservation",
        "l4-europe-west4",
    ),
    ({"gpuPool": {"zones": ["europe-west4-ai"]}}, "llm-gateway:gpuPool.zones[0]", "europe-west4-a"),
    (vllm(replicas=2), "llm-gateway:gpuPool.maxNodes", "maxNodes: 2"),
]
