"""The two peers that a node dials first after a restart: those it chose itself and kept longest.

A restart is when an eclipse succeeds: all places are free, and the attacker's addresses are many (Heilman et
al., USENIX Security 2015, countermeasure 4). A peer that was ours for long was there before the attack.

Bitcoin uses its file up when it reads it. We keep it: a node that is killed again and again, or loses power,
would be without anchors from the second time on, and whoever can make it restart would have to do it twice.
Instead a name in the file gives way only to a peer that has lasted `LASTING_SECONDS`: an attacker who has the
places after a restart is no anchor by that, and one who was bad from the start is one of many that we dial.
"""

from collections.abc import Iterable
from typing import Any, Final

from p2p.addresses.groups import group_of
from p2p.addresses.multiaddrs import parse_endpoint
from p2p.network import Direction, PeerId
from p2p.peers.session import Link
from p2p.wire.control import MAX_PEER_ID

ANCHORS: Final = 2

LASTING_SECONDS: Final = 600.0
"""A peer connected for so long may become an anchor."""

FILE_VERSION: Final = 1

Anchor = tuple[PeerId, str]
"""Who, and the multiaddr where we reached it."""


def chosen(old: Iterable[Anchor], links: Iterable[Link], *, now: float) -> tuple[Anchor, ...]:
    """The anchors now: peers that we dialed and that lasted, those of before first, then the oldest.

    Two of different groups if there are such; without enough of them, those of before that are away.

    Args:
        old: The anchors so far, without any that is banned.
        links: Ordinary connections, of either direction.
        now: Seconds on the clock of `Link.since`.
    """
    before = tuple(old)
    friends = {peer for peer, _ in before}
    lasting = sorted(
        (link.peer not in friends, link.since, link.peer, link.address)
        for link in links
        if link.direction is Direction.OUTBOUND and now - link.since >= LASTING_SECONDS
    )
    ranked = dict.fromkeys([*((peer, address) for _, _, peer, address in lasting), *before])
    anchors: dict[PeerId, str] = {}
    groups: set[str] = set()
    for peer, address in ranked:
        if len(anchors) < ANCHORS and (group_of(address) or address) not in groups:
            anchors.setdefault(peer, address)
            groups.add(group_of(address) or address)
    for peer, address in ranked:
        if len(anchors) < ANCHORS:
            anchors.setdefault(peer, address)
    return tuple(anchors.items())


def to_document(anchors: Iterable[Anchor]) -> dict[str, Any]:
    """What belongs in the file."""
    return {"version": FILE_VERSION, "anchors": [[peer, address] for peer, address in anchors]}


def from_document(document: dict[str, Any]) -> tuple[Anchor, ...]:
    """What `to_document` was given.

    Raises:
        ValueError: It is of another version, or malformed.
    """
    if document.get("version") != FILE_VERSION:
        raise ValueError(f"version {document.get('version')!r}, expected {FILE_VERSION}")
    anchors = []
    for peer, address in document["anchors"][:ANCHORS]:
        if not isinstance(peer, str) or not 0 < len(peer) <= MAX_PEER_ID or not peer.isascii():
            raise ValueError(f"{peer!r:.80} is no peer id")
        if not isinstance(address, str):
            raise ValueError(f"{address!r:.80} is no address")
        anchors.append((PeerId(peer), parse_endpoint(address).multiaddr))
    return tuple(anchors)
