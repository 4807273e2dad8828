"""Decides whom to dial and when, so that every node ends up connected to every other.

- A peer is dialed at once when its address is new, then with growing pauses (`pause`), for ever if it is a
  bootstrap peer and `GIVE_UP_AFTER` times otherwise.
- Of two nodes that know each other, the one with the lower id dials; the other waits `COURTESY_SECONDS`.
  Only at its start does a node dial all it knows, since those others may be in the middle of a long pause.
- Any contact ends the pauses: a peer that connects to us, or, once per `LONGEST_PAUSE`, a report by others
  that it is there.
"""

import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import trio

from p2p.address_book import AddressBook
from p2p.buckets import TokenBucket
from p2p.faults import PeerFault
from p2p.network import PeerId

log = logging.getLogger(__name__)

FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 30.0
COURTESY_SECONDS: Final = 2.0
GIVE_UP_AFTER: Final = 12
"""Failed attempts after which a peer known by hearsay is forgotten: about four minutes."""

LASTING_SECONDS: Final = 10.0
"""A connection that lived this long was a success; a shorter one counts as one more failed attempt."""

CONCURRENT_DIALS: Final = 8

DIALS_PER_SECOND: Final = 20.0
DIALS_BURST: Final = 100.0
"""Bounds on new dials: hearsay must not make us knock at a thousand strangers' doors."""


@dataclass(slots=True, eq=False)
class _Target:
    peer: PeerId
    next_at: float
    failures: int = 0
    dialing: bool = False
    connected_at: float | None = None
    hinted_at: float = float("-inf")
    """When hearsay last shortened its pause."""


class Dialer:
    """Keeps trying to reach the peers of an address book."""

    def __init__(
        self,
        book: AddressBook,
        *,
        local_id: PeerId,
        bootstrap: frozenset[PeerId],
        rng: random.Random,
        dial: Callable[[PeerId, str], Awaitable[None]],
        may_dial: Callable[[PeerId], bool],
    ) -> None:
        self._book = book
        self._local_id = local_id
        self._bootstrap = bootstrap
        self._rng = rng
        self._dial = dial
        self._may_dial = may_dial
        now = trio.current_time()
        self._bucket = TokenBucket(rate=DIALS_PER_SECOND, burst=DIALS_BURST, now=now)
        self._targets = {peer: _Target(peer, next_at=now) for peer in book.peers() if peer != local_id}
        self._changed = trio.Event()

    def heard_of(self, peer: PeerId, addresses: tuple[str, ...]) -> None:
        """Somebody says that `peer` is there."""
        if peer == self._local_id:
            return
        self._book.hear(peer, addresses)
        if not self._book.addresses(peer):
            return
        now = trio.current_time()
        target = self._targets.get(peer)
        if target is None:
            self._targets[peer] = _Target(peer, next_at=now + self._courtesy(peer))
        elif target.connected_at is None and now >= target.hinted_at + LONGEST_PAUSE:
            target.hinted_at = now
            target.next_at = min(target.next_at, now + COURTESY_SECONDS)
        self._forget_unknown()
        self._changed.set()

    def connected(self, peer: PeerId) -> None:
        """There is a session with `peer`, whoever dialed."""
        now = trio.current_time()
        target = self._targets.setdefault(peer, _Target(peer, next_at=now))
        target.connected_at = now

    def lost(self, peer: PeerId) -> None:
        """The session with `peer` is over."""
        target = self._targets.get(peer)
        if target is None or target.connected_at is None:
            return
        now = trio.current_time()
        lasted = now - target.connected_at
        target.connected_at = None
        target.failures = 0 if lasted >= LASTING_SECONDS else target.failures + 1
        target.next_at = now + pause(max(1, target.failures), self._rng) + self._courtesy(peer)
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
        if sum(target.dialing for target in self._targets.values()) >= CONCURRENT_DIALS:
            return None
        now = trio.current_time()
        idle = [t for t in self._targets.values() if not t.dialing and t.connected_at is None]
        for target in idle:
            if target.next_at <= now and not self._may_dial(target.peer):
                target.next_at = now + LONGEST_PAUSE
        return min(idle, key=lambda target: target.next_at, default=None)

    async def _attempt(self, target: _Target) -> None:
        for address in self._book.addresses(target.peer):
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
        if target.failures >= GIVE_UP_AFTER and target.peer not in self._bootstrap:
            self._book.forget(target.peer)
            self._targets.pop(target.peer, None)

    def _courtesy(self, peer: PeerId) -> float:
        return 0.0 if self._local_id < peer else COURTESY_SECONDS

    def _forget_unknown(self) -> None:
        """Follow the book, which is bounded."""
        for peer in [p for p, t in self._targets.items() if t.connected_at is None and not t.dialing]:
            if not self._book.addresses(peer):
                del self._targets[peer]


def pause(failures: int, rng: random.Random) -> float:
    """Seconds to wait after the given number of failed attempts: 0.5 to 1, doubling up to 15 to 30."""
    longest: float = min(FIRST_PAUSE * 2 ** min(failures - 1, 16), LONGEST_PAUSE)
    return longest * (0.5 + rng.random() / 2)
