"""The contract that other stacks read."""

from tests.unit.engine import Recording, run_program


def test_outputs_are_complete_and_none_is_secret(program: Recording) -> None:
    assert set(program.outputs) == {
        "gatewayUrl",
        "namespaces",
        "modelAliases",
        "secretNames",
        "databaseHost",
        "gpuNodePool",
        "chartVersions",
        "images",
    }
    assert program.secret_outputs == set()


def test_outputs_say_where_things_are(program: Recording) -> None:
    outputs = program.outputs
    assert outputs["gatewayUrl"] == "http://litellm.llm-gateway.svc.cluster.local:4000"
    assert outputs["databaseHost"] == "litellm-pg-rw.llm-gateway.svc.cluster.local"
    assert outputs["modelAliases"] == ["qwen-local"]
    assert outputs["secretNames"]["saltKey"] == "projects/example-llm-dev/secrets/litellm-salt-key"
    assert outputs["chartVersions"]["litellm-helm"] == "1.89.2"
    assert all(":latest" not in image and ":" in image for image in outputs["images"])


def test_outputs_are_known_to_a_preview() -> None:
    assert run_program(preview=True).outputs["gatewayUrl"].startswith("http://litellm.")
