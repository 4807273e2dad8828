"""One stream of a `BoundedYamux` session: a bounded receive buffer and a send credit."""

from typing import TYPE_CHECKING

import trio
from libp2p.abc import IMuxedStream
from libp2p.stream_muxer.exceptions import (
    MuxedStreamClosed,
    MuxedStreamEOF,
    MuxedStreamError,
    MuxedStreamReset,
)

if TYPE_CHECKING:
    from p2p.hardening.yamux import BoundedYamux

FIRST_WINDOW = 256 * 1024
"""Receive window of a new stream, bytes (given by the protocol)."""

MAX_WINDOW = 1024 * 1024
"""Largest receive window, bytes: 10 MB/s on a path of 100 ms."""

MAX_CREDIT = 16 * 1024 * 1024
"""Largest send window that a peer may grant, bytes (the largest that go-yamux uses)."""

MAX_BODY = 65507
"""Largest body we send: with its header it fills one noise message (65535 less 16 of tag) exactly."""

READER_GONE_AFTER = 30.0
"""Seconds without any credit after which a writer gives up the stream."""

_DATA, _WINDOW_UPDATE = 0, 1
_FIN, _RST = 4, 8


class BoundedYamuxStream(IMuxedStream):  # type: ignore[misc]
    """A two-way byte stream. One reader and any number of writers; each write is atomic."""

    def __init__(self, session: "BoundedYamux", stream_id: int) -> None:
        self.muxed_conn = session
        self.stream_id = stream_id
        self.window = FIRST_WINDOW
        self.credit = FIRST_WINDOW
        """Bytes that the peer may still send."""
        self.send_credit = FIRST_WINDOW
        self._session = session
        self._buffer = bytearray()
        self._consumed = 0
        self._fin_received = False
        self._fin_sent = False
        self._broken: str | None = None
        self._news = trio.Event()
        self._credit_news = trio.Event()
        self._write_lock = trio.Lock()

    async def read(self, n: int | None = None) -> bytes:
        """Up to `n` bytes, or whatever has arrived; waits until there is something.

        Raises:
            MuxedStreamEOF: The peer closed its side and everything was read.
            MuxedStreamReset: The stream or the session broke.
        """
        while not self._buffer:
            if self._broken is not None:
                raise MuxedStreamReset(self._broken)
            if self._fin_received:
                raise MuxedStreamEOF("closed by peer")
            self._news = trio.Event()
            await self._news.wait()
        if n is None or n < 0 or n >= len(self._buffer):
            data = bytes(self._buffer)
            self._buffer.clear()
        else:
            data = bytes(self._buffer[:n])
            del self._buffer[:n]
        self._give_back(len(data))
        return data

    async def write(self, data: bytes) -> None:
        """Send all of `data`, waiting for credit as needed.

        Raises:
            MuxedStreamClosed: This side was closed.
            MuxedStreamReset: The stream or the session broke, or the peer stopped reading.
        """
        async with self._write_lock:
            view = memoryview(data)
            while view:
                await self._wait_for_credit()
                part = view[: min(self.send_credit, MAX_BODY)]
                self.send_credit -= len(part)
                await self._session.write_frame(_DATA, 0, self.stream_id, part)
                view = view[len(part) :]

    async def close(self) -> None:
        """Close this side; the peer may go on sending."""
        if self._fin_sent or self._broken is not None:
            return
        self._fin_sent = True
        self._session.queue_control(_WINDOW_UPDATE, _FIN, self.stream_id)
        self._forget_if_done()

    async def reset(self) -> None:
        """Give up the stream in both directions."""
        self.reset_now()

    def reset_now(self) -> None:
        """`reset` for callers that cannot wait."""
        if self._broken is None and not (self._fin_sent and self._fin_received):
            self._session.queue_control(_WINDOW_UPDATE, _RST, self.stream_id)
        self._break("reset by us")
        self._buffer.clear()

    def set_deadline(self, ttl: int) -> None:
        """Not supported: use a cancel scope."""
        raise NotImplementedError("use a cancel scope")

    def get_remote_address(self) -> tuple[str, int] | None:
        """The remote host and port."""
        return self._session.get_remote_address()

    async def __aenter__(self) -> "BoundedYamuxStream":
        return self

    def on_data(self, data: bytearray) -> None:
        """Take bytes that the session read for us, within our credit."""
        if self._broken is None:
            self._buffer += data
            self._news.set()

    def on_credit(self, increment: int) -> None:
        """The peer lets us send `increment` bytes more."""
        self.send_credit += increment
        self._credit_news.set()

    def on_fin(self) -> None:
        """The peer will send nothing more."""
        self._fin_received = True
        self._news.set()
        self._forget_if_done()

    def on_reset(self) -> None:
        """The peer gave up the stream."""
        self._break("reset by peer")

    def on_session_end(self) -> None:
        """The connection is gone."""
        self._break(self._session.closed_because)

    def _break(self, reason: str) -> None:
        if self._broken is None:
            self._broken = reason
        self._session.forget_stream(self)
        self._news.set()
        self._credit_news.set()

    def _forget_if_done(self) -> None:
        if self._fin_sent and self._fin_received:
            self._session.forget_stream(self)

    async def _wait_for_credit(self) -> None:
        while True:
            if self._broken is not None:
                raise MuxedStreamReset(self._broken)
            if self._fin_sent:
                raise MuxedStreamClosed("closed by us")
            if self.send_credit > 0:
                return
            self._credit_news = trio.Event()
            with trio.move_on_after(READER_GONE_AFTER) as waiting:
                await self._credit_news.wait()
            if waiting.cancelled_caught:
                self.reset_now()
                raise MuxedStreamError(f"peer read nothing for {READER_GONE_AFTER} s")

    def _give_back(self, count: int) -> None:
        """Return credit for bytes that were consumed, half a window at a time."""
        self._consumed += count
        if self._consumed * 2 < self.window or self._fin_received or self._broken is not None:
            return
        increment, self._consumed = self._consumed, 0
        if self.window < MAX_WINDOW:
            growth = self._session.grow_window(self)
            self.window += growth
            increment += growth
        self.credit += increment
        self._session.queue_control(_WINDOW_UPDATE, 0, self.stream_id, increment)
