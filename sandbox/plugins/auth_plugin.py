"""Stand-in for `gke-gcloud-auth-plugin`: gives out the client certificate of the sandbox's control plane.

What it does not do: make or refresh access tokens, read Google credentials, or serve any cluster but the sandbox's
own, which it refuses by name. It follows the exec credential protocol, client.authentication.k8s.io:
https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins
"""

from __future__ import annotations

import base64
import json
import os
import signal
import sys
from typing import Any

from sandbox.cluster.loopback import require_loopback
from sandbox.errors import SandboxError
from sandbox.paths import Home


def credential(exec_info: str | None, kubeconfig: dict[str, Any]) -> dict[str, Any]:
    """The ExecCredential that answers `exec_info` (the value of KUBERNETES_EXEC_INFO).

    Raises SandboxError when the cluster that asks is unknown or not the one of `kubeconfig`.
    """
    asked = json.loads(exec_info or "{}")
    try:
        server = asked["spec"]["cluster"]["server"]
    except KeyError:
        raise SandboxError(
            "no cluster was named in KUBERNETES_EXEC_INFO: set `provideClusterInfo: true` in the kubeconfig's exec section."
        ) from None
    require_loopback(server)
    own = kubeconfig["clusters"][0]["cluster"]["server"]
    if server != own:
        raise SandboxError(
            f"refused credentials for {server!r}: this sandbox's control plane is {own!r}. "
            "It moves to other ports when the old ones are taken: run `make up` again."
        )
    user = kubeconfig["users"][0]["user"]
    return {
        "apiVersion": asked["apiVersion"],
        "kind": "ExecCredential",
        "status": {
            "clientCertificateData": base64.b64decode(user["client-certificate-data"]).decode(),
            "clientKeyData": base64.b64decode(user["client-key-data"]).decode(),
        },
    }


def main() -> int:
    if unknown := set(sys.argv[1:]) - {"--use_application_default_credentials"}:
        print(f"unknown flag: {' '.join(sorted(unknown))}", file=sys.stderr)
        return 1
    try:
        kubeconfig = json.loads(Home.from_env().kubeconfig.read_text())
        json.dump(credential(os.environ.get("KUBERNETES_EXEC_INFO"), kubeconfig), sys.stdout)
    except (SandboxError, RuntimeError, FileNotFoundError) as error:
        print(f"gke-gcloud-auth-plugin (sandbox): {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # as in a Go program: whoever asked may be gone
    sys.exit(main())
