"""What an image's program is given of a pod's spec."""

from __future__ import annotations

from pathlib import Path

from sandbox.containers import images, names
from sandbox.containers.launch import SHELL, Image, Launch
from sandbox.nodes.pods.volumes import Mount
from sandbox.toolchain.containers import Containers


def test_a_pods_modules_lie_beside_those_of_the_image(tmp_path: Path) -> None:
    """The image finds its own among its packages, whatever PYTHONPATH says."""
    launch = Launch(
        home=tmp_path,
        folder=tmp_path / "root",
        pod_file=tmp_path / "pod",
        address="127.1.0.1",
        pod={},
        container={},
        words=["sh"],
        arguments=[],
        variables={"PYTHONPATH": "/mounted"},
        mounts=[Mount("/mounted", tmp_path / "volume")],
        programs=Containers(tmp_path, tmp_path, tmp_path),
    )
    program = launch.program(Image([], [], SHELL, {"PYTHONPATH": "/of/the/image"}))
    assert program.variables["PYTHONPATH"] == f"{tmp_path}/volume:/of/the/image"


def test_each_image_that_is_known_runs_and_no_other() -> None:
    """The node runtime asks `names` what it is to run, without importing what runs."""
    assert images.IMAGES.keys() == names.KNOWN
