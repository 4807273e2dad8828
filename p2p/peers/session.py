"""One connection to a peer that shook hands: four streams, their readers and writers, the watch over it.

    control        hello, pings, other peers' addresses, goodbye
    consensus      frames of `Lane.CONSENSUS`, both ways
    transactions   frames of `Lane.TRANSACTIONS`, both ways
    exchange       requests and answers, both ways

Separate streams have separate flow control, so that a lane whose reader is slow stops itself and no other.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import trio

from p2p.addresses.multiaddrs import Endpoint
from p2p.limits import Limits
from p2p.network import Direction, Inbound, Lane, PeerId
from p2p.wire.buckets import TokenBucket
from p2p.wire.control import (
    MAX_CONTROL,
    Control,
    Goodbye,
    Hello,
    Peers,
    Ping,
    Pong,
    decode,
    encode,
    peers_named,
)
from p2p.wire.exchange import Exchange
from p2p.wire.faults import Fault, PeerFault, first_fault
from p2p.wire.frames import ByteStream, FrameReader, frame, write
from p2p.wire.inbox import Inbox
from p2p.wire.methods import Methods
from p2p.wire.outbox import Outbox

log = logging.getLogger(__name__)

FRAME_COST: Final = 512
"""Tokens that a frame costs beside its bytes: what it costs us to handle even an empty one."""

CONTROL_RATE: Final = 16.0
"""Control messages a second once the burst of `CONTROL_BURST` is used up; an honest peer sends one."""

CONTROL_BURST: Final = 256.0

NEWS_RATE: Final = 16.0
"""Peers a second that a peer may name once `NEWS_BURST` is used up; messages beyond are passed over.

An honest one names each newcomer once. To look at one costs us 0.15 ms.
"""

NEWS_BURST: Final = 512.0
"""An honest peer of a full house names all of its 300 peers when we meet."""

GOODBYE_SECONDS: Final = 0.5
"""Patience for a goodbye; a peer that reads takes it at once."""


class Connection(Protocol):
    """What a session needs of the multiplexed connection below."""

    bytes_in: int
    bytes_out: int

    def end(self, reason: str) -> None:
        """Close the connection from wherever we are."""
        ...


@dataclass(frozen=True, slots=True)
class Streams:
    """The streams of a session, negotiated and ready."""

    control: ByteStream
    control_reader: FrameReader
    """May hold bytes that came right behind the hello."""
    lanes: dict[Lane, ByteStream]
    exchange: ByteStream


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is at the other end, as the connection proves it before anything is said.

    Attributes:
        peer: Whose identity key the other end holds.
        direction: Who dialed.
        host: Its IP address as the socket has it, whatever name or address led there; empty if unknown.
    """

    peer: PeerId
    direction: Direction
    host: str


@dataclass(frozen=True, slots=True)
class Link:
    """Who is at the other end, and how we got there."""

    caller: Caller
    address: str
    connection: Connection
    hello: Hello
    since: float

    @property
    def peer(self) -> PeerId:
        """Who is at the other end."""
        return self.caller.peer

    @property
    def direction(self) -> Direction:
        """Who dialed."""
        return self.caller.direction

    @property
    def source(self) -> str:
        """Multiaddr that counts as the origin of what the peer says; its port means nothing."""
        return Endpoint(self.caller.host, 0).multiaddr if self.caller.host else ""


