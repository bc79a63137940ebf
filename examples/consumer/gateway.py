"""What this program needs of the gateway: its stack's outputs, checked, and its cluster."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
import pulumi_gcp as gcp


class Gateway:
    """The outputs of the gateway's stack. If one is missing, pulumi.RunError says what to do."""

    def __init__(self, stack: str) -> None:
        self._stack = stack
        self._reference = pulumi.StackReference(stack)
        self.url: pulumi.Output[str] = self._output("gatewayUrl")
        self.key_store: pulumi.Output[Mapping[str, str]] = self._output("virtualKeyStore")
        self.cluster: pulumi.Output[Mapping[str, str]] = self._output("cluster")

    def model(self, wanted: str | None) -> pulumi.Output[str]:
        """The wanted model alias, by default the first. Raises pulumi.RunError if there is no such model."""

        def choose(aliases: Sequence[str]) -> str:
            if wanted and wanted not in aliases:
                raise pulumi.RunError(
                    f"llm-gateway-consumer:model: {self._stack} has no model {wanted!r}, so every call would be refused. "
                    f"Write one of {', '.join(aliases)}."
                )
            return wanted or aliases[0]

        return self._output("modelAliases").apply(choose)

    def virtual_key_secret(self, name: str) -> pulumi.Output[str]:
        """The Secret Manager id of a virtual key's value. Raises pulumi.RunError if there is no such key."""

        def find(secrets: Mapping[str, str]) -> str:
            if name not in secrets:
                raise pulumi.RunError(
                    f"llm-gateway-consumer:virtualKey: {self._stack} has no virtual key {name!r}, so there is nothing to "
                    f"call it with. Declare it there, under llm-gateway:virtualKeys (declared now: "
                    f"{', '.join(secrets) or 'none'})."
                )
            return secrets[name].rpartition("/")[2]

        return self._output("virtualKeySecrets").apply(find)

    def kubeconfig(self, google: gcp.Provider) -> pulumi.Output[str]:
        """The cluster's kubeconfig, without credentials: gke-gcloud-auth-plugin gets a short-lived token."""
        found = gcp.container.get_cluster_output(
            name=self.cluster.apply(lambda cluster: cluster["name"]),
            location=self.cluster.apply(lambda cluster: cluster["location"]),
            project=self.cluster.apply(lambda cluster: cluster["project"]),
            opts=pulumi.InvokeOutputOptions(provider=google),
        )
        return pulumi.Output.all(found.endpoint, found.master_auths).apply(
            lambda each: _kubeconfig(endpoint=each[0], authority=each[1][0]["cluster_ca_certificate"])
        )

    def _output(self, key: str) -> pulumi.Output[Any]:
        def required(value: Any) -> Any:
            if value is None:
                raise pulumi.RunError(
                    f"llm-gateway-consumer:gateway: the stack {self._stack} has no output {key}. Name the gateway's stack, "
                    "and run `pulumi up` there first."
                )
            return value

        return self._reference.get_output(key).apply(required)


def _kubeconfig(endpoint: str, authority: str) -> str:
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1beta1",
        "command": "gke-gcloud-auth-plugin",
        "args": ["--use_application_default_credentials"],
        "interactiveMode": "Never",
        "provideClusterInfo": True,
    }
    server = {"server": f"https://{endpoint}", "certificate-authority-data": authority}
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "gke",
            "contexts": [{"name": "gke", "context": {"cluster": "gke", "user": "gke"}}],
            "clusters": [{"name": "gke", "cluster": server}],
            "users": [{"name": "gke", "user": {"exec": plugin}}],
        }
    )
