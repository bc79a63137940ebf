"""Starts a sandbox: the control plane, the emulators, the emulated projects, and the stack in its own backend."""

from __future__ import annotations

import json
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from sandbox import emulators_daemon, other_stack, stack_file
from sandbox.cluster import base_objects, control_plane
from sandbox.cluster.crds import crds_served, fetch_crds, install_crds
from sandbox.environment import make_directories
from sandbox.errors import SandboxError
from sandbox.google.cloud import Cloud
from sandbox.nodes import pods_daemon
from sandbox.paths import Home, write_atomically
from sandbox.phases import timed
from sandbox.plugins import fork_server
from sandbox.plugins.shims import write_shims
from sandbox.processes import running, stop
from sandbox.toolchain import containers
from sandbox.toolchain.build import ensure


@dataclass(frozen=True)
class Sandbox:
    """One sandbox and the stack that runs in it."""

    home: Home
    stack: str
    root: Path
    env: dict[str, str] = field(repr=False)


def bring_up(box: Sandbox, settings: stack_file.Settings, played: bool | None = None) -> None:
    """Have the control plane, the emulators, the emulated projects and the stack; what is there is left as it is.

    `played` says whether pods are played rather than run; None: as the home's are.
    """
    toolchain = ensure()
    with control_plane.exclusive(box.home), ThreadPoolExecutor() as pool:
        make_directories(box.home)
        pods_daemon.choose(box.home, played)
        write_shims(box.home, toolchain)
        is_up = control_plane.is_up(box.home)
        if not is_up:
            stop(box.home)
        _drop_stale_locks(box.home)
        forks = None if fork_server.answers(box.home) else pool.submit(fork_server.start, box.home, box.env)
        stack = pool.submit(_init_stack, box)
        if not is_up:
            crds = pool.submit(fetch_crds, box.home)
            with timed(
                "control plane: etcd, kube-apiserver, controller-manager, scheduler and kwok are ready"
            ):
                control_plane.start(box.home, toolchain, box.env)
            crds.result()
        cluster = _existing_cluster(box, settings)
        contents = pool.submit(_fill_cluster, box, cluster, stack_file.bring_crds(settings))
        _seed_cloud(box, settings, cluster)
        if forks:
            forks.result()
        if not emulators_daemon.is_up(box.home):
            with timed("emulators: External Secrets, CloudNativePG, node pools and kubelet are watching"):
                emulators_daemon.start(box.home, box.env)
        if pods_daemon.runs(box.home):
            containers.ensure()
        if pods_daemon.runs(box.home) and not pods_daemon.is_up(box.home):
            with timed("node runtime: pods of known images run"):
                pods_daemon.start(box.home, box.env)
        contents.result()
        stack.result()
    copy = settings | {"encryptionsalt": stack_file.state_salt(box.home, box.stack)}
    write_atomically(box.home.stack_file(box.stack), yaml.safe_dump(copy, sort_keys=False))


def _drop_stale_locks(home: Home) -> None:
    """Forget the state locks of engines that were killed; only this sandbox's engines use this state."""
    if "pulumi" not in running(home).values():
        shutil.rmtree(home.state / ".pulumi" / "locks", ignore_errors=True)


def _existing_cluster(box: Sandbox, settings: stack_file.Settings) -> stack_file.Cluster | None:
    """The cluster that the gateway is to find; None where a stack in this sandbox makes it."""
    if not stack_file.is_gateway(settings):
        return None
    cluster = stack_file.cluster(settings)
    by_a_stack = cluster.stack and not other_stack.is_ours(box.home, cluster.stack)
    made = any("spec" in row for row in Cloud(box.home.cloud).list("cluster"))
    return None if by_a_stack or made else cluster


def _fill_cluster(box: Sandbox, cluster: stack_file.Cluster | None, charts_bring_crds: bool) -> None:
    """What a GKE cluster has from the start, and the operators' CRDs, unless charts are to bring them."""
    api = control_plane.api(box.home)
    if cluster:
        for node in base_objects.nodes(cluster.project, cluster.name, cluster.location):
            api.create("/api/v1/nodes", node)
    endpoint = base_objects.api_server_endpoint()
    api.create("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", endpoint)
    for storage_class in base_objects.storage_classes():
        api.create("/apis/storage.k8s.io/v1/storageclasses", storage_class)
    if not charts_bring_crds and not crds_served(api, box.home):
        with timed("CRDs of the operators are served"):
            install_crds(api, box.home)


def _seed_cloud(box: Sandbox, settings: stack_file.Settings, cluster: stack_file.Cluster | None) -> None:
    """The projects and the cluster that the stack finds in the emulated cloud, and the stack that names the cluster."""
    server = json.loads(box.home.kubeconfig.read_text())["clusters"][0]["cluster"]
    endpoint, authority = server["server"].removeprefix("https://"), server["certificate-authority-data"]
    cloud = Cloud(box.home.cloud)
    cloud.set_control_plane(endpoint, authority)
    for project in stack_file.google_projects(settings):
        cloud.ensure_project(project, bare=cluster is None)
    if copy := stack_file.salt_copy(settings):
        _seed_copy(cloud, copy)
    if not cluster:
        return
    autopilot = stack_file.on_autopilot(settings)
    cloud.ensure_cluster(cluster.project, cluster.location, cluster.name, endpoint, authority, autopilot)
    if cluster.stack:
        named = {
            "clusterName": cluster.name,
            "clusterLocation": cluster.location,
            "clusterProject": cluster.project,
        }
        other_stack.write_outputs(box.home, cluster.stack, named)


def _seed_copy(cloud: Cloud, secret: str) -> None:
    """The Secret that somebody else makes for the salt's copy, with its project: who deletes it later has deleted it."""
    _, project, _, secret_id = secret.split("/")
    if any(row["projectId"] == project for row in cloud.list("project")):
        return
    cloud.ensure_project(project)
    replication, delay = {"auto": {}}, f"{30 * 24 * 3600}s"
    body = {"project": project, "secretId": secret_id, "replication": replication, "versionDestroyTtl": delay}
    cloud.create("secret", secret, body)


def _init_stack(box: Sandbox) -> None:
    """Create the stack in the home's own backend, from a folder of the home.

    `pulumi stack init` writes the passphrase's salt into the stack file beside Pulumi.yaml, whatever --config-file says.
    """
    other_stack.forget(box.home, f"organization/{box.home.project}/{box.stack}")
    if stack_file.state_salt(box.home, box.stack):
        return
    folder = box.home.stack_file(box.stack).parent
    shutil.copy(box.root / "Pulumi.yaml", folder)
    box.home.stack_file(box.stack).unlink(missing_ok=True)
    env = {name: value for name, value in box.env.items() if name != "PULUMI_OPTION_CONFIG_FILE"}
    command = [str(box.home.bin / "pulumi"), "stack", "init", box.stack, "--non-interactive"]
    with timed(f"stack {box.stack} is in {box.home.state}"):
        answer = subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True)
    if answer.returncode:
        raise SandboxError(f"pulumi could not create the stack:\n{answer.stderr}")
