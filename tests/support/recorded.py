"""An `up` of the dev stack, recorded in the sandbox at a tenth of GKE's times, and one that fails, made from it.

Properties that no test reads are taken out of the files. The failing one is what the engine leaves when the database
does not turn ready: what waits for it is neither in the state nor in the log, and what still ran has no end.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DATA = Path(__file__).parents[1] / "unit" / "data"
STATE, EVENTS, ANSWER = DATA / "dev-up-state.json", DATA / "dev-up.jsonl", DATA / "dev-up-answer.json"
TITLE = "llm-gateway / dev"
REASON = "the Cluster was not Ready within 900 s"

_BEHIND = ("litellm-release", "tenants-reconcile")


def write_failed(folder: Path) -> tuple[Path, Path]:
    """State and event log of the failing `up`."""
    state = json.loads(STATE.read_text())
    resources: list[dict[str, Any]] = state["deployment"]["resources"]
    gone = (*_BEHIND, "postgres-cluster")
    state["deployment"]["resources"] = [row for row in resources if not row["urn"].endswith(gone)]
    events = [json.loads(line) for line in EVENTS.read_text().splitlines()]
    folder.joinpath("state.json").write_text(json.dumps(state))
    folder.joinpath("up.jsonl").write_text("".join(f"{json.dumps(event)}\n" for event in _failing(events)))
    return folder / "state.json", folder / "up.jsonl"


def _failing(events: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for event in events:
        time, done = event["timestamp"], event.get("resOutputsEvent")
        steps = [step for step in event.values() if isinstance(step, dict) and "metadata" in step]
        (urn,) = [step["metadata"]["urn"] for step in steps] or [""]
        if urn.endswith(_BEHIND) or (done and urn.endswith("vllm-release")):
            continue
        if done and urn.endswith("postgres-cluster"):
            yield {"timestamp": time, "diagnosticEvent": {"severity": "error", "urn": urn, "message": REASON}}
            yield {"timestamp": time, "resOpFailedEvent": done}
        elif "summaryEvent" in event:
            yield {"timestamp": time, "summaryEvent": event["summaryEvent"] | {"result": "failed"}}
        else:
            yield event
