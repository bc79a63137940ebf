"""What the emulated databases hold: rows, each with the time it was written, and the password of each role.

Kinds in the emulated cloud's store: "database", named NAMESPACE/CLUSTER, and "databaseRole",
NAMESPACE/CLUSTER/ROLE. Both carry the uid of the Cluster they belong to: a Cluster made anew under an old
name starts empty.
"""

from __future__ import annotations

from typing import Any

from sandbox.google.cloud import Cloud, CloudError, now

Json = dict[str, Any]


def write(cloud: Cloud, namespace: str, cluster: str, text: str) -> str:
    """Write a row as a client of the database would; the time of its commit. Raises CloudError NOT_FOUND."""
    at = now()
    rows = cloud.get("database", f"{namespace}/{cluster}")["rows"]
    cloud.change("database", f"{namespace}/{cluster}", rows=[*rows, {"at": at, "text": text}])
    return at


def read(cloud: Cloud, namespace: str, cluster: str) -> list[str]:
    """Every row's text. Raises CloudError NOT_FOUND."""
    return [row["text"] for row in cloud.get("database", f"{namespace}/{cluster}")["rows"]]


def exists(cloud: Cloud, cluster: Json) -> bool:
    """Has the Cluster object's database been made?"""
    try:
        return cloud.get("database", _name(cluster))["cluster"] == cluster["metadata"]["uid"]
    except CloudError:
        return False


def make(cloud: Cloud, cluster: Json, content: Json | None = None) -> None:
    """Make the Cluster object's database, empty or with the content of a backup."""
    uid, name = cluster["metadata"]["uid"], _name(cluster)
    rows = content["rows"] if content else []
    _put(cloud, "database", name, {"cluster": uid, "rows": rows})
    for role, password in (content["roles"] if content else {}).items():
        _put(cloud, "databaseRole", f"{name}/{role}", {"cluster": uid, "password": password})


def content(cloud: Cloud, cluster: Json) -> Json:
    """All that the Cluster object's database holds, as a backup has it."""
    name = _name(cluster)
    roles = {
        row["name"].rpartition("/")[2]: row["password"]
        for row in cloud.list("databaseRole", f"{name}/")
        if row["cluster"] == cluster["metadata"]["uid"]
    }
    return {"rows": cloud.get("database", name)["rows"], "roles": roles}


def _name(cluster: Json) -> str:
    return f"{cluster['metadata']['namespace']}/{cluster['metadata']['name']}"


def _put(cloud: Cloud, kind: str, name: str, body: Json) -> None:
    try:
        cloud.update(kind, name, body)
    except CloudError:
        cloud.create(kind, name, body)
