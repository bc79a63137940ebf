"""How pods reach what is outside the cluster: by which proxy, and whose certificates they believe."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import StringConstraints

from settings.base import SecretReference, Section, Violation, is_url, repeated, rule, setting
from settings.tls import Certificates, address

ProxyUrl = Annotated[
    str, StringConstraints(pattern=r"^http://[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[1-9][0-9]{0,4})?$")
]
CLUSTER = ("localhost", "127.0.0.1", ".svc", ".cluster.local")
METADATA = ("metadata.google.internal", "169.254.169.254")
"""Hosts that no pod asks a proxy for: the cluster's own names, and the server that gives pods their identity."""
STORAGE, SECRETS, HUGGING_FACE = (
    "https://storage.googleapis.com",
    "https://secretmanager.googleapis.com",
    "https://huggingface.co",
)
"""What CloudNativePG's backups, External Secrets and engines ask."""
GOOGLE_APIS = "googleapis.com"
TOKENS = "https://sts.googleapis.com"
"""What a client that logs in as its Kubernetes service account asks before Google's other APIs."""
PROXY_LOGIN = "EGRESS_PROXY_LOGIN"
"""The variable with what stands before the @ in a proxy's URL."""
VARIABLES = rf"(?i:(HTTPS?|ALL|NO)_PROXY)|SSL_CERT_(FILE|DIR)|(REQUESTS|CURL)_CA_BUNDLE|{PROXY_LOGIN}"
"""Environment variables that say what this section says: in a pod alone they would lead the cluster's own names to a proxy."""


