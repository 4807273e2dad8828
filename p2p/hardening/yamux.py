"""A yamux session whose memory, time and errors are bounded.

Takes the place of `libp2p.stream_muxer.yamux.yamux.Yamux`, of which each line here cures a measured symptom:

- a peer that ignores flow control grew the process by 300 MB; here it breaks the rules and is cut off,
- a flood of new streams grew tasks without end; here they are refused past `MAX_STREAMS`, then cut off,
- a stream opened and reset at once, or a frame without content, cost us far more than its sender; here the
  former are refused past a rate, then cut off, and the latter are read slowly (`Pace`),
- writers without credit polled every 10 ms and gave up after 5 s; here they sleep until there is credit,
- concurrent writers interleaved their frames on one stream; here a write is atomic,
- every read sent a window update in an encrypted frame; here one per half window, along with data,
- reader and writer could wait for each other across two peers; here the reader never writes,
- an unexpected exception was logged and the session went on in an unknown state; here it ends.

Protocol: https://github.com/hashicorp/yamux/blob/master/spec.md
"""

import logging
import struct
from collections.abc import Awaitable, Callable
from typing import Any, Final

import trio
from libp2p.abc import ConnectionType, IMuxedConn, ISecureConn
from libp2p.io.exceptions import ConnectionClosedError, IncompleteReadError
from libp2p.peer.id import ID
from libp2p.stream_muxer.exceptions import (
    MuxedConnUnavailable,
    MuxedStreamClosed,
    MuxedStreamError,
)
from multiaddr import Multiaddr

from p2p.hardening.yamux_pace import MAX_REFUSED, SMALL_BODY, STREAM_RATE, Pace
from p2p.hardening.yamux_stream import FIRST_WINDOW, MAX_CREDIT, BoundedYamuxStream

log = logging.getLogger(__name__)

MAX_STREAMS = 64
"""Streams that a peer may have open towards us; ten are usual."""

MAX_PENDING_CONTROL = 16 * 1024
"""Bytes of acknowledgements, pongs and resets that a peer may leave unread."""

WINDOW_BUDGET = 16 * 1024 * 1024
"""Sum of the receive windows of a connection's streams, bytes: what a peer can make us buffer."""

STALLED_AFTER = 30.0
"""Seconds in which a single frame must have left, or the connection is dead."""

DATA, WINDOW_UPDATE, PING, GO_AWAY = range(4)
SYN, ACK, FIN, RST = 1, 2, 4, 8

_HEADER: Final = struct.Struct("!BBHII")
_EMPTY: Final = b""


class YamuxViolation(Exception):  # noqa: N818 - it names what the peer did
    """The peer broke a rule of yamux; the connection ends."""


