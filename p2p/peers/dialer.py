"""Decides whom to dial and when, so that every node ends up connected to every other.

- A peer is dialed at once when its address is new, then with growing pauses (`pause`), for ever if it is a
  bootstrap peer or was ever reached, and `GIVE_UP_AFTER` times otherwise.
- Of two nodes that know each other, one dials (`pairing`); the other waits `COURTESY_SECONDS`. Only at its
  start does a node dial all it knows, since those others may be in the middle of a long pause.
- Of all who are due, *kept* peers go first (the committee's, and the bootstrap peers), then the anchors
  (`anchors`), then a random one of a random bucket of the book: whoever fills the book with addresses gets
  his share of the buckets and no more. Hearsay never takes all the dials at a time.
- Any contact ends the pauses: a peer that connects to us, or, once per `LONGEST_PAUSE`, a report by others
  that it is there.
"""

import logging
import random
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import trio

from p2p.addresses.address_book import AddressBook
from p2p.network import PeerId
from p2p.peers.pairing import dials
from p2p.wire.buckets import TokenBucket
from p2p.wire.faults import PeerFault

log = logging.getLogger(__name__)

FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 30.0
COURTESY_SECONDS: Final = 2.0
GIVE_UP_AFTER: Final = 12
"""Failed attempts after which a peer known by hearsay is forgotten: about four minutes."""

LASTING_SECONDS: Final = 10.0
"""A connection that lived this long was a success; a shorter one counts as one more failed attempt."""

LONGEST_REST: Final = 600.0
"""Pause before a peer is dialed again that was reached once and is away since long."""

CONCURRENT_DIALS: Final = 8

HEARSAY_DIALS: Final = 5
"""Most of these that peers known by hearsay may take: their addresses may lead nowhere, slowly."""

FORGOTTEN_AT_ONCE: Final = 64
"""Targets beyond the book's before those that fell out of it are looked for: not for each word we hear."""

ADDRESSES_TRIED: Final = 8
"""Addresses of a peer that are tried in one attempt; lies about it could be many."""

DIALS_PER_SECOND: Final = 20.0
DIALS_BURST: Final = 100.0
"""Bounds on new dials: hearsay must not make us knock at a thousand strangers' doors."""


_KEPT, _ANCHOR, _TRIED, _HEARSAY = range(4)
"""Ranks of those who may be dialed."""


@dataclass(slots=True, eq=False)
class _Target:
    peer: PeerId
    next_at: float
    failures: int = 0
    dialing: bool = False
    connected_at: float | None = None
    hinted_at: float = float("-inf")
    """When hearsay last shortened its pause."""
    is_refused: bool = False
    """Whether there was no place for it when its turn came."""


