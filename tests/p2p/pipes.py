"""Byte streams in memory, for whatever reads and writes a muxed stream."""

import trio
from libp2p.stream_muxer.exceptions import MuxedStreamEOF, MuxedStreamReset


class Pipe:
    """One end of a two-way byte stream; what is written here is read from `other`."""

    def __init__(self, *, room: float = float("inf")) -> None:
        self.other = self
        self._room = room
        self._unread = bytearray()
        self._ended: type[Exception] | None = None
        self._changed = trio.lowlevel.ParkingLot()

    async def read(self, n: int | None = None) -> bytes:
        while not self._unread:
            if self._ended is not None:
                raise self._ended("over")
            await self._changed.park()
        size = len(self._unread) if n is None else min(n, len(self._unread))
        data = bytes(self._unread[:size])
        del self._unread[:size]
        self._changed.unpark_all()
        return data

    async def write(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        view = memoryview(data)
        while view:
            if self._ended is not None:
                raise MuxedStreamReset("over")
            far = self.other
            size = int(min(len(view), far._room - len(far._unread)))
            if size <= 0:
                await far._changed.park()
                continue
            far._unread += view[:size]
            view = view[size:]
            far._changed.unpark_all()

    async def reset(self) -> None:
        self.end(MuxedStreamReset)

    def end(self, how: type[Exception] = MuxedStreamEOF) -> None:
        """Close both directions."""
        for side in (self, self.other):
            side._ended = side._ended or how
            side._changed.unpark_all()


def pipe(*, room: float = float("inf")) -> tuple[Pipe, Pipe]:
    """Both ends of a stream; `room` bounds what waits unread in each direction, bytes."""
    near, far = Pipe(room=room), Pipe(room=room)
    near.other, far.other = far, near
    return near, far


class Replay:
    """A stream that gives out `data` in pieces of the given sizes, then ends."""

    def __init__(self, data: bytes, sizes: list[int] | None = None) -> None:
        self._data = data
        self._sizes = sizes or []
        self._at = 0
        self.written = bytearray()

    async def read(self, n: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        left = len(self._data) - self._at
        if not left:
            raise MuxedStreamEOF("over")
        size = min(self._sizes.pop(0) if self._sizes else left, left if n is None else n)
        self._at += size
        return self._data[self._at - size : self._at]

    async def write(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        self.written += data

    async def reset(self) -> None:
        self._data = b""
