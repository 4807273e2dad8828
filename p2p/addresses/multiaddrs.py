"""Multiaddrs as text: `/ip4/1.2.3.4/tcp/4001`, also with ip6 or dns names; nothing but TCP."""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from p2p.network import PeerId
from p2p.wire.control import MAX_ADDRESS

_NAME: Final = re.compile(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to connect to: a TCP port of a host."""

    host: str
    port: int

    @property
    def multiaddr(self) -> str:
        """The endpoint as a multiaddr."""
        address = self._ip
        kind = "dns" if address is None else f"ip{address.version}"
        return f"/{kind}/{self.host}/tcp/{self.port}"

    @property
    def is_name(self) -> bool:
        """Whether the host has to be looked up: it is no IP address as such."""
        return self._ip is None

    @property
    def _ip(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
        try:
            return ipaddress.ip_address(self.host)
        except ValueError:
            return None

    @property
    def is_unspecified(self) -> bool:
        """Whether the host is 0.0.0.0 or ::, that is "any of mine"."""
        address = self._ip
        return address is not None and address.is_unspecified


def parse_endpoint(address: str) -> Endpoint:
    """The endpoint of a multiaddr, whose peer id, if any, is ignored.

    Raises:
        ValueError: It is not `/ip4|ip6|dns|dns4|dns6/HOST/tcp/PORT`, optionally with `/p2p/ID`.
    """
    parts = address.split("/")
    if len(address) > MAX_ADDRESS or len(parts) not in (5, 7) or parts[0] or parts[3] != "tcp":
        raise ValueError(f"{address[:MAX_ADDRESS]!r} is not /ip4/HOST/tcp/PORT")
    if len(parts) == 7 and parts[5] != "p2p":
        raise ValueError(f"{address!r} has {parts[5]!r} where /p2p/ was expected")
    kind, host, port = parts[1], parts[2], parts[4]
    if kind in ("ip4", "ip6"):
        host = str((ipaddress.IPv4Address if kind == "ip4" else ipaddress.IPv6Address)(host))
    elif kind not in ("dns", "dns4", "dns6") or not _NAME.fullmatch(host):
        raise ValueError(f"{address!r} has no usable host")
    if not port.isascii() or not port.isdecimal() or len(port) > 5 or int(port) > 65535:
        raise ValueError(f"{address!r} has no usable port")
    return Endpoint(host, int(port))


def parse_peer_address(address: str) -> tuple[PeerId, str]:
    """A bootstrap address `/ip4/HOST/tcp/PORT/p2p/ID` as peer and plain address.

    Raises:
        ValueError: It is malformed or names no peer.
    """
    endpoint = parse_endpoint(address)
    head, _, peer = address.partition("/p2p/")
    if not peer or not head:
        raise ValueError(f"{address!r} does not end in /p2p/PEER_ID")
    return PeerId(peer), endpoint.multiaddr


def clean_addresses(addresses: Iterable[str]) -> tuple[str, ...]:
    """Those of `addresses` that can be dialed, in normal form, without repetition."""
    clean: dict[str, None] = {}
    for address in addresses:
        try:
            endpoint = parse_endpoint(address)
        except ValueError:
            continue
        if endpoint.port and not endpoint.is_unspecified:
            clean[endpoint.multiaddr] = None
    return tuple(clean)


def seen_from(addresses: Iterable[str], remote_host: str, *, names_too: bool = False) -> tuple[str, ...]:
    """A peer's own addresses; "any of mine", and a name if told so, gives way to the host that we see."""
    seen = []
    for address in addresses:
        try:
            endpoint = parse_endpoint(address)
        except ValueError:
            continue
        is_replaced = endpoint.is_unspecified or (names_too and endpoint.is_name)
        seen.append(Endpoint(remote_host, endpoint.port).multiaddr if is_replaced else address)
    return clean_addresses(seen)
