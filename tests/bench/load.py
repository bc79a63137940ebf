"""Puts load on an OpenAI-compatible API with vegeta (https://github.com/tsenart/vegeta), and reads what that saw."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from statistics import median

from sandbox.toolchain.extra import ensure


@dataclass(frozen=True)
class Load:
    """What the clients of one load saw: latencies in milliseconds, answers per second."""

    p50: float
    p95: float
    p99: float
    rate: float

    @classmethod
    def read(cls, report: str) -> Load:
        """vegeta's report in JSON. Raises ValueError where not every request was answered with 200."""
        found = json.loads(report)
        if found["success"] != 1:
            raise ValueError(f"answers: {found['status_codes']}, {found['errors']}")
        p50, p95, p99 = (found["latencies"][name] / 1e6 for name in ("50th", "95th", "99th"))
        return cls(p50, p95, p99, found["throughput"])

    @classmethod
    def of(cls, loads: Iterable[Load]) -> Load:
        """The median of each figure."""
        return cls(*map(median, zip(*map(astuple, loads), strict=True)))

    def over(self, upstream: Load) -> Load:
        """What is added to an upstream's latencies; the rate as a part of the upstream's."""
        latencies = (self.p50 - upstream.p50, self.p95 - upstream.p95, self.p99 - upstream.p99)
        return Load(*latencies, self.rate / upstream.rate)

    def ratio(self, other: Load) -> Load:
        """Each figure as a ratio to another load's."""
        return Load(*(mine / its for mine, its in zip(astuple(self), astuple(other), strict=True)))


def put(urls: Sequence[str], key: str, model: str, clients: int, seconds: float) -> Load:
    """Have clients ask these APIs in turn for completions, each as soon as it has its answer. Raises ValueError."""
    vegeta = str(ensure("vegeta", "go-load"))
    body = {"model": model, "max_tokens": 8, "messages": [{"role": "user", "content": "Say hello."}]}
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "body").write_text(json.dumps(body))
        target = f"authorization: Bearer {key}\ncontent-type: application/json\n@{folder}/body\n"
        Path(folder, "targets").write_text(
            "\n".join(f"POST {url}/v1/chat/completions\n{target}" for url in urls)
        )
        attack = [
            *(vegeta, "attack", f"-targets={folder}/targets", f"-output={folder}/results"),
            *("-rate=0", f"-workers={clients}", f"-max-workers={clients}"),
            f"-duration={seconds}s",
        ]
        subprocess.run(attack, check=True)
        report = [vegeta, "report", "-type=json", f"{folder}/results"]
        return Load.read(subprocess.run(report, check=True, capture_output=True, text=True).stdout)
