"""Where webhooks may go: public https addresses, and never into our own network (server-side request forgery, CWE-918).

A name is resolved once per attempt, every answer is checked, and checked addresses are what gets dialled: a name that
answers differently the next time it is asked (DNS rebinding) gains nothing.
"""

import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

from kapas.platform.settings import Settings

Resolve = Callable[[str, int], list[str]]
"""The addresses of a host name, for a port. Raises `socket.gaierror`."""

# Every block that the IANA special-purpose registry (RFC 6890) does not call globally reachable, and multicast.
_FORBIDDEN_V4 = tuple(
    IPv4Network(block)
    for block in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier-grade NAT
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link-local, the metadata server among them
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # IETF protocols
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        # Public address space that leads to the cloud provider itself: Azure's virtual host (learn.microsoft.com, "What is
        # IP address 168.63.129.16?") and Google's APIs for a VPC (cloud.google.com, "Private Google Access"). The metadata
        # addresses of other providers are in the blocks above.
        "168.63.129.16/32",
        "199.36.153.4/30",
        "199.36.153.8/30",
        "198.18.0.0/15",  # benchmarking
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)
# Global unicast is the only block of IPv6 that is allowed at all: so IPv4-mapped, NAT64, unique local, link-local and
# multicast addresses are out. Of it, what embeds IPv4 or is not reachable is out as well.
_GLOBAL_V6 = IPv6Network("2000::/3")
_FORBIDDEN_V6 = tuple(
    IPv6Network(block)
    for block in (
        "2001::/23",  # IETF protocols, Teredo among them
        "2001:db8::/32",  # documentation
        "2600:2d00:2:1000::/64",  # Google's APIs for a VPC
        "2600:2d00:2:2000::/64",
        "2002::/16",  # 6to4
        "3fff::/20",  # documentation
    )
)

# Ports from 1024 that browsers block (https://fetch.spec.whatwg.org/#port-blocking), and those of databases, queues and
# remote control, whose protocols could read a POST as commands.
_BLOCKED = (1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, *range(6665, 6670), 6679, 6697, 10080)
_DATABASES = (1433, 1521, 3306, 5432, 6379, 9042, 11211, 27017)  # SQL Server, Oracle, MySQL, PostgreSQL, Redis, ...
_QUEUES = (1883, 4222, 5672, 8883, 9092)  # MQTT, NATS, AMQP, Kafka
_REMOTE_CONTROL = (2375, 2376, 2379, 2380, 3389, 5900)  # Docker, etcd, desktops
_NOT_WEB = frozenset((*_BLOCKED, *_DATABASES, *_QUEUES, *_REMOTE_CONTROL))

# The last label begins with a letter: whatever a C library reads as an IPv4 address (2130706433, 0x7f.1, 127.1) has none.
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"(?=.{{4,253}}\Z)(?:{_LABEL}\.)+[a-z](?:[a-z0-9-]{{0,61}}[a-z0-9])\Z")
_URL = re.compile(r"[!-\[\]-~]+\Z")
"""Visible ASCII without the backslash, which some parsers take for a slash."""


class Refused(Exception):
    """The URL, or an address of its host, is not one that webhooks may go to. The message is for the partner."""


class AddressRefused(Refused):
    """The host resolves to an address that is not on the public internet."""


@dataclass(frozen=True, slots=True)
class Target:
    """A URL taken apart. Nothing else parses it, so that no two parsers can disagree about its host."""

    scheme: str
    host: str
    port: int
    path: str
    """Path and query."""
    trusted: bool = False
    """Whether it is one of the hosts that settings allow, which may be plain http and on loopback."""

    @property
    def authority(self) -> str:
        """The Host header."""
        return self.host if (self.scheme, self.port) == ("https", 443) else f"{self.host}:{self.port}"


class HostSettings(Settings):
    """Where webhooks may go besides the public internet."""

    webhook_allow_hosts: str = ""
    """`host:port` pairs, separated by commas, that may be plain http and on loopback. Empty on Google Cloud."""

    @property
    def allowed_hosts(self) -> frozenset[str]:
        return frozenset(pair.strip().lower() for pair in self.webhook_allow_hosts.split(",") if pair.strip())


def check(url: str, allowed: frozenset[str]) -> Target:
    """`url` taken apart, if its form is one that webhooks may go to.

    Raises:
        Refused: it is not https to a full host name on port 443 or 1024 and above, or has user information, a fragment
            or characters beyond visible ASCII; unless its `host:port` is in `allowed`.
    """
    if not _URL.match(url):
        raise Refused("A URL may contain visible ASCII characters only; write an international name in its xn-- form")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise Refused("This is not a valid URL") from None
    scheme, host = parts.scheme.lower(), (parts.hostname or "").lower()
    port = port if port is not None else {"https": 443, "http": 80}.get(scheme, 0)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if "@" in parts.netloc:
        raise Refused("A URL must not contain a user name or password; deliveries are signed instead")
    if "#" in url:
        raise Refused("A URL must not have a fragment")
    if f"{host}:{port}" in allowed and scheme in ("http", "https"):
        return Target(scheme, host, port, path, trusted=True)
    if scheme != "https":
        raise Refused("Webhooks are sent to https addresses only")
    if not _HOST.match(host):
        raise Refused("The host must be a full domain name, not an IP address")
    if port != 443 and not 1024 <= port <= 65535:
        raise Refused("The port must be 443, or 1024 and above")
    if port in _NOT_WEB:
        raise Refused(f"Port {port} belongs to a protocol other than HTTPS; use 443, or another port above 1023")
    return Target(scheme, host, port, path)


def addresses(target: Target, resolve: Resolve) -> list[str]:
    """The addresses to dial for `target`, its host resolved once: all of them checked, in the order to try them.

    Raises:
        AddressRefused: any of its addresses is not on the public internet, whichever would have been dialled.
        socket.gaierror: the name does not resolve.
    """
    # A final dot keeps the resolver from trying the name inside our own domains.
    answers = resolve(target.host if target.trusted else target.host + ".", target.port)
    if not target.trusted and not all(is_public(answer) for answer in answers):
        raise AddressRefused("The host resolves to an address that is not on the public internet")
    return answers


def is_public(text: str) -> bool:
    """Whether an IP address is globally reachable unicast."""
    try:
        ip: IPv4Address | IPv6Address = ip_address(text)
    except ValueError:
        return False
    if isinstance(ip, IPv4Address):
        return not any(ip in block for block in _FORBIDDEN_V4)
    return ip in _GLOBAL_V6 and not any(ip in block for block in _FORBIDDEN_V6)


def resolve(host: str, port: int) -> list[str]:
    """The addresses of `host` by the system's resolver, in its order of preference (RFC 6724).

    It waits about ten seconds at most (resolv.conf(5): twice five). Raises `socket.gaierror`.
    """
    return [str(answer[4][0]) for answer in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
