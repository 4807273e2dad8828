"""Questions and answers over one long-lived stream, many at a time, told apart by number.

    request   u32 length | u8 0 | u32 number | u32 limit | u8 n | n method | payload
    answer    u32 length | u8 1 | u32 number | u8 status | body

Both sides may ask. A standing stream costs a tenth of one opened per request. Every size is checked before
the bytes it speaks of are read: a request against its handler's limit, an answer against the asker's.

Memory bound per peer: `requests_in_flight` answers awaited, twice as many handlers running (a peer may have
given up on some that still run), and `queue_bytes` waiting to leave before another handler starts.
"""

import struct
from dataclasses import dataclass, field
from typing import Final

import trio

from p2p.limits import Limits
from p2p.network import MAX_RESPONSE, PeerId, RequestFailed, RequestFailure
from p2p.wire.buckets import TokenBucket
from p2p.wire.faults import Fault, PeerFault
from p2p.wire.frames import ByteStream, FrameReader
from p2p.wire.methods import MAX_DETAIL, MAX_METHOD, Answer, Methods, Status, check_method, no
from p2p.wire.outbox import Outbox

_REQUEST: Final = struct.Struct("!BIIB")
_ANSWER: Final = struct.Struct("!BIB")
_KIND_AND_NUMBER: Final = struct.Struct("!BI")

MAX_REQUEST: Final = MAX_RESPONSE
"""Largest payload of a request that is passed over rather than punished, bytes."""

MAX_ABANDONED: Final = 256
"""Numbers of requests that timed out and whose answers may still come."""


@dataclass(slots=True, eq=False)
class _Pending:
    limit: int
    arrived: trio.Event = field(default_factory=trio.Event)
    answer: Answer | None = None