class BoundedYamux(IMuxedConn):  # type: ignore[misc]
    """One multiplexed connection. `start` runs it; everything else may be called from any task."""

    def __init__(
        self,
        secured_conn: ISecureConn,
        peer_id: ID,
        is_initiator: bool | None = None,
        on_close: Callable[[], Awaitable[Any]] | None = None,
    ) -> None:
        self.secured_conn = secured_conn
        self.peer_id = peer_id
        self.on_close = on_close
        self.event_started = trio.Event()
        self.event_closed = trio.Event()
        self.closed_because = "closed"
        self.bytes_in = 0
        self.bytes_out = 0
        self._initiator = secured_conn.is_initiator if is_initiator is None else is_initiator
        self._next_id = 1 if self._initiator else 2
        self._last_remote_id = 0
        self._streams: dict[int, BoundedYamuxStream] = {}
        self._pace = Pace()
        self._windows = 0
        self._accepted_in, self._accepted = trio.open_memory_channel[BoundedYamuxStream](MAX_STREAMS)
        self._write_lock = trio.Lock()
        self._control = bytearray()
        self._control_waits = trio.Event()
        self._ended = False
        self._scope = trio.CancelScope()
        # What the reader holds: bytes without a whole header, and the frame whose body is arriving.
        self._unread = bytearray()
        self._body_of: BoundedYamuxStream | None = None
        self._body_flags = 0
        self._body_left = 0

    @property
    def is_initiator(self) -> bool:
        """Whether this side dialed."""
        return self._initiator

    @property
    def is_established(self) -> bool:
        """Whether streams can be opened."""
        return self.event_started.is_set() and not self._ended

    @property
    def is_closed(self) -> bool:
        """Whether the session is over and its socket closed."""
        return self.event_closed.is_set()

    def get_transport_addresses(self) -> list[Multiaddr]:
        """The remote endpoint."""
        addresses: list[Multiaddr] = self.secured_conn.get_transport_addresses()
        return addresses

    def get_connection_type(self) -> ConnectionType:
        """Direct or relayed."""
        return self.secured_conn.get_connection_type()

    def get_remote_address(self) -> tuple[str, int] | None:
        """The remote host and port."""
        address: tuple[str, int] | None = self.secured_conn.get_remote_address()
        return address

    async def start(self) -> None:
        """Run the session until it ends; never raises, whatever the peer sends."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._guarded, self._flush_control)
                    self.event_started.set()
                    await self._guarded(self._read_frames)
        finally:
            await self._clean_up()

    async def close(self) -> None:
        """Say goodbye and end the session; idempotent."""
        if not self._ended and self.event_started.is_set():
            with trio.move_on_after(0.5) as scope:
                scope.shield = True
                await self._try_to_say_goodbye()
        self.end("closed by us")
        if not self.event_started.is_set():
            await self._clean_up()
        with trio.move_on_after(2) as scope:
            scope.shield = True
            await self.event_closed.wait()

    def end(self, reason: str) -> None:
        """End the session from wherever we are; the first reason stays."""
        if self._ended:
            return
        self._ended = True
        self.closed_because = reason
        for stream in tuple(self._streams.values()):
            stream.on_session_end()
        self._streams.clear()
        self._accepted_in.close()
        self._scope.cancel()

    async def open_stream(self) -> BoundedYamuxStream:
        """Open a stream towards the peer.

        Raises:
            MuxedStreamError: The session is over.
        """
        stream_id = self._next_id
        self._next_id += 2
        stream = self._add_stream(stream_id)
        try:
            await self.write_frame(WINDOW_UPDATE, SYN, stream_id)
        except BaseException:
            # The peer has not heard of it, or the session is over; nobody else would ever remove it.
            self.forget_stream(stream)
            raise
        return stream

    async def accept_stream(self) -> BoundedYamuxStream:
        """Wait for a stream that the peer opens.

        Raises:
            MuxedConnUnavailable: The session is over.
        """
        try:
            return await self._accepted.receive()
        except trio.EndOfChannel as error:
            raise MuxedConnUnavailable(self.closed_because) from error

    async def write_frame(
        self, kind: int, flags: int, stream_id: int, body: bytes | memoryview = _EMPTY
    ) -> None:
        """Send one frame, whole, together with what control frames wait.

        Raises:
            MuxedStreamError: The session is over, or the peer did not take the frame in time.
        """
        async with self._write_lock:
            if self._ended:
                raise MuxedStreamError(self.closed_because)
            # Cancelled while it had its turn: the last moment at which that leaves the session whole.
            await trio.lowlevel.checkpoint_if_cancelled()
            data = b"".join((self._control, _HEADER.pack(0, kind, flags, stream_id, len(body)), body))
            self._control.clear()
            await self._write(data)

    async def _write(self, data: bytes) -> None:
        whole = False
        try:
            with trio.move_on_after(STALLED_AFTER):
                await self.secured_conn.write(data)
                whole = True
                self.bytes_out += len(data)
        except Exception as error:  # whatever the layers below raise, the connection is gone
            raise MuxedStreamError(f"connection lost: {error!r}") from error
        finally:
            if not whole:
                # Part of an encrypted frame may be out: nothing sent after it could be understood.
                self.end("write was cut short")
        if not whole:
            raise MuxedStreamError(f"peer took no data for {STALLED_AFTER} s")

    def queue_control(self, kind: int, flags: int, stream_id: int, value: int = 0) -> None:
        """Have a frame without body sent soon, without waiting."""
        if self._ended:
            return
        if len(self._control) >= MAX_PENDING_CONTROL:
            self.end("peer does not read its acknowledgements")
            return
        self._control += _HEADER.pack(0, kind, flags, stream_id, value)
        self._control_waits.set()

    def forget_stream(self, stream: BoundedYamuxStream) -> None:
        """Drop the books of a stream that is closed on both sides."""
        if self._streams.pop(stream.stream_id, None) is not None:
            self._windows -= stream.window

    def grow_window(self, stream: BoundedYamuxStream) -> int:
        """How much larger the receive window of `stream` may become now, bytes."""
        growth = min(stream.window, WINDOW_BUDGET - self._windows)
        if growth <= 0 or stream.stream_id not in self._streams:
            return 0
        self._windows += growth
        return growth

    async def _guarded(self, loop: Callable[[], Awaitable[None]]) -> None:
        try:
            await loop()
            self.end("closed by peer")
        except YamuxViolation as violation:
            log.info("event=yamux_violation peer=%s reason=%s", self.peer_id, violation)
            self.end(f"broke yamux: {violation}")
        except Exception as error:  # noqa: BLE001 - a peer's bytes end its session, never the node
            log.debug("event=connection_lost peer=%s error=%r", self.peer_id, error)
            self.end(_why_lost(error))

    async def _flush_control(self) -> None:
        while True:
            await self._control_waits.wait()
            self._control_waits = trio.Event()
            async with self._write_lock:
                if self._control:
                    data = bytes(self._control)
                    self._control.clear()
                    await self._write(data)

    async def _read_frames(self) -> None:
        while chunk := await self.secured_conn.read():
            self.bytes_in += len(chunk)
            self._unread += chunk
            small = 0
            while self._take_body() and len(self._unread) >= _HEADER.size:
                version, kind, flags, stream_id, length = _HEADER.unpack_from(self._unread)
                del self._unread[: _HEADER.size]
                if version != 0:
                    raise YamuxViolation(f"version {version}, expected 0")
                if kind == GO_AWAY:
                    return
                small += kind != DATA or length < SMALL_BODY
                if kind == DATA:
                    self._body_of = self._on_data_header(flags, stream_id, length)
                    self._body_flags, self._body_left = flags, length
                else:
                    self._on_control(kind, flags, stream_id, length)
            await self._pace.after(small)

    def _take_body(self) -> bool:
        """Hand what has arrived of a frame's body to its stream; True when no body is missing."""
        stream, part = self._body_of, self._unread[: self._body_left]
        if part:
            del self._unread[: len(part)]
            self._body_left -= len(part)
            if stream is not None:
                stream.on_data(part)
        if self._body_left:
            return False
        if stream is not None:
            self._body_of = None
            self._on_flags(stream, self._body_flags)
        return True

    def _on_data_header(self, flags: int, stream_id: int, length: int) -> BoundedYamuxStream | None:
        stream = self._stream_of(flags, stream_id)
        if stream is None:
            # Under way when we closed or refused the stream. More than a first window cannot be.
            if length > MAX_CREDIT:
                raise YamuxViolation(f"{length} bytes for a stream that is not open")
            return None
        if length > stream.credit:
            raise YamuxViolation(f"{length} bytes in a window of {stream.credit}")
        stream.credit -= length
        return stream

    def _on_control(self, kind: int, flags: int, stream_id: int, value: int) -> None:
        if kind == WINDOW_UPDATE:
            stream = self._stream_of(flags, stream_id)
            if stream is not None:
                if stream.send_credit + value > MAX_CREDIT:
                    raise YamuxViolation(f"send window of {stream.send_credit + value}")
                stream.on_credit(value)
                self._on_flags(stream, flags)
        elif kind == PING:
            if flags & SYN:
                self.queue_control(PING, ACK, 0, value)
        else:
            raise YamuxViolation(f"frame type {kind}")

    def _stream_of(self, flags: int, stream_id: int) -> BoundedYamuxStream | None:
        if not flags & SYN:
            return self._streams.get(stream_id)
        if stream_id % 2 == self._next_id % 2 or stream_id <= self._last_remote_id:
            raise YamuxViolation(f"new stream {stream_id} after {self._last_remote_id}")
        self._last_remote_id = stream_id
        inbound = sum(1 for other in self._streams if other % 2 == stream_id % 2)
        is_room = inbound < MAX_STREAMS and self._windows + FIRST_WINDOW <= WINDOW_BUDGET
        if not self._pace.may_open(is_room=is_room):
            if self._pace.refused > MAX_REFUSED:
                raise YamuxViolation(
                    f"{self._pace.refused} streams beyond {MAX_STREAMS} open ones or {STREAM_RATE} a second"
                )
            self.queue_control(WINDOW_UPDATE, RST, stream_id)
            return None
        stream = self._add_stream(stream_id)
        self.queue_control(WINDOW_UPDATE, ACK, stream_id)
        try:
            self._accepted_in.send_nowait(stream)
        except trio.WouldBlock:
            stream.reset_now()
            return None
        return stream

    def _on_flags(self, stream: BoundedYamuxStream, flags: int) -> None:
        if flags & RST:
            stream.on_reset()
        elif flags & FIN:
            stream.on_fin()

    def _add_stream(self, stream_id: int) -> BoundedYamuxStream:
        if self._ended:
            raise MuxedStreamClosed(self.closed_because)
        stream = self._streams[stream_id] = BoundedYamuxStream(self, stream_id)
        self._windows += stream.window
        return stream

    async def _try_to_say_goodbye(self) -> None:
        try:
            await self.write_frame(GO_AWAY, 0, 0)
        except MuxedStreamError as error:
            log.debug("event=goodbye_failed peer=%s error=%s", self.peer_id, error)

    async def _clean_up(self) -> None:
        self.end("closed by us")
        with trio.move_on_after(1) as scope:
            scope.shield = True
            try:
                await self.secured_conn.close()
            except Exception as error:  # noqa: BLE001 - a broken socket has nothing left to save
                log.debug("event=close_failed peer=%s error=%r", self.peer_id, error)
        self.event_closed.set()
        if self.on_close is not None:
            with trio.move_on_after(1) as scope:
                scope.shield = True
                await self.on_close()


def _why_lost(error: Exception) -> str:
    if isinstance(error, ConnectionClosedError):
        return "connection reset"
    if isinstance(error, IncompleteReadError) and error.is_clean_close:
        return "closed by peer"
    return f"connection lost: {type(error).__name__}"