class Session:
    """Made after the handshake; `run` is its life."""

    def __init__(
        self,
        link: Link,
        streams: Streams,
        *,
        limits: Limits,
        inbox: Inbox,
        methods: Methods,
        is_kept: bool = False,
    ) -> None:
        """Take what the handshake made; `is_kept` says whether the peer is the committee's, or bootstrap."""
        self.link = link
        self.exchange = Exchange(link.peer, methods, limits)
        self.frames_in = 0
        self.dropped = dict.fromkeys(Lane, 0)
        self.told: set[PeerId] = set()
        """Peers whose addresses we passed on over this connection."""
        self._limits = limits
        self._streams = streams
        self._inbox = inbox
        self._control = Outbox(frames=64, size=64 * MAX_CONTROL)
        self._lanes = {lane: Outbox(frames=limits.queue_frames, size=limits.queue_bytes) for lane in Lane}
        now = trio.current_time()
        self._buckets = {lane: TokenBucket(**limits.pace(lane, is_kept=is_kept), now=now) for lane in Lane}
        self._scope = trio.CancelScope()
        self._ended: PeerFault | None = None
        self.ended = trio.Event()

    @property
    def frames_out(self) -> int:
        """Frames queued on the lanes."""
        return sum(outbox.frames_out for outbox in self._lanes.values())

    def send(self, lane: Lane, payload: bytes) -> bool:
        """Queue a frame; False, and counted, if the queue is full."""
        if self._lanes[lane].put(payload):
            return True
        self.dropped[lane] += 1
        return False

    def keep(self, is_kept: bool) -> None:
        """The peer came to be, or is no more, one that we keep: it may send at another rate."""
        for lane, bucket in self._buckets.items():
            bucket.change(**self._limits.pace(lane, is_kept=is_kept), now=trio.current_time())

    def charge(self, lane: Lane, cost: int) -> None:
        """Read on later, as if the peer had sent so many bytes more."""
        self._buckets[lane].take(cost, trio.current_time())

    def tell(self, message: Control) -> bool:
        """Queue a control message; False if the queue is full."""
        return self._control.put(encode(message))

    def end(self, fault: Fault, detail: str) -> None:
        """End the session; the first reason stays."""
        if self._ended is None:
            self._ended = PeerFault(fault, detail)
        self._scope.cancel()

    async def run(self, on_peers: Callable[[PeerId, Peers], None]) -> PeerFault:
        """Live until the connection ends; returns why. The peer is told in a goodbye if it is still there."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._control.drain, self._streams.control)
                    nursery.start_soon(self._read_control, on_peers)
                    nursery.start_soon(self._watch)
                    nursery.start_soon(self.exchange.run, self._streams.exchange)
                    for lane, stream in self._streams.lanes.items():
                        nursery.start_soon(self._lanes[lane].drain, stream)
                        nursery.start_soon(self._read_lane, lane, stream)
        except* PeerFault as group:
            fault = first_fault(group)
            self.end(fault.fault, fault.detail)
        finally:
            self.ended.set()
        ended = self._ended or PeerFault(Fault.SHUTTING_DOWN, "the node stops")
        await say_goodbye(self._streams.control, ended)
        return ended

    async def _read_lane(self, lane: Lane, stream: ByteStream) -> None:
        reader = FrameReader(stream)
        limit = self._limits.frame(lane)
        bucket = self._buckets[lane]
        while True:
            payload = await reader.frame(limit)
            self.frames_in += 1
            await self._inbox.put(Inbound(self.link.peer, lane, payload))
            # Not reading on is the whole punishment: flow control then slows the sender, and nothing is lost.
            debt = bucket.take(len(payload) + FRAME_COST, trio.current_time())
            if debt:
                await trio.sleep(debt)

    async def _read_control(self, on_peers: Callable[[PeerId, Peers], None]) -> None:
        reader = self._streams.control_reader
        now = trio.current_time()
        bucket = TokenBucket(rate=CONTROL_RATE, burst=CONTROL_BURST, now=now)
        news = TokenBucket(rate=NEWS_RATE, burst=NEWS_BURST, now=now)
        while True:
            data = await reader.frame(MAX_CONTROL)
            if not bucket.try_take(1, trio.current_time()):
                raise PeerFault(Fault.FLOOD, f"more than {CONTROL_RATE} control messages a second")
            # What came in one piece is read without waiting, and others must have their turn in between.
            await trio.lowlevel.checkpoint()
            if not news.try_take(peers_named(data), trio.current_time()):
                continue
            match decode(data):
                case Ping(number):
                    self.tell(Pong(number))
                case Pong():
                    pass  # It arrived, and that is all `_watch` wants to know.
                case Peers() as message:
                    on_peers(self.link.peer, message)
                case Goodbye(fault, sentence):
                    raise PeerLeft(fault, sentence)
                case Hello():
                    raise PeerFault(Fault.MALFORMED, "a second hello")

    async def _watch(self) -> None:
        """Ping a quiet peer, and give up a silent one.

        Counts intervals rather than comparing clocks: if this process was suspended, that is one interval and
        not the peer's silence.
        """
        heard, misses = self.link.connection.bytes_in, 0
        while True:
            await trio.sleep(self._limits.ping_interval)
            if self.link.connection.bytes_in != heard:
                heard, misses = self.link.connection.bytes_in, 0
                continue
            misses += 1
            if misses > self._limits.ping_misses:
                seconds = misses * self._limits.ping_interval
                raise PeerFault(Fault.SILENT, f"nothing heard for {seconds} s")
            self.tell(Ping(misses))


class PeerLeft(PeerFault):
    """The peer said goodbye; the fault is the one it sees."""

    def __init__(self, fault: Fault, sentence: str) -> None:
        super().__init__(fault, f"{sentence} (said the peer)")


async def say_goodbye(stream: ByteStream, fault: PeerFault) -> None:
    """Tell a peer why we leave, if it will hear it: one short try, also while being cancelled."""
    if isinstance(fault, PeerLeft) or fault.fault in (Fault.CONNECTION_LOST, Fault.SILENT):
        return
    with trio.move_on_after(GOODBYE_SECONDS) as scope:
        scope.shield = True
        try:
            await write(stream, frame(encode(Goodbye(fault.fault, fault.detail))))
        except PeerFault as lost:
            log.debug("event=goodbye_lost reason=%s", lost)
