"""Where peers were last seen listening; kept in memory, and in a file that a restarted node starts from.

The file is a cache, not a record: an unreadable one is set aside, and the bootstrap peers have to do.
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
"""Peers kept; the one heard of longest ago makes room."""

MAX_FILE: Final = 1024 * 1024
"""Largest file that is read, bytes; `MAX_KNOWN` full entries take less."""


class AddressBook:
    """Addresses by peer, the most recently confirmed last."""

    def __init__(self) -> None:
        self._known: dict[PeerId, tuple[str, ...]] = {}
        self.changed = False
        """Whether there is something new since `text` was asked for."""

    def __len__(self) -> int:
        return len(self._known)

    def peers(self) -> tuple[PeerId, ...]:
        """All known peers, sorted."""
        return tuple(sorted(self._known))

    def addresses(self, peer: PeerId) -> tuple[str, ...]:
        """Addresses of `peer`, the likeliest first; none if it is unknown."""
        return self._known.get(peer, ())

    def learn(self, peer: PeerId, addresses: Iterable[str]) -> None:
        """Put `addresses`, as far as they make sense, in front of what is known of `peer`."""
        fresh = clean_addresses(addresses)
        old = self._known.pop(peer, ())
        known = (*fresh, *(address for address in old if address not in fresh))[:MAX_ADDRESSES]
        if not known:
            return
        self._known[peer] = known
        self.changed = self.changed or known != old
        if len(self._known) > MAX_KNOWN:
            del self._known[next(iter(self._known))]

    def forget(self, peer: PeerId) -> None:
        """Drop a peer that is not to be found."""
        if self._known.pop(peer, None) is not None:
            self.changed = True

    def load(self, path: Path) -> None:
        """Learn what `save` wrote; an unreadable file is renamed to `*.unreadable` and reported."""
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
            self.learn(peer, addresses)
        self.changed = False

    def text(self) -> str:
        """What belongs in the file."""
        self.changed = False
        return json.dumps({"version": 1, "peers": self._known}, indent=1)


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
