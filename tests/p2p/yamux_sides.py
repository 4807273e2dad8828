"""Yamux sessions for tests: two that talk to each other, or one with the bytes at its other end."""

import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from libp2p.stream_muxer.exceptions import (
    MuxedConnUnavailable,
    MuxedStreamEOF,
    MuxedStreamError,
)

from p2p.hardening.yamux import SYN, WINDOW_UPDATE, BoundedYamux
from tests.p2p.pipes import Pipe, pipe


class Wire:
    """A secured connection over a pipe."""

    def __init__(self, end: Pipe, *, is_initiator: bool) -> None:
        self.end = end
        self.is_initiator = is_initiator
        self.writes = 0

    async def read(self, n: int | None = None) -> bytes:
        try:
            return await self.end.read(n)
        except MuxedStreamEOF:
            return b""

    async def write(self, data: bytes) -> None:
        self.writes += 1
        await self.end.write(data)

    async def close(self) -> None:
        self.end.end()

    def get_remote_address(self) -> tuple[str, int] | None:
        return None


def header(kind: int, flags: int, stream_id: int, length: int) -> bytes:
    return struct.pack("!BBHII", 0, kind, flags, stream_id, length)


@asynccontextmanager
async def two_sides(*, room: float = float("inf")) -> AsyncIterator[tuple[BoundedYamux, BoundedYamux]]:
    near, far = pipe(room=room)
    a = BoundedYamux(Wire(near, is_initiator=True), peer_id="b")
    b = BoundedYamux(Wire(far, is_initiator=False), peer_id="a")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(a.start)
        nursery.start_soon(b.start)
        await a.event_started.wait()
        await b.event_started.wait()
        yield a, b
        await a.close()
        await b.close()


@asynccontextmanager
async def one_side() -> AsyncIterator[tuple[BoundedYamux, Pipe]]:
    """A listener's session, and the raw other end of its connection."""
    near, far = pipe()
    session = BoundedYamux(Wire(near, is_initiator=False), peer_id="raw")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(session.start)
        await session.event_started.wait()
        yield session, far
        session.end("test is over")


async def ended_because(session: BoundedYamux) -> str:
    with trio.fail_after(5):
        await session.event_closed.wait()

    async def accept_all() -> None:
        while True:
            await session.accept_stream()

    with pytest.raises(MuxedConnUnavailable):
        await accept_all()
    with pytest.raises(MuxedStreamError):
        await session.open_stream()
    return session.closed_because


OPEN = header(WINDOW_UPDATE, SYN, 1, 0)
