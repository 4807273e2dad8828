"""Frames that arrived and were not taken yet: consensus first, then peers in turn.

Memory bound: per peer and lane at most `frames` frames, and `size` bytes unless a single frame is larger.
A reader that meets a full queue waits, stops reading its stream, and so slows down the peer at the other end
and nobody else.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import trio

from p2p.network import Inbound, Lane, PeerId


@dataclass(slots=True)
class _Queue:
    frames: deque[Inbound] = field(default_factory=deque)
    size: int = 0
    room: trio.lowlevel.ParkingLot = field(default_factory=trio.lowlevel.ParkingLot)


class Inbox:
    """Merges all lanes of all peers into one channel: strict priority of lanes, round robin of peers."""

    def __init__(
        self, *, frames: int, size: int, on_take: Callable[[PeerId, Lane], None] | None = None
    ) -> None:
        self._max_frames = frames
        self._max_size = size
        self._on_take = on_take
        # Insertion order is the order of turns: the first peer is served next and then moves to the end.
        self._turns: dict[Lane, dict[PeerId, _Queue]] = {lane: {} for lane in sorted(Lane)}
        self._arrived = trio.Event()

    async def put(self, item: Inbound) -> None:
        """Queue one frame, waiting until its peer's queue has room."""
        while not self.has_room(item.peer, item.lane, len(item.payload)):
            await self._turns[item.lane][item.peer].room.park()
        self.put_now(item)

    def has_room(self, peer: PeerId, lane: Lane, size: int) -> bool:
        """Whether a frame of `size` bytes would be within the bounds."""
        queue = self._turns[lane].get(peer)
        if queue is None:
            return True
        return len(queue.frames) < self._max_frames and queue.size + size <= self._max_size

    def put_now(self, item: Inbound) -> None:
        """Queue one frame whose room the caller has checked."""
        queue = self._turns[item.lane].setdefault(item.peer, _Queue())
        queue.frames.append(item)
        queue.size += len(item.payload)
        self._arrived.set()

    async def pump(self, out: trio.MemorySendChannel[Inbound]) -> None:
        """Move frames to `out` for ever, or until its reader is gone.

        `out` should have no buffer: whatever is in it can no longer be overtaken.
        """
        while True:
            item = self._take()
            if item is None:
                self._arrived = trio.Event()
                await self._arrived.wait()
                continue
            if self._on_take is not None:
                self._on_take(item.peer, item.lane)
            try:
                await out.send(item)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return

    def _take(self) -> Inbound | None:
        for turns in self._turns.values():
            if not turns:
                continue
            peer = next(iter(turns))
            queue = turns.pop(peer)
            item = queue.frames.popleft()
            queue.size -= len(item.payload)
            if queue.frames:
                turns[peer] = queue
            queue.room.unpark_all()
            return item
        return None
