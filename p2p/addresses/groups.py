"""Network groups: addresses that one owner gets cheaply together.

Whoever rents a server gets one address; a thousand in one block cost little more, a thousand spread over the
Internet cost a thousand contracts. So shares are counted by group and not by address: the first 16 bits of an
IPv4 address, the first 32 of an IPv6 one (what a registry hands out at a time), as Bitcoin does.

Addresses that are not reachable from the Internet belong to no group. A local testnet lives on 127.0.0.1 or
in one private network as a whole, and there a limit by group would keep it from becoming a mesh; nobody far
away can be at the other end of such an address, so nothing is lost.
"""

import ipaddress
from collections.abc import Iterable
from functools import lru_cache
from typing import Final, NewType

from p2p.addresses.multiaddrs import parse_endpoint

Group = NewType("Group", str)
"""Like `1.2.0.0/16` or `2a00:1450::/32`."""

NAMES: Final = Group("names")
"""One group for everything that is known by name only: whose address it is shows once it is connected."""

REMEMBERED: Final = 4096
"""Answers kept: the same few addresses are asked for again and again, and one costs 20 to 50 microseconds."""

_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")


@lru_cache(maxsize=REMEMBERED)
def group_of_host(host: str) -> Group | None:
    """The group of an IP address or a name; None if it is no public address."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return NAMES if host else None
    if isinstance(address, ipaddress.IPv6Address):
        address = _embedded(address) or address
    if not address.is_global:
        return None
    bits = 16 if address.version == 4 else 32
    return Group(str(ipaddress.ip_network((address, bits), strict=False)))


@lru_cache(maxsize=REMEMBERED)
def group_of(address: str) -> Group | None:
    """The group of a multiaddr; None if it is no public address, or no address at all."""
    try:
        return group_of_host(parse_endpoint(address).host)
    except ValueError:
        return None


def is_public(address: str) -> bool:
    """Whether a multiaddr is an IP address on the Internet; what a name leads to is not known."""
    return group_of(address) not in (None, NAMES)


def believable(addresses: Iterable[str], *, source: str) -> tuple[str, ...]:
    """Those of `addresses` that somebody at the multiaddr `source` can be believed to know.

    From far away nobody can know, or should make us knock at, what is near us. A name may lead there, now or
    the next time that it is looked up, and any name costs us a lookup.
    """
    is_near = group_of(source) is None
    return tuple(address for address in addresses if is_near or is_public(address))


def _embedded(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 one merely wraps: one owner must not get 2**32 groups for one address."""
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None
