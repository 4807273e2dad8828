"""A bounded queue of outgoing frames and the one task that writes them.

Small frames that wait together leave together: under load many messages share one encrypted packet. Large
ones are never copied, so that a block on its way to a hundred peers is in memory once.
"""

from collections import deque
from typing import Final

import trio

from p2p.wire.frames import CHUNK, LENGTH, ByteStream, write

LARGE: Final = CHUNK // 4
"""Frames beyond this many bytes are written on their own rather than copied together."""


class Outbox:
    """Frames for one stream of one peer, at most `frames` of them, and `size` bytes unless one is larger."""

    def __init__(self, *, frames: int, size: int) -> None:
        self._max_frames = frames
        self._max_size = size
        self._queue: deque[bytes] = deque()
        self._size = 0
        self._arrived = trio.Event()
        self._left = trio.lowlevel.ParkingLot()
        self.frames_out = 0

    def put(self, payload: bytes) -> bool:
        """Queue one frame; False if there is no room."""
        if not self.has_room(len(payload)):
            return False
        self._queue.append(payload)
        self._size += len(payload)
        self.frames_out += 1
        self._arrived.set()
        return True

    def has_room(self, size: int) -> bool:
        """Whether a frame of `size` bytes would be taken."""
        if not self._queue:
            return True
        return len(self._queue) < self._max_frames and self._size + size <= self._max_size

    async def wait_for_room(self, size: int) -> None:
        """Wait until a frame of `size` bytes would be taken."""
        while not self.has_room(size):
            await self._left.park()

    async def drain(self, stream: ByteStream) -> None:
        """Write frames to `stream` for ever.

        Raises:
            PeerFault: `CONNECTION_LOST`.
        """
        while True:
            if not self._queue:
                self._arrived = trio.Event()
                await self._arrived.wait()
            small, large = self._take()
            await write(stream, small)
            if large:
                await write(stream, large)

    def _take(self) -> tuple[bytes, bytes]:
        """What to write next: small frames with their lengths, then what is left of a large one."""
        parts: list[bytes] = []
        size, large = 0, b""
        while self._queue and not large:
            if parts and size + len(self._queue[0]) > CHUNK:
                break
            payload = self._queue.popleft()
            self._size -= len(payload)
            size += len(payload)
            parts.append(LENGTH.pack(len(payload)))
            if len(payload) > LARGE:
                large = payload
            else:
                parts.append(payload)
        self._left.unpark_all()
        return b"".join(parts), large
