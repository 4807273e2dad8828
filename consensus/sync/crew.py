"""Who is asked for pieces of a state, where more peers offer it than are asked at the same time.

Nobody knows beforehand who is quick. So a place is never held for good: as long as somebody waits that may be
quicker, because it was not tried yet or did better, the slowest gives up its place at every look.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import inf

import trio

from p2p.network import PeerId


@dataclass(slots=True)
class _Record:
    """What is known of a peer's work."""

    pieces: int = 0
    seconds: float = 0.0
    """In all, of the times that are over."""
    since: float = 0.0
    """When the present time began."""
    is_at_work: bool = False
    place: trio.CancelScope = field(default_factory=trio.CancelScope)

    @property
    def rate(self) -> float:
        """Pieces a second; whoever was never tried may be as quick as one likes."""
        seconds = self.seconds + (trio.current_time() - self.since if self.is_at_work else 0.0)
        return self.pieces / seconds if seconds else inf


class Crew:
    """The peers at work, at most ``size`` at a time, and what those did that were."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._records: dict[PeerId, _Record] = {}

    @property
    def at_work(self) -> tuple[PeerId, ...]:
        """Who works now."""
        return tuple(peer for peer, record in self._records.items() if record.is_at_work)

    def hire(self, offering: Sequence[PeerId]) -> list[PeerId]:
        """Who of those that offer is to begin now, and counts as at work from here on.

        Where no place is free, one that works is sent away if somebody waits that may be quicker.
        """
        at_work = self.at_work
        idle = [peer for peer in offering if peer not in at_work]
        for peer in idle:
            self._records.setdefault(peer, _Record())
        idle.sort(key=lambda peer: -self._records[peer].rate)
        free = self._size - len(at_work)
        if free <= 0 and idle:
            slowest = min(at_work, key=lambda peer: self._records[peer].rate)
            free = int(self._records[idle[0]].rate > self._records[slowest].rate)
            if free:
                self._records[slowest].place.cancel()
        hired = idle[:free]
        for peer in hired:
            record = self._records[peer]
            record.is_at_work, record.place, record.since = True, trio.CancelScope(), trio.current_time()
        return hired

    @contextmanager
    def place_of(self, peer: PeerId) -> Iterator[None]:
        """What a hired peer's work is done in, until it is done or the peer is sent away."""
        record = self._records[peer]
        try:
            with record.place:
                yield
        finally:
            record.seconds += trio.current_time() - record.since
            record.is_at_work = False

    def brought(self, peer: PeerId, pieces: int) -> None:
        """A peer brought pieces that were still missing."""
        self._records[peer].pieces += pieces