class Dialer:
    """Keeps trying to reach the peers of an address book."""

    def __init__(
        self,
        book: AddressBook,
        *,
        local_id: PeerId,
        kept: frozenset[PeerId],
        anchors: frozenset[PeerId] = frozenset(),
        rng: random.Random,
        dial: Callable[[PeerId, str], Awaitable[None]],
        may_dial: Callable[[PeerId, str], bool],
    ) -> None:
        """Dial the peers of `book`; `may_dial` says whether there would be a place for one at an address."""
        self._book = book
        self._local_id = local_id
        self._kept = kept
        self._members: frozenset[PeerId] = frozenset()
        self._anchors = anchors
        self._rng = rng
        self._dial = dial
        self._may_dial = may_dial
        now = trio.current_time()
        self._bucket = TokenBucket(rate=DIALS_PER_SECOND, burst=DIALS_BURST, now=now)
        self._targets = {peer: _Target(peer, next_at=now) for peer in book.peers() if peer != local_id}
        self._changed = trio.Event()
        self._most = len(self._targets) + FORGOTTEN_AT_ONCE

    def keep(self, members: Mapping[PeerId, tuple[str, ...]]) -> None:
        """Dial `members`, in place of those of the call before, for as long as it takes."""
        for peer in self._members - members.keys() - self._kept - self._anchors:
            self._book.unpin(peer)
        self._members = frozenset(members) - {self._local_id}
        now = trio.current_time()
        for peer in sorted(self._members):
            if members[peer] and peer not in self._kept:
                self._book.pin(peer, members[peer])
            self._targets.setdefault(peer, _Target(peer, next_at=now + self._courtesy(peer)))
        self._forget_unknown()
        self._changed.set()

    def heard_of(self, peer: PeerId, addresses: tuple[str, ...], *, source: str) -> None:
        """Somebody at the multiaddr `source` says that `peer` is there."""
        if peer == self._local_id:
            return
        self._book.hear(peer, addresses, source=source)
        if not self._book.knows(peer):
            return
        now = trio.current_time()
        target = self._targets.get(peer)
        if target is None:
            self._targets[peer] = _Target(peer, next_at=now + self._courtesy(peer))
        elif target.connected_at is None and now >= target.hinted_at + LONGEST_PAUSE:
            target.hinted_at = now
            target.next_at = min(target.next_at, now + COURTESY_SECONDS)
        self._make_room()
        self._changed.set()

    def connected(self, peer: PeerId) -> None:
        """There is a session with `peer`, whoever dialed."""
        now = trio.current_time()
        target = self._targets.setdefault(peer, _Target(peer, next_at=now))
        target.connected_at = now
        self._make_room()

    def lost(self, peer: PeerId, *, was_ours: bool) -> None:
        """The session with `peer`, which we dialed if it `was_ours`, is over."""
        target = self._targets.get(peer)
        if target is None or target.connected_at is None:
            return
        now = trio.current_time()
        lasted = now - target.connected_at
        target.connected_at = None
        target.failures = 0 if lasted >= LASTING_SECONDS else target.failures + 1
        target.next_at = now + pause(max(1, target.failures), self._rng) + self._courtesy(peer)
        for other in self._targets.values() if was_ours else ():
            if other.is_refused:  # there is a place now
                other.is_refused, other.next_at = False, min(other.next_at, now)
        self._changed.set()

    async def run(self) -> None:
        """Dial for ever."""
        async with trio.open_nursery() as nursery:
            while True:
                self._changed = trio.Event()
                target = self._next_target()
                if target is not None and target.next_at <= trio.current_time():
                    target.dialing = True
                    nursery.start_soon(self._attempt, target)
                    await trio.sleep(self._bucket.take(1, trio.current_time()))
                    continue
                with trio.CancelScope(deadline=target.next_at if target is not None else float("inf")):
                    await self._changed.wait()

    def _next_target(self) -> _Target | None:
        """Whom to dial next, perhaps not yet; None while all slots are taken, or nobody is left to dial."""
        dialing = [target for target in self._targets.values() if target.dialing]
        if len(dialing) >= CONCURRENT_DIALS:
            return None
        now = trio.current_time()
        hearsay = sum(self._rank(target.peer) == _HEARSAY for target in dialing)
        idle = [t for t in self._targets.values() if not t.dialing and t.connected_at is None]
        if hearsay >= HEARSAY_DIALS:
            idle = [target for target in idle if self._rank(target.peer) != _HEARSAY]
        for target in self._drawn([target for target in idle if target.next_at <= now]):
            if self._open_addresses(target.peer):
                return target
            target.next_at, target.is_refused = now + LONGEST_PAUSE, True
        return min(idle, key=lambda target: target.next_at, default=None)

    def _drawn(self, due: list[_Target]) -> Iterator[_Target]:
        """Those who are due: by rank, and beyond the first two a random one of a random bucket each time."""
        pools: dict[int, dict[str, list[_Target]]] = {}
        for target in due:
            rank = self._rank(target.peer)
            if rank <= _ANCHOR:
                pools.setdefault(rank, {}).setdefault("", []).append(target)
            else:
                pools.setdefault(rank, {}).setdefault(self._book.bucket(target.peer), []).append(target)
        for rank in (_KEPT, _ANCHOR):
            yield from pools.pop(rank, {}).get("", ())
        while pools:
            # Whom we reached once is drawn as often as all hearsay together.
            rank = self._rng.choice(sorted(pools))
            name = self._rng.choice(list(pools[rank]))
            bucket = pools[rank][name]
            yield bucket.pop(self._rng.randrange(len(bucket)))
            if not bucket:
                del pools[rank][name]
            if not pools[rank]:
                del pools[rank]

    def _rank(self, peer: PeerId) -> int:
        if peer in self._kept or peer in self._members:
            return _KEPT
        if peer in self._anchors:
            return _ANCHOR
        return _TRIED if self._book.was_tried(peer) else _HEARSAY

    def _open_addresses(self, peer: PeerId) -> list[str]:
        """Addresses to try now, those with a place only: the likeliest one first, of many others any."""
        known = self._book.addresses(peer)
        if not known:
            return []
        first, *others = known
        if len(known) > ADDRESSES_TRIED:
            self._rng.shuffle(others)
        return [a for a in (first, *others) if self._may_dial(peer, a)][:ADDRESSES_TRIED]

    async def _attempt(self, target: _Target) -> None:
        for address in self._open_addresses(target.peer):
            try:
                await self._dial(target.peer, address)
            except PeerFault as fault:
                log.info("event=dial_failed peer=%s address=%s reason=%s", target.peer, address, fault)
            if target.connected_at is not None:
                break
        target.dialing = False
        if target.connected_at is None:
            self._failed(target)
        self._changed.set()

    def _failed(self, target: _Target) -> None:
        target.failures += 1
        target.next_at = trio.current_time() + pause(target.failures, self._rng)
        if target.failures >= GIVE_UP_AFTER and self._rank(target.peer) > _ANCHOR:
            if self._book.gave_up(target.peer):
                self._targets.pop(target.peer, None)
            else:
                # It was there once: a cut line must not make us forget everybody who was.
                target.next_at = trio.current_time() + LONGEST_REST * (0.5 + self._rng.random() / 2)

    def _courtesy(self, peer: PeerId) -> float:
        return 0.0 if dials(self._local_id, peer) else COURTESY_SECONDS

    def _make_room(self) -> None:
        if len(self._targets) > self._most:
            self._forget_unknown()
            self._most = len(self._targets) + FORGOTTEN_AT_ONCE

    def _forget_unknown(self) -> None:
        """Follow the book, which is bounded."""
        for peer in [p for p, t in self._targets.items() if t.connected_at is None and not t.dialing]:
            if not self._book.knows(peer):
                del self._targets[peer]


def pause(failures: int, rng: random.Random) -> float:
    """Seconds to wait after the given number of failed attempts: 0.5 to 1, doubling up to 15 to 30."""
    longest: float = min(FIRST_PAUSE * 2 ** min(failures - 1, 16), LONGEST_PAUSE)
    return longest * (0.5 + rng.random() / 2)
