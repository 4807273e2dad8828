"""Where peers listen; kept in memory, and in a file that a restarted node starts from.

What we saw ourselves and what others say is kept apart, so that no amount of hearsay can push out what is
known to be true. The file is a cache, not a record: an unreadable one is set aside, and the bootstrap peers
have to do.
"""

import json
import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from p2p.addresses import clean_addresses
from p2p.control import MAX_ADDRESSES, MAX_PEER_ID
from p2p.network import PeerId

log = logging.getLogger(__name__)

MAX_KNOWN: Final = 1024
"""Peers kept of each kind, seen and heard of; the one learned of longest ago makes room."""

MAX_FILE: Final = 1024 * 1024
"""Largest file that is read, bytes; `MAX_KNOWN` full entries take less."""


class AddressBook:
    """Addresses by peer: `seen` by ourselves, and `heard` from others."""

    def __init__(self, *, pinned: frozenset[PeerId] = frozenset()) -> None:
        self._pinned = pinned
        self._seen: dict[PeerId, tuple[str, ...]] = {}
        self._heard: dict[PeerId, tuple[str, ...]] = {}
        self.changed = False
        """Whether there is something new since `text` was asked for."""

    def __len__(self) -> int:
        return len(self.peers())

    def peers(self) -> tuple[PeerId, ...]:
        """All known peers, sorted."""
        return tuple(sorted(self._seen.keys() | self._heard.keys()))

    def addresses(self, peer: PeerId) -> tuple[str, ...]:
        """Addresses of `peer`, the likeliest first; none if it is unknown."""
        seen, heard = self._seen.get(peer, ()), self._heard.get(peer, ())
        return (*seen, *(address for address in heard if address not in seen))

    def see(self, peer: PeerId, addresses: Iterable[str]) -> None:
        """`peer` was connected under `addresses`, or said so itself, or the operator says so."""
        old = self._seen.pop(peer, ())
        fresh = clean_addresses(addresses)
        known = (*fresh, *(address for address in old if address not in fresh))[:MAX_ADDRESSES]
        if known:
            self._seen[peer] = known
            self._heard.pop(peer, None)
            self.changed = self.changed or known != old
            self._make_room(self._seen)

    def hear(self, peer: PeerId, addresses: Iterable[str]) -> None:
        """Somebody says that `peer` listens at `addresses`."""
        fresh = clean_addresses(addresses)[:MAX_ADDRESSES]
        if fresh:
            self._heard.pop(peer, None)
            self._heard[peer] = fresh
            self._make_room(self._heard)

    def forget(self, peer: PeerId) -> None:
        """Drop a peer that is not to be found."""
        self._heard.pop(peer, None)
        if self._seen.pop(peer, None) is not None:
            self.changed = True

    def load(self, path: Path) -> None:
        """Take in what `save` wrote; an unreadable file is renamed to `*.unreadable` and reported."""
        try:
            known = _parse(path.read_bytes()[: MAX_FILE + 1])
        except FileNotFoundError:
            return
        except (ValueError, RecursionError) as error:
            aside = path.with_suffix(path.suffix + ".unreadable")
            path.replace(aside)
            log.warning("event=address_book_set_aside path=%s as=%s reason=%s", path, aside, error)
            return
        for peer, addresses in known:
            self.see(peer, addresses)
        self.changed = False

    def text(self) -> str:
        """What belongs in the file: hearsay does not."""
        self.changed = False
        return json.dumps({"version": 1, "peers": self._seen}, indent=1)

    def _make_room(self, table: dict[PeerId, tuple[str, ...]]) -> None:
        if len(table) > MAX_KNOWN:
            del table[next(peer for peer in table if peer not in self._pinned)]


def save(path: Path, text: str) -> None:
    """Write an address book's `text`, whole or not at all."""
    draft = path.with_suffix(path.suffix + ".draft")
    with draft.open("w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def _parse(data: bytes) -> list[tuple[PeerId, list[str]]]:
    if len(data) > MAX_FILE:
        raise ValueError(f"larger than {MAX_FILE} bytes")
    document = json.loads(data)
    if not isinstance(document, dict) or document.get("version") != 1:
        raise ValueError("not an address book of version 1")
    peers = document.get("peers")
    if not isinstance(peers, dict):
        raise ValueError("no table of peers")
    entries = []
    for peer, addresses in peers.items():
        if len(peer) > MAX_PEER_ID or not peer.isascii() or not isinstance(addresses, list):
            raise ValueError(f"entry {peer[:MAX_PEER_ID]!r} is malformed")
        entries.append((PeerId(peer), [address for address in addresses if isinstance(address, str)]))
    return entries
