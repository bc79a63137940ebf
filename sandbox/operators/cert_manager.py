"""cert-manager, as far as the charts here ask for it: Certificates of a self-signed Issuer become Secrets.

It acts while its Deployment is Available. What it does not do: other issuers (such an Issuer and its
Certificates do not become Ready, which their conditions say), renew, keystores, Secret templates,
CertificateRequests, ACME.
"""

from __future__ import annotations

import base64

import trustme

from sandbox.cluster.status import holds
from sandbox.cluster.watched import Json, Watched, available, set_condition


class CertManager:
    """Reconciles Issuers and Certificates."""

    kinds = frozenset({"Certificate", "Deployment", "Issuer", "Secret"})

    def __init__(self, api: Watched) -> None:
        self._api = api

    def reconcile(self) -> None:
        if available(self._api, "cert-manager") is None:
            return
        for issuer in self._api.list("Issuer"):
            if "selfSigned" in issuer["spec"]:
                self._tell("Issuer", issuer, True, "IsReady", "")
            else:
                kind = next(iter(issuer["spec"]), "an empty spec")
                self._tell("Issuer", issuer, False, "NotEmulated", f"{kind} is not emulated by the sandbox")
        for certificate in self._api.list("Certificate"):
            self._issue(certificate)

    def _issue(self, certificate: Json) -> None:
        spec, namespace = certificate["spec"], certificate["metadata"]["namespace"]
        reference = spec["issuerRef"]
        issuer = (
            self._api.get("Issuer", namespace, reference["name"])
            if reference.get("kind", "Issuer") == "Issuer"
            else None
        )
        if not holds(issuer, "Ready"):
            message = (
                f'Referenced "{reference.get("kind", "Issuer")}" not found or not ready: {reference["name"]}'
            )
            self._tell("Certificate", certificate, False, "DoesNotExist", message)
            return
        if self._api.get("Secret", namespace, spec["secretName"]) is None:
            self._api.create("Secret", _secret(certificate))
        self._tell("Certificate", certificate, True, "Ready", "Certificate is up to date and has not expired")

    def _tell(self, kind: str, item: Json, status: bool, reason: str, message: str) -> None:
        set_condition(self._api, kind, item, "Ready", status, reason, message)


def _secret(certificate: Json) -> Json:
    spec, metadata = certificate["spec"], certificate["metadata"]
    made = trustme.CA().issue_cert(
        *spec.get("dnsNames", [spec.get("commonName", metadata["name"])]), common_name=spec.get("commonName")
    )
    chain = made.cert_chain_pems[0].bytes()
    data = {"tls.crt": chain, "tls.key": made.private_key_pem.bytes(), "ca.crt": chain}
    return {
        "metadata": {
            "name": spec["secretName"],
            "namespace": metadata["namespace"],
            "annotations": {"cert-manager.io/certificate-name": metadata["name"]},
        },
        "type": "kubernetes.io/tls",
        "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
    }
