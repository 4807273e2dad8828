"""Where peers listen; kept in memory, and in a file that a restarted node starts from.

Three kinds of knowledge, kept apart so that the worse can never push out the better:

- *pinned*: said by the operator, or signed by a consensus key (`committee_links`). Never makes room.
- *tried*: we dialed it and the peer was there.
- *heard*: somebody says so, the peer itself included. Several may say different things of one peer, and all
  are kept: a lie does not replace the truth, it only stands beside it.

Tried and heard lie in tables (`bucket_table`) in which a group of addresses, or a group that hearsay comes
from, has a bounded share, in places that depend on a secret drawn once per book.
"""

import logging
import secrets
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from p2p import files
from p2p.addresses.bucket_table import SECRET_SIZE, BucketTable, Entry
from p2p.addresses.groups import believable, group_of
from p2p.addresses.multiaddrs import clean_addresses
from p2p.network import PeerId
from p2p.wire.control import MAX_ADDRESSES, MAX_PEER_ID

log = logging.getLogger(__name__)

FILE_VERSION: Final = 2

TRIED_SECONDS: Final = 30 * 24 * 3600
"""So long a peer that was once reached is worth another try, however often it was away since."""


class AddressBook:
    """Addresses by peer; pinned, tried and heard."""

    def __init__(self, *, now: Callable[[], float], secret: bytes | None = None) -> None:
        """`now` gives seconds since 1970; `secret` is drawn unless given."""
        self._now = now
        self._start(secret or secrets.token_bytes(SECRET_SIZE))
        self._pinned: dict[PeerId, tuple[str, ...]] = {}
        self.changed = False
        """Whether there is something new since `document` was asked for."""

    def _start(self, secret: bytes) -> None:
        self._secret = secret
        self._tried: BucketTable[tuple[PeerId]] = BucketTable(secret, "tried")
        self._heard: BucketTable[tuple[PeerId, str]] = BucketTable(secret, "heard")
        self._sources: dict[PeerId, dict[str, None]] = {}
        """Sources of what was heard of each peer."""

    def __len__(self) -> int:
        return len(self.peers())

    def peers(self) -> tuple[PeerId, ...]:
        """All known peers, sorted."""
        return tuple(sorted(self._pinned.keys() | {peer for (peer,) in self._tried} | self._sources.keys()))

    def knows(self, peer: PeerId) -> bool:
        """Whether there is an address of `peer`."""
        return peer in self._pinned or self.was_tried(peer) or peer in self._sources

    def was_tried(self, peer: PeerId) -> bool:
        """Whether `peer` was reached once."""
        return self._tried.get((peer,)) is not None

    def addresses(self, peer: PeerId) -> tuple[str, ...]:
        """Addresses of `peer`, the likeliest first; none if it is unknown."""
        tried = self._tried.get((peer,))
        found = dict.fromkeys(self._pinned.get(peer, ()))
        found |= dict.fromkeys(tried.addresses if tried is not None else ())
        for source in self._sources.get(peer, ()):
            heard = self._heard.get((peer, source))
            assert heard is not None, f"{source} is listed for {peer} and has said nothing"
            found |= dict.fromkeys(heard.addresses)
        return tuple(found)

    def bucket(self, peer: PeerId) -> str:
        """Name of the bucket that `peer` lies in: who draws a bucket first gives every group its share."""
        if self.was_tried(peer):
            return f"tried {self._tried.bucket_of((peer,))}"
        for source in self._sources.get(peer, ()):
            return f"heard {self._heard.bucket_of((peer, source))}"
        return "pinned"

    def pin(self, peer: PeerId, addresses: Iterable[str]) -> None:
        """Keep `peer` whatever happens: the operator says so, or a consensus key does."""
        self._pinned[peer] = clean_addresses(addresses)[:MAX_ADDRESSES]

    def unpin(self, peer: PeerId) -> None:
        """Treat `peer` like any other from now on."""
        self._pinned.pop(peer, None)

    def reached(self, peer: PeerId, addresses: Iterable[str], *, source: str = "") -> None:
        """We dialed `peer` at the first of `addresses`, and it was there; the others it says itself.

        `source` is the multiaddr where it turned out to be, if the first is a name.
        """
        old = self._tried.get((peer,))
        fresh = clean_addresses(addresses)
        fresh = (*fresh[:1], *believable(fresh[1:], source=source or "".join(fresh[:1])))
        known = (*fresh, *(address for address in old.addresses if address not in fresh)) if old else fresh
        known = known[:MAX_ADDRESSES]
        if not known:
            return
        self._drop_hearsay(peer)
        self._tried.put((peer,), Entry(known, _share_of(known[0]), int(self._now())))
        self.changed = True

    def hear(self, peer: PeerId, addresses: Iterable[str], *, source: str, itself: bool = False) -> None:
        """Somebody at the multiaddr `source`, perhaps `peer` itself, says that it listens at `addresses`."""
        fresh = believable(clean_addresses(addresses), source=source)[:MAX_ADDRESSES]
        group = group_of(source)
        if fresh:
            # Near us there are no shares (`groups`): hearsay then counts for what it says.
            self._put_hearsay(peer, Entry(fresh, group or fresh[0], int(self._now())))
            if itself and (sources := self._sources.get(peer)):
                self._sources[peer] = {group or fresh[0]: None} | sources

    def gave_up(self, peer: PeerId) -> bool:
        """`peer` is not to be found: drop the hearsay, and in the end also what was once true.

        Returns:
            Whether nothing is left of it.
        """
        self._drop_hearsay(peer)
        tried = self._tried.get((peer,))
        if tried is not None and self._now() - tried.at > TRIED_SECONDS:
            self._tried.drop((peer,))
            self.changed = True
        return not self.knows(peer)

    def load(self, path: Path) -> None:
        """Take in what `document` gave; an unreadable file is set aside and reported."""
        files.load(path, self._take)

    def document(self) -> dict[str, Any]:
        """What belongs in the file; what is pinned has another home."""
        self.changed = False
        tried = {peer: self._tried.get((peer,)) for (peer,) in self._tried}
        heard = {key: self._heard.get(key) for key in self._heard}
        return {
            "version": FILE_VERSION,
            "secret": self._secret.hex(),
            "tried": [[peer, entry.at, entry.addresses] for peer, entry in tried.items() if entry],
            "heard": [
                [peer, source, entry.at, entry.addresses] for (peer, source), entry in heard.items() if entry
            ],
        }

    def _take(self, document: dict[str, Any]) -> None:
        """Check a whole document before any of it is used."""
        if document.get("version") != FILE_VERSION:
            raise ValueError(f"version {document.get('version')!r}, expected {FILE_VERSION}")
        secret = bytes.fromhex(document["secret"])
        if len(secret) != SECRET_SIZE:
            raise ValueError(f"a secret of {len(secret)} bytes, expected {SECRET_SIZE}")
        tried = [(_peer(peer), _at(at), _texts(where)) for peer, at, where in document["tried"]]
        heard = [(_peer(p), _source(s), _at(at), _texts(where)) for p, s, at, where in document["heard"]]
        self._start(secret)
        now = int(self._now())
        for peer, at, where in tried:
            if known := clean_addresses(where)[:MAX_ADDRESSES]:
                self._tried.put((peer,), Entry(known, _share_of(known[0]), min(at, now)))
        for peer, source, at, where in heard:
            if known := clean_addresses(where)[:MAX_ADDRESSES]:
                self._put_hearsay(peer, Entry(known, source, min(at, now)))
        self.changed = False

    def _put_hearsay(self, peer: PeerId, entry: Entry) -> None:
        self._sources.setdefault(peer, {})[entry.group] = None
        for loser, source in self._heard.put((peer, entry.group), entry):
            self._forget_source(loser, source)
        self.changed = True

    def _drop_hearsay(self, peer: PeerId) -> None:
        for source in self._sources.pop(peer, {}):
            self._heard.drop((peer, source))
            self.changed = True

    def _forget_source(self, peer: PeerId, source: str) -> None:
        sources = self._sources[peer]
        del sources[source]
        if not sources:
            del self._sources[peer]


def _share_of(address: str) -> str:
    """Whose share something at `address` counts against; what is local counts for itself."""
    return group_of(address) or address


def _peer(value: object) -> PeerId:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_PEER_ID or not value.isascii():
        raise ValueError(f"{value!r:.80} is no peer id")
    return PeerId(value)


def _source(value: object) -> str:
    if not isinstance(value, str) or len(value) > 128 or not value.isascii():
        raise ValueError(f"{value!r:.80} is no source")
    return value


def _at(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r:.80} is no time")
    return value


def _texts(value: object) -> list[str]:
    if not isinstance(value, list):
        raise ValueError(f"{value!r:.80} is no list of addresses")
    return [text for text in value if isinstance(text, str)]
