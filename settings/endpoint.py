"""A model behind a URL that speaks OpenAI's API."""

from __future__ import annotations

from collections.abc import Iterator

from settings.base import SecretReference, Section, Violation, rule, setting


class EndpointModel(Section):
    """A model behind any OpenAI-compatible URL, such as an existing inference gateway."""

    otherwise = "the endpoint would refuse every request"

    url: str = setting(
        pattern=r"^https?://[A-Za-z0-9.-]+(:[0-9]+)?(/\S*)?$",
        about="Base URL of the API, without credentials.",
        otherwise="LiteLLM could not reach the model",
        write="url: http://inference-gateway.models.svc.cluster.local/v1",
    )
    model: str = setting(
        pattern=r"^\S+$", about="Model name the endpoint knows.", write="model: llama-3.1-8b-instruct"
    )
    api_key_secret: SecretReference | None = setting(
        None,
        about="Id of the Secret Manager secret with the endpoint's API key, or `<id>/versions/<number>`; unset means it wants none.",
        write="apiKeySecret: inference-gateway-key",
    )

    @rule
    def port_exists(self) -> Iterator[Violation]:
        port = self.url.split("/")[2].partition(":")[2]
        if port and not 1 <= int(port) <= 65535:
            yield Violation(
                "url",
                f"there is no port {port}",
                "LiteLLM could not reach the model",
                "a port from 1 to 65535, or none",
            )
