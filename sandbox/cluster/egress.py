"""The cluster network as the API server reaches it: only through the emulators, so nothing leaves this machine.

Cluster and pod addresses of the sandbox belong to no machine, but they might in the network around it. The API server
therefore sends what it would send to them (calls of admission webhooks) to the emulators' socket: its own egress
selector, HTTP CONNECT over a Unix socket.
"""

from __future__ import annotations

from pathlib import Path

import yaml

from sandbox.paths import Home


def socket_path(home: Home) -> Path:
    """Where the emulators listen."""
    return home.socket("cluster-network")


def api_server_arguments(home: Home) -> list[str]:
    """Write the egress configuration; kwokctl's `--extra-args` that make the API server use it."""
    configuration = {
        "apiVersion": "apiserver.k8s.io/v1beta1",
        "kind": "EgressSelectorConfiguration",
        "egressSelections": [
            {
                "name": "cluster",
                "connection": {
                    "proxyProtocol": "HTTPConnect",
                    "transport": {"uds": {"udsName": str(socket_path(home))}},
                },
            }
        ],
    }
    path = home.root / "egress.yaml"
    path.write_text(yaml.safe_dump(configuration))
    return [f"kube-apiserver=egress-selector-config-file={path}"]
