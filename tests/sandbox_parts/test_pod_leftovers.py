"""What the node runtime removes of pods and volumes that are gone, and what it must not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sandbox.cluster.client import ApiError, Unreachable
from sandbox.nodes.pods.__main__ import forget_volumes
from sandbox.paths import Home


class Api:
    """Says what each PersistentVolume is: an object, or an error."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers

    def get(self, path: str) -> Any:
        answer = self.answers[path.removeprefix("/api/v1/persistentvolumes/")]
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_only_a_volume_that_the_api_server_does_not_know_is_removed(tmp_path: Path) -> None:
    for name in ("seen", "unseen", "gone"):
        (tmp_path / name).mkdir()
    api = Api(unseen={}, gone=ApiError(404, "NotFound", 'persistentvolumes "gone" not found'))
    forget_volumes(tmp_path, {"seen"}, api)  # pyright: ignore[reportArgumentType]
    assert {folder.name for folder in tmp_path.iterdir()} == {"seen", "unseen"}


def test_without_an_answer_volumes_stay(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    for error in (Unreachable("down"), ApiError(500, "InternalError", "etcd")):
        with pytest.raises(type(error)):
            forget_volumes(tmp_path, set(), Api(kept=error))  # pyright: ignore[reportArgumentType]
    assert (tmp_path / "kept").exists()


def test_a_pods_sockets_have_short_paths_of_their_own(tmp_path: Path) -> None:
    for home in (Home(Path("/h")), Home(tmp_path / ("long" * 20))):
        one, other = (home.pod_sockets(uid) / ".s.PGSQL.5432" for uid in ("11111111-a", "22222222-b"))
        assert one != other
        assert len(bytes(one)) < 108
