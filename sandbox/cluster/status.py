"""What an object's status says: its conditions, and times as the API writes them."""

from __future__ import annotations

from datetime import UTC, datetime

from sandbox.cluster.client import Json


def timestamp(when: datetime | None = None) -> str:
    """A moment (default: now) as the API writes it."""
    return (when or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment(written: str) -> datetime:
    """The moment that the API wrote."""
    return datetime.fromisoformat(written.replace("Z", "+00:00"))


def condition(item: Json, type_: str) -> Json | None:
    """The object's status condition of a type."""
    for found in item.get("status", {}).get("conditions", []):
        if found["type"] == type_:
            return found
    return None


def holds(item: Json | None, type_: str) -> bool:
    """Is the object there, and its status condition of a type True?"""
    found = condition(item, type_) if item else None
    return found is not None and found["status"] == "True"


def with_condition(item: Json, type_: str, status: bool, reason: str, message: str) -> list[Json]:
    """The object's status conditions with this one set; its transition time moves only with its status."""
    known = condition(item, type_)
    value = "True" if status else "False"
    since = known["lastTransitionTime"] if known and known["status"] == value else timestamp()
    others = [found for found in item.get("status", {}).get("conditions", []) if found["type"] != type_]
    return [
        *others,
        {"type": type_, "status": value, "reason": reason, "message": message, "lastTransitionTime": since},
    ]


def serves(deployment: Json) -> bool:
    """Has a Deployment available pods? One scaled to zero has the condition Available without any."""
    return holds(deployment, "Available") and bool(deployment["status"].get("availableReplicas"))
