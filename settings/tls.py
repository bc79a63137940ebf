"""What the sections that name a server of somebody else's have in common: its address, and whom TLS believes."""

from __future__ import annotations

import ipaddress
import re
import ssl
from contextlib import suppress
from typing import Annotated

from pydantic import AfterValidator, StringConstraints
from pydantic_core import PydanticCustomError

from settings.base import SECRET


def _certificates(pem: str) -> str:
    if re.search(r"-----BEGIN (?!CERTIFICATE-----)", pem):
        raise PydanticCustomError("pem", "it holds something else than certificates")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=pem)
    except (ssl.SSLError, ValueError) as error:
        raise PydanticCustomError("pem", "no certificate can be read from it") from error
    return pem


def _network(cidr: str) -> str:
    try:
        ipaddress.IPv4Network(cidr)
    except ValueError as error:
        raise PydanticCustomError("cidr", "it is no range of IPv4 addresses") from error
    return cidr


Host = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$")]
"""A name or an IPv4 address."""
Certificates = Annotated[str, AfterValidator(_certificates), SECRET]
"""PEM: one certificate or more. No message repeats it, as a key may have been pasted in its place."""
Cidr = Annotated[
    str, StringConstraints(pattern=r"^([0-9]{1,3}\.){3}[0-9]{1,3}/[0-9]{1,2}$"), AfterValidator(_network)
]


def count(pem: str) -> int:
    """How many certificates a PEM text has."""
    return pem.count("-----BEGIN CERTIFICATE-----")


def address(host: str) -> ipaddress.IPv4Address | None:
    """The address that a host is; None where it is a name."""
    with suppress(ValueError):
        return ipaddress.IPv4Address(host)
    return None


def service_namespace(host: str) -> str | None:
    """The namespace of the Service of this cluster that a host is; None where it is none."""
    found = re.fullmatch(r"[^.]+\.([^.]+)\.svc(\.cluster\.local)?", host)
    return found[1] if found else None
