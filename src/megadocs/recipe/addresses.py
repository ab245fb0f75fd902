"""Addresses of servers: what counts as one, when two mean the same server, and which of them are on this machine.

One reading for all callers: consent and keys are given to a server, and a client talks to it. What two programs could
read differently is no address at all (a user name, a host with escapes or letters beyond ASCII).
"""

from __future__ import annotations

import ipaddress
import re
import urllib.parse
from typing import NamedTuple

_HOST = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")
_PORTS = {"http": 80, "https": 443}
#: What to write instead, for messages.
REMEDY = "write http://host:port/v1 or https://host/v1 (a name with other letters in its ASCII form, xn--...)"


class Server(NamedTuple):
    """Whom an address means: what consent and keys are bound to. The path is not part of it."""

    scheme: str
    host: str
    port: int


def server_of(address: str) -> Server:
    """The server of an address; the host in lower case, without a final dot, an IP address in its shortest form.

    Raises:
        ValueError: it is not `http(s)://host[:port][/path]`.
    """
    if not address.isascii() or not address.isprintable() or set(address) & set(" %\\@?#"):
        raise ValueError("not a server address: it holds a user name, a query, an escape or a letter beyond ASCII")
    try:
        parts = urllib.parse.urlsplit(address)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"not a server address: {error}") from None
    if parts.scheme not in _PORTS or port == 0:
        raise ValueError("not a server address: it begins with neither http:// nor https://, or has the port 0")
    return Server(parts.scheme, _host(parts.hostname or ""), port or _PORTS[parts.scheme])


def _host(name: str) -> str:
    name = name.lower().removesuffix(".")
    try:
        found = ipaddress.ip_address(name)
    except ValueError:
        if not _HOST.fullmatch(name):
            raise ValueError("not a server address: no such host can be") from None
        return name
    return str(getattr(found, "ipv4_mapped", None) or found)


def is_same_server(first: str, second: str) -> bool:
    """Whether two addresses mean the same server; what is no address means none."""
    try:
        return server_of(first) == server_of(second)
    except ValueError:
        return False


def is_loopback(address: str) -> bool:
    """Whether an address is on this machine: localhost, 127.0.0.0/8, ::1, or the wildcard that servers print."""
    try:
        host = server_of(address).host
    except ValueError:
        return False
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return found.is_loopback or found.is_unspecified
