"""Which pieces of a state are missing, and who was asked for them.

Memory is bounded by the siblings on the way down: places are taken depth first.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import trio

from chain.state.chunks import Wanted
from p2p.network import PeerId

HEDGE_SECONDS: Final = 1.0
"""Who has nothing to do for so long asks for what others were asked for: the last pieces must not wait for
the slowest peer."""


class PiecePool:
    """Places to be asked for, by many at once."""

    def __init__(self, wanted: Iterable[Wanted]) -> None:
        self._wanted = {want.place: want for want in wanted}
        self._idle = list(self._wanted)
        self._changed = trio.Event()
        self.asked: dict[bytes, PeerId] = {}
        """Who was asked for a place first."""
        self.done = trio.Event()
        """Set once nothing is missing."""
        self._settle()

    def __len__(self) -> int:
        return len(self._wanted)

    def __contains__(self, want: Wanted) -> bool:
        return self._wanted.get(want.place) == want

    async def take(self, peer: PeerId, count: int) -> Sequence[Wanted]:
        """At most ``count`` places for a peer to be asked for; none once everything is here."""
        # Whoever waits for what was just given back goes first.
        await trio.lowlevel.checkpoint()
        starved = trio.current_time() + HEDGE_SECONDS
        while not self.done.is_set():
            places = self._idle_places(count)
            self.asked |= dict.fromkeys(places, peer)
            if not places and trio.current_time() >= starved:
                places = [place for place, other in self.asked.items() if other != peer][:count]
                starved += HEDGE_SECONDS
            if places:
                return [self._wanted[place] for place in places]
            with trio.move_on_at(starved):
                await self._changed.wait()
        return ()

    def replace(self, want: Wanted, below: Iterable[Wanted]) -> None:
        """A place is here, and named those that are to be asked for next."""
        if want not in self:
            return
        del self._wanted[want.place]
        self.asked.pop(want.place, None)
        for child in below:
            self._wanted[child.place] = child
            self._idle.append(child.place)
        self._settle()

    def give_back(self, peer: PeerId, wants: Iterable[Wanted]) -> None:
        """What a peer did not bring may be asked of another."""
        for want in wants:
            if want in self and self.asked.get(want.place) == peer:
                del self.asked[want.place]
                self._idle.append(want.place)
        self._settle()

    def _idle_places(self, count: int) -> list[bytes]:
        places: list[bytes] = []
        while self._idle and len(places) < count:
            place = self._idle.pop()
            if place in self._wanted:
                places.append(place)
        return places

    def _settle(self) -> None:
        if not self._wanted:
            self.done.set()
        self._changed.set()
        self._changed = trio.Event()
