"""Where one sandbox keeps its files."""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

HOME_VARIABLE = "LLM_GATEWAY_SANDBOX"
PROGRAM_VARIABLE = "LLM_GATEWAY_SANDBOX_PROGRAM"
"""Names the folder of the program whose stack the sandbox's environment selects."""
REPOSITORY = Path(__file__).resolve().parent.parent
PROJECT = "llm-gateway"
"""The gateway's Pulumi project."""
_LONGEST_SOCKET = 100  # bytes: a Unix socket's path is limited to 104 (macOS) or 108 (Linux)


def write_atomically(path: Path, text: str) -> None:
    """Write a file that only its owner can read, so that a killed writer leaves the old one or none."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    with open(os.open(unfinished, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    unfinished.replace(path)


@dataclass(frozen=True)
class Home:
    """The directory of one sandbox; nothing of the sandbox is written outside it and the toolchain cache.

    The stacks of several projects can live in one; `project` is whose stacks are asked for by name.
    """

    root: Path
    project: str = PROJECT

    @classmethod
    def from_env(cls) -> Home:
        """The sandbox this process belongs to; raises RuntimeError outside one."""
        root = os.environ.get(HOME_VARIABLE)
        if not root:
            raise RuntimeError(
                f"{HOME_VARIABLE} is not set: this program runs only inside a sandbox; use `make up` or `make shell`."
            )
        return cls(Path(root))

    @property
    def kubeconfig(self) -> Path:
        return self.root / "kubeconfig"

    @property
    def cloud(self) -> Path:
        return self.root / "cloud.db"

    @property
    def bin(self) -> Path:
        return self.root / "bin"

    @property
    def state(self) -> Path:
        return self.root / "state"

    @property
    def pulumi_home(self) -> Path:
        return self.root / "pulumi-home"

    @property
    def passphrase(self) -> Path:
        return self.root / "passphrase"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def kwok(self) -> Path:
        return self.root / "kwok"

    @property
    def stacks(self) -> Path:
        return self.root / "stacks"

    @property
    def events(self) -> Path:
        return self.root / "events"

    @property
    def latency(self) -> Path:
        return self.root / "latency.yaml"

    @property
    def programs(self) -> Path:
        """Links to the binaries that the shims in `bin` run."""
        return self.root / "programs"

    @property
    def plugins(self) -> Path:
        """The engine's plugin folder."""
        return self.pulumi_home / "plugins"

    @property
    def language_host(self) -> Path:
        """The stand-in language host; not on PATH, where the engine would warn of it."""
        return self.root / "language-host" / "pulumi-language-python"

    @property
    def fork_socket(self) -> Path:
        """Where the fork server takes programs."""
        return self.socket("fork-server")

    @property
    def kubelet_socket(self) -> Path:
        """Where the node runtime serves the kubelet's API."""
        return self.socket("kubelet")

    @property
    def daemon_ready(self) -> Path:
        """Written by the emulators once they serve."""
        return self.root / "daemon.ready"

    @property
    def daemon_log(self) -> Path:
        return self.logs / "daemon.log"

    @property
    def pods(self) -> Path:
        """A folder per pod that runs: its volumes, logs and what its containers write."""
        return self.root / "pods"

    @property
    def claims(self) -> Path:
        """A folder per volume claim of pods that run."""
        return self.root / "claims"

    @property
    def buckets(self) -> Path:
        """A folder per emulated bucket that has files: base backups and WAL of pods that run."""
        return self.root / "buckets"

    @property
    def pods_mode(self) -> Path:
        """Says whether pods are run or played in this home, from its first start on."""
        return self.root / "pods-mode"

    @property
    def pods_ready(self) -> Path:
        """Written by the node runtime once it serves."""
        return self.root / "pods.ready"

    @property
    def pods_log(self) -> Path:
        return self.logs / "pods.log"

    @property
    def gateway_port(self) -> Path:
        """The gateway's port on 127.0.0.1."""
        return self.root / "gateway-port"

    @property
    def answer(self) -> Path:
        """What came of the request that the last `up` ended with."""
        return self.root / "answer.json"

    @property
    def crds(self) -> Path:
        """The operators' CRDs, one YAML file a group."""
        return self.root / "crds"

    @property
    def user(self) -> Path:
        """HOME of every process of the sandbox: tools find no settings or logins of the user's there."""
        return self.root / "user"

    @property
    def lock(self) -> Path:
        return self.root / "lock"

    def pod_sockets(self, uid: str) -> Path:
        """A folder for the Unix sockets of a pod's programs, whose names have up to 19 bytes."""
        return self.socket(f"pod-{uid[:8]}", below=20)

    def socket(self, name: str, below: int = 0) -> Path:
        """A Unix socket in the home, or in the temporary directory when the home's path is too long for one.

        `below` is by how many bytes the path gets longer: where it is a folder of sockets.
        """
        path = self.root / f"{name}.sock"
        if len(bytes(path)) + below <= _LONGEST_SOCKET:
            return path
        digest = hashlib.sha256(bytes(self.root)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"llm-gateway-{digest}-{name}.sock"

    def stack_file(self, stack: str) -> Path:
        """The copy of `Pulumi.<stack>.yaml` the engine reads."""
        return self.stacks / self.project / f"Pulumi.{stack}.yaml"

    @property
    def report(self) -> Path:
        """The page about the last `up`."""
        return self.root / "report.html"

    def checkpoint(self, stack: str) -> Path:
        """A stack's state, as the engine's own backend keeps it."""
        return self.state / ".pulumi" / "stacks" / self.project / f"{stack}.json"

    def event_log(self, stack: str, operation: str) -> Path:
        """The engine's events of the last `up`, `preview`, `refresh` or `destroy`."""
        return self.events / self.project / f"{stack}-{operation}.jsonl"
