"""What messages of Kubernetes, the operators, Google and LiteLLM mean, and what to do then."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Advice:
    """What is wrong and what to do, for messages that `pattern` matches; `{0}` is its first group."""

    pattern: str
    wrong: str
    do: str

    def read(self, message: str) -> tuple[str, str] | None:
        """What is wrong and what to do, if the message is one of these."""
        found = re.search(self.pattern, message)
        return (self.wrong.format(*found.groups("")), self.do.format(*found.groups(""))) if found else None


ADVICE = (
    Advice(
        "GCE_STOCKOUT|ZONE_RESOURCE_POOL_EXHAUSTED|out of resources",
        "Google has no such machine or GPU in these zones now",
        "add zones to gpuPool.zones, choose another gpuPool.machineType or a gpuPool.reservation, or run `up` again later",
    ),
    Advice(
        "[Qq]uota '?([A-Z][A-Z_0-9]+)'? exceeded",
        "the project's quota {0} is used up",
        "ask Google for more of it (for GPUs also of GPUS_ALL_REGIONS), then run `up` again",
    ),
    Advice(
        "QUOTA_EXCEEDED|[Qq]uota exceeded",
        "a quota of the project is used up",
        'the console\'s page "Quotas" says which; ask Google for more of it (for GPUs also of GPUS_ALL_REGIONS), then run '
        "`up` again",
    ),
    Advice(
        "Error 409|resource - .* - already exists",
        "Google has it, and the state does not know it",
        "if an `up` was killed or lost its provider: `python -m tools.mend --stack <stack>` imports it (in a sandbox: "
        "`make mend`). If not, somebody else made it, or the state was lost: docs/troubleshooting.md",
    ),
    Advice(
        '(hook "[^"]+" failed: rpc error: code = Unavailable)|context canceled|error reading from server: EOF',
        "it was cut short: the `up` was interrupted, or its program or provider ended",
        "run `up` again: it goes on from there",
    ),
    Advice(
        "max node group size reached",
        "the node pool is at its maximum",
        "raise gpuPool.maxNodes, or ask for fewer replicas",
    ),
    Advice(
        r"""storageclass\.storage\.k8s\.io "([^"]*)" not found""",
        "the cluster has no StorageClass {0}",
        "choose one that `kubectl get storageclass` lists (postgres.storageClass or vllm.storageClass)",
    ),
    Advice(
        "volume node affinity conflict",
        "its volume lies in a zone in which no node takes it",
        "a model's weights need no zone with vllm.cache: ephemeral; anything else needs a node in the volume's zone",
    ),
    Advice(
        "Multi-Attach error",
        "a pod on another node has its volume, which one node can mount",
        "a second engine needs vllm.cache: ephemeral or shared; if the other pod is ending, wait",
    ),
    Advice(
        "Not enough disk space",
        "a volume of the database is full",
        "make its claim larger with kubectl, then the setting: 'A volume of the database is full' in docs/operations.md",
    ),
    Advice(
        r"Insufficient ([\w./-]+)",
        "no node has enough {0} free",
        "add nodes, choose a larger machine type, or ask for less",
    ),
    Advice(
        # Behind "Insufficient", which the scheduler says of the nodes alone that have the labels.
        "didn't match Pod's node affinity/selector",
        "no node has the labels that it asks for",
        "see that the node pool exists and was not changed by hand: `kubectl get nodes --show-labels`",
    ),
    Advice(
        "unable to get cluster state: .* not found",
        "it was deleted from the cluster, and the state still has it",
        "`pulumi refresh`, then `pulumi up`",
    ),
    Advice(
        r"""(secret|configmap|persistentvolumeclaim) "([^"]*)" not found""",
        "it needs the {0} {1}, which is not there",
        "if it was deleted by hand: `pulumi refresh`, then `pulumi up`",
    ),
    Advice(
        r"couldn't find key (\S+) in (\S+ \S+)",
        "{1} has no key {0}",
        "if it was changed by hand: `pulumi refresh`, then `pulumi up`",
    ),
    Advice(
        "violates PodSecurity|is forbidden: exceeded quota|FailedCreate",
        "the namespace admits no such pod",
        "the text names the rule; change the pod, or lift the rule in that namespace",
    ),
    Advice(
        "storage.buckets.get",
        "the database may not look at the bucket of its backups (storage.buckets.get)",
        "run `up` again in a few minutes; if it stays, see who has roles/storage.legacyBucketReader on the bucket",
    ),
    Advice(
        "Expected empty archive",
        "the bucket holds backups of a Cluster of this name",
        "choose a new postgres.name: docs/restore.md",
    ),
    Advice(
        r"secret (\S+): the value is empty, or has quotes",
        "the value of the secret {0} is empty, or has quotes, spaces, line ends or characters that its reader does not take",
        "`printf %s VALUE | gcloud secrets versions add {0} --data-file=-` with the bare value; where a setting names its "
        "version (`adopt`), raise that to the new one; then run `up` again",
    ),
    Advice(
        "InvalidProviderConfig|unable to create client",
        "the External Secrets operator cannot log in to Google",
        "see that the cluster has Workload Identity (`gcloud container clusters describe`) and that its pods reach the "
        "metadata server: docs/network.md",
    ),
    Advice(
        "P1000|password authentication failed",
        "the database refuses the login",
        "if the password was rotated a moment ago, run `up` again",
    ),
    Advice(
        "P1001|Can't reach database server",
        "the database cannot be reached",
        "see `kubectl get clusters.postgresql.cnpg.io -A`, or the address in postgres.existing, and the network policies: "
        "docs/network.md",
    ),
    Advice(
        "P1011|Error opening a TLS connection",
        "the database has no TLS, or another certificate than postgres.existing expects",
        "see postgres.existing's tls and ca: docs/existing.md",
    ),
    Advice(
        "CUDA out of memory|OutOfMemoryError|No available memory for the cache blocks",
        "the model does not fit into the GPU's memory",
        "choose a smaller maxModelLen or a machine type with a larger GPU",
    ),
    Advice(
        "NVIDIA driver on your system is too old|driver version is insufficient for CUDA|unsupported display driver",
        "the nodes' NVIDIA driver is older than the CUDA of vLLM's image needs",
        "leave gpuPool.driverVersion and imageType off, which means driverVersion: LATEST on COS_CONTAINERD, or upgrade the cluster; meanwhile "
        'VLLM_ENABLE_CUDA_COMPATIBILITY: "1" in vllm.environment',
    ),
    Advice(
        "no kernel image is available for execution",
        "the GPU is older than those that vLLM's image is built for",
        "choose a gpuPool.accelerator of compute capability 7.5 or later",
    ),
    Advice(
        "GatedRepoError|gated repo|401 Client Error",
        "Hugging Face gives the weights to nobody without a token that may read them",
        "set huggingFaceToken of the model",
    ),
    Advice(
        "OOMKilled",
        "a container needed more memory than its limit",
        "raise its memory limit",
    ),
    Advice(
        "ErrImagePull|ImagePullBackOff|InvalidImageName",
        "an image cannot be pulled",
        "the text says whether the registry cannot be reached, asks for a login, or has no such tag; from a private "
        "cluster, images outside Google need Cloud NAT or a mirror (images.mirrors), and a login comes by images.pullSecret",
    ),
    Advice(
        "CERTIFICATE_VERIFY_FAILED|certificate signed by unknown authority",
        "nobody whom the pod believes has signed the certificate of what it asked, such as a proxy that looks into TLS",
        "give the authority's certificate in egress.ca, or name the host in egress.noProxy where it is reached without the proxy",
    ),
    Advice(
        "[Ss]tartup probe failed",
        "a container does not start in the time that its probe allows",
        "see its log; weights that load slowly need more time, a crash another setting",
    ),
    Advice(
        "DeadlineExceeded",
        "it did not end in time",
        "run `up` again; if it only needs more time, give it more in `timeouts` (docs/settings.md)",
    ),
)


def advise(message: str) -> tuple[str, str] | None:
    """What is wrong and what to do by the first advice that fits; None where none does."""
    return next((found for advice in ADVICE if (found := advice.read(message))), None)