class Egress(Section):
    """The way out of the cluster for LiteLLM, the engines' downloads, External Secrets and the database's backups."""

    otherwise = "requests would not find the way out"

    http_proxy: ProxyUrl | None = setting(
        None,
        about="Proxy that is asked for URLs of http, without credentials: proxySecret is for these. Unset means none.",
        write="httpProxy: http://proxy.example.com:3128",
    )
    https_proxy: ProxyUrl | None = setting(
        None,
        about="Proxy that is asked for URLs of https, itself spoken to in plain HTTP, without credentials: proxySecret is for these. Unset "
        "means none.",
        write="httpsProxy: http://proxy.example.com:3128",
    )
    proxy_secret: SecretReference | None = setting(
        None,
        about="Id of an existing Secret Manager secret, or `<id>/versions/<number>`, with the user name and the password for the proxies as a URL "
        "has them before the @, `user:password`, other characters percent-encoded. LiteLLM and the engines log in with it. Unset means that "
        "the proxies ask nobody who they are.",
        otherwise="the proxies would let no request out",
        write="proxySecret: egress-proxy",
    )
    no_proxy: list[str] = setting(
        default_factory=list,
        about="Hosts that are reached without a proxy: names, each with all below it, and IPv4 addresses. The cluster's own names, "
        "the metadata server and private addresses in the settings' URLs are always among them.",
        write="noProxy: [googleapis.com, models.example.com]",
    )
    ca: Certificates | None = setting(
        None,
        about="Certificates of authorities, PEM, that are believed beside the public ones: a proxy's that looks into TLS, or a server's of "
        "your own.",
        otherwise="requests would fail, as nobody known had signed the other's certificate",
        write="ca: |, and below it, indented, the certificates",
    )

    def by(self, url: str) -> str | None:
        """The proxy that is asked for a URL; None where its host is reached directly.

        As Python's urllib, and so aiohttp in LiteLLM, requests and httpx, read the variables: a name means all below it.
        """
        parts = urlsplit(url)
        host = (parts.hostname or "").rstrip(".")
        if any(
            host == name or host.endswith(f".{name}")
            for name in (name.lstrip(".") for name in (*CLUSTER, *METADATA, *self.no_proxy))
        ):
            return None
        if (own := address(host)) and own.is_private:
            return None
        return self.https_proxy if parts.scheme == "https" else self.http_proxy

    def hosts_reached_directly(self, google: bool) -> Sequence[str]:
        """What is behind no proxy that is asked for URLs of https; with or without Google's APIs."""
        hosts = [host.lstrip(".") for host in self.no_proxy if self.https_proxy]
        return [host for host in hosts if google or not f".{host}".endswith(f".{GOOGLE_APIS}")]

    def variables(self, urls: Sequence[str] = ()) -> Mapping[str, str]:
        """Environment variables of a pod that asks these URLs; none where there is no proxy."""
        proxies = {"HTTP_PROXY": self.http_proxy, "HTTPS_PROXY": self.https_proxy}
        given = {name: proxy for name, proxy in proxies.items() if proxy}
        if not given:
            return {}
        hosts = (urlsplit(url).hostname or "" for url in urls)
        private = sorted({host for host in hosts if (own := address(host)) and own.is_private})
        return {**given, "NO_PROXY": ",".join([*CLUSTER, *METADATA, *private, *self.no_proxy])}

    def logins(self, urls: Sequence[str] = ()) -> Mapping[str, str]:
        """Of `variables`, those that name a proxy which asks for a login, with the variable of the login in each."""
        if not self.proxy_secret:
            return {}
        proxies = {name: value for name, value in self.variables(urls).items() if name != "NO_PROXY"}
        return {name: proxy.replace("://", f"://$({PROXY_LOGIN})@", 1) for name, proxy in proxies.items()}

    @rule
    def a_login_is_for_a_proxy(self) -> Iterator[Violation]:
        if self.proxy_secret and not (self.http_proxy or self.https_proxy):
            yield Violation(
                "proxySecret",
                "there is no proxy",
                "it would be ignored",
                "httpsProxy or httpProxy, which say where the proxy is, or no proxySecret",
            )

    @rule
    def hosts_are_what_every_client_reads(self) -> Iterator[Violation]:
        for index, host in enumerate(self.no_proxy):
            if not re.fullmatch(r"\.?[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*", host):
                yield Violation(
                    f"noProxy[{index}]",
                    f"{host!r} is no name and no address",
                    "LiteLLM's clients read no ranges, ports, schemes and patterns there, and would ask the proxy",
                    "a name, which means all below it as well, or an IPv4 address",
                )
        for host in repeated(self.no_proxy):
            yield Violation(
                "noProxy", f"{host} is there twice", "one that was meant would be missing", "each host once"
            )
        if self.no_proxy and not (self.http_proxy or self.https_proxy):
            yield Violation(
                "noProxy",
                "there is no proxy",
                "it would be ignored",
                "httpsProxy or httpProxy, or no noProxy",
            )

    @rule
    def proxies_are_outside(self) -> Iterator[Violation]:
        for key, proxy in (("httpProxy", self.http_proxy), ("httpsProxy", self.https_proxy)):
            if proxy and not is_url(proxy):
                yield Violation(
                    key, "there is no such port", "no request would leave", "a port from 1 to 65535"
                )
            if proxy and (own := address(urlsplit(proxy).hostname or "")) and _is_nowhere(own):
                yield Violation(
                    key,
                    f"{own} is the pod itself, or no host",
                    "no request would leave",
                    f"{key}: the proxy's address, as pods reach it",
                )


def without_a_login(egress: Egress, installs_external_secrets: bool, backed_up: bool) -> Iterator[Violation]:
    """Who would have to ask a proxy that wants a login, and cannot be given it."""
    if not egress.proxy_secret:
        return
    fix = f"egress.noProxy: [{GOOGLE_APIS}], and Private Google Access, by which nodes reach them themselves"
    if installs_external_secrets and (egress.by(SECRETS) or egress.by(TOKENS)):
        yield Violation(
            "egress.proxySecret",
            "External Secrets brings the login into the cluster, and would need it before that, to ask Google by the proxy",
            "no secret would come, and no pod start",
            fix,
        )
    if backed_up and (egress.by(STORAGE) or egress.by(TOKENS)):
        yield Violation(
            "egress.proxySecret",
            "backups go to Cloud Storage by the proxy, and their sidecar reads a login when the database's pod starts, and no later one",
            "with another password no WAL would be archived, until the volume is full",
            fix,
        )


def _is_nowhere(own: ipaddress.IPv4Address) -> bool:
    return own.is_loopback or own.is_unspecified or own.is_link_local