class Exchange:
    """Requests to one peer and answers to its requests."""

    def __init__(self, peer: PeerId, methods: Methods, limits: Limits) -> None:
        self._peer = peer
        self._methods = methods
        self._limits = limits
        self._outbox = Outbox(frames=8 * limits.requests_in_flight, size=limits.queue_bytes)
        self._slots = trio.Semaphore(limits.requests_in_flight)
        self._serving = 0
        self._next = 0
        self._pending: dict[int, _Pending] = {}
        self._abandoned: dict[int, int] = {}
        self._closed = False
        self.answered_at = float("-inf")
        """When the peer last answered a question of ours with what we asked for."""
        self._bucket = TokenBucket(
            rate=limits.requests_per_second, burst=limits.requests_burst, now=trio.current_time()
        )

    async def ask(self, method: str, payload: bytes, *, limit: int) -> bytes:
        """Send a request and wait for its answer; the caller brings the deadline.

        Raises:
            RequestFailed: All reasons but `TIMED_OUT`.
        """
        name = check_method(method)
        async with self._slots:
            if self._closed:
                raise _gone(self._peer)
            number = self._next = (self._next + 1) % 2**32
            pending = self._pending[number] = _Pending(min(limit, MAX_RESPONSE))
            try:
                await self._outbox.wait_for_room(len(payload))
                head = _REQUEST.pack(0, number, pending.limit, len(name))
                self._outbox.put(head + name + payload)
                await pending.arrived.wait()
            finally:
                del self._pending[number]
                if pending.answer is None:
                    self._abandon(number, pending.limit)
        if pending.answer is None:
            raise _gone(self._peer)
        return pending.answer.unwrap()

    async def run(self, stream: ByteStream) -> None:
        """Serve and collect on `stream` until it breaks.

        Raises:
            PeerFault: `CONNECTION_LOST`, `MALFORMED`, `TOO_LARGE` or `UNREQUESTED`, alone or in a group.
        """
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._outbox.drain, stream)
                await self._read(FrameReader(stream), nursery)
        finally:
            self._closed = True
            for pending in self._pending.values():
                pending.arrived.set()

    async def _read(self, reader: FrameReader, nursery: trio.Nursery) -> None:
        overhead = _REQUEST.size + MAX_METHOD
        while True:
            left = await reader.length(overhead + max(MAX_REQUEST, MAX_RESPONSE))
            if left < _ANSWER.size:
                raise PeerFault(Fault.MALFORMED, f"exchange frame of {left} bytes")
            head = await reader.exactly(_KIND_AND_NUMBER.size)
            kind, number = _KIND_AND_NUMBER.unpack(head)
            left -= len(head)
            if kind == 0:
                await self._on_request(reader, nursery, number, left)
            elif kind == 1:
                await self._on_answer(reader, number, left)
            else:
                raise PeerFault(Fault.MALFORMED, f"exchange frame of kind {kind}")

    async def _on_request(self, reader: FrameReader, nursery: trio.Nursery, number: int, left: int) -> None:
        head = await reader.exactly(min(left, 5))
        if len(head) < 5 or not 0 < head[4] <= min(MAX_METHOD, left - 5):
            raise PeerFault(Fault.MALFORMED, "request without a proper method name")
        limit = int.from_bytes(head[:4], "big")
        name = await reader.exactly(head[4])
        if not name.isascii():
            raise PeerFault(Fault.MALFORMED, "method name is not ASCII")
        method = name.decode("ascii")
        size = left - 5 - len(name)
        # Asking faster than the rate makes the answers late, not wrong: an honest peer in sync asks a lot.
        await trio.sleep(self._bucket.take(1, trio.current_time()))
        refusal = self._refusal(method, size)
        if refusal is not None:
            await reader.skip(size)
            self._reply(number, refusal)
            return
        payload = await reader.exactly(size)
        self._serving += 1
        nursery.start_soon(self._serve, number, method, payload, limit)

    def _refusal(self, method: str, size: int) -> Answer | None:
        """Why a request is not even read."""
        if self._serving >= 2 * self._limits.requests_in_flight:
            return no(Status.REFUSED, f"{self._serving} of your requests are in work already")
        return self._methods.refusal(method, size)

    async def _serve(self, number: int, method: str, payload: bytes, limit: int) -> None:
        try:
            await self._outbox.wait_for_room(limit if limit < self._limits.queue_bytes else 0)
            answer = await self._methods.answer(self._peer, method, payload, limit=limit)
            self._reply(number, answer)
        finally:
            self._serving -= 1

    def _reply(self, number: int, answer: Answer) -> None:
        head = _ANSWER.pack(1, number, answer.status)
        if not self._outbox.put(head + answer.body):
            # The peer asks faster than it reads; a short refusal may still find room.
            self._outbox.put(_ANSWER.pack(1, number, Status.REFUSED) + b"answers pile up")

    async def _on_answer(self, reader: FrameReader, number: int, left: int) -> None:
        (status_byte,) = await reader.exactly(1)
        size = left - 1
        pending = self._pending.get(number)
        limit = pending.limit if pending is not None else self._abandoned.pop(number, None)
        if limit is None:
            raise PeerFault(Fault.UNREQUESTED, f"answer to request {number}")
        try:
            status = Status(status_byte)
        except ValueError:
            raise PeerFault(Fault.MALFORMED, f"answer with status {status_byte}") from None
        allowed = limit if status is Status.OK else MAX_DETAIL
        if size > allowed:
            raise PeerFault(Fault.TOO_LARGE, f"answer of {size} bytes, the limit is {allowed}")
        if pending is None or pending.answer is not None:
            await reader.skip(size)
            return
        pending.answer = Answer(status, await reader.exactly(size))
        pending.arrived.set()
        if status is Status.OK:
            self.answered_at = trio.current_time()

    def _abandon(self, number: int, limit: int) -> None:
        """Keep the number of a request nobody waits for, so that its answer is no offence."""
        self._abandoned[number] = limit
        if len(self._abandoned) > MAX_ABANDONED:
            del self._abandoned[next(iter(self._abandoned))]


def _gone(peer: PeerId) -> RequestFailed:
    return RequestFailed(RequestFailure.NOT_CONNECTED, f"{peer} left before it answered")
