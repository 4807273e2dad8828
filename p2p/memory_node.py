"""One node of the in-memory network: the `Network` protocol on top of a hub that carries everything."""

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

from p2p.network import (
    DEFAULT_WEIGHT,
    MAX_ANNOUNCEMENT,
    MAX_RESPONSE,
    Direction,
    Handler,
    Inbound,
    Lane,
    NetworkStats,
    PeerEvent,
    PeerId,
    PeerStats,
    RequestFailed,
    RequestFailure,
)
from p2p.peers.comings import Comings
from p2p.peers.scores import Scoreboard
from p2p.wire.inbox import Inbox
from p2p.wire.methods import Answer, Methods, check_method

if TYPE_CHECKING:
    from p2p.memory import MemoryHub


@dataclass(frozen=True, slots=True)
class Question:
    """One request as it travels."""

    method: str
    payload: bytes
    limit: int


@dataclass(slots=True, eq=False)
class Reply:
    """Where the answer to one request will be; `answer` stays empty if the connection breaks first."""

    arrived: trio.Event = field(default_factory=trio.Event)
    answer: Answer | None = None

    def fill(self, answer: Answer) -> None:
        """Hand over the answer."""
        self.answer = answer
        self.arrived.set()


@dataclass(slots=True, eq=False)
class Wire:
    """One direction of a connection, kept by the sending node."""

    sender: PeerId
    receiver: PeerId
    direction: Direction
    since: float
    slots: trio.Semaphore
    open: bool = True
    queued: dict[Lane, int] = field(default_factory=lambda: dict.fromkeys(Lane, 0))
    """Frames sent and not in the receiver's inbox yet: under way or waiting."""
    waiting: dict[Lane, deque[Inbound]] = field(default_factory=lambda: {lane: deque() for lane in Lane})
    """Frames that arrived at a full inbox."""
    last_due: dict[Lane, float] = field(default_factory=dict)
    replies: set[Reply] = field(default_factory=set)
    bytes_in: int = 0
    bytes_out: int = 0
    frames_in: int = 0
    frames_out: int = 0
    dropped: dict[Lane, int] = field(default_factory=lambda: dict.fromkeys(Lane, 0))


class MemoryNetwork:
    """One node's `Network`, made by `MemoryHub.join`; plain attributes are the hub's business."""

    def __init__(self, hub: "MemoryHub", local_id: PeerId) -> None:
        limits = hub.limits
        self.wires: dict[PeerId, Wire] = {}
        self.inbox = Inbox(frames=limits.inbox_frames, size=limits.inbox_bytes, on_take=self._on_take)
        self.comings = Comings()
        self.methods = Methods(timeout=limits.handler_timeout)
        self.scores = Scoreboard()
        self.charged: Counter[tuple[PeerId, Lane]] = Counter()
        self.life = trio.CancelScope()
        self.serving: set[trio.CancelScope] = set()
        self._hub = hub
        self._local_id = local_id
        self._announcements = 0
        self._inbound_out, self._inbound = trio.open_memory_channel[Inbound](0)
        self._events_out, self._events = trio.open_memory_channel[PeerEvent](0)

    @property
    def local_id(self) -> PeerId:
        """See `Network.local_id`."""
        return self._local_id

    @property
    def inbound(self) -> trio.MemoryReceiveChannel[Inbound]:
        """See `Network.inbound`."""
        return self._inbound

    @property
    def events(self) -> trio.MemoryReceiveChannel[PeerEvent]:
        """See `Network.events`."""
        return self._events

    def peers(self) -> tuple[PeerId, ...]:
        """See `Network.peers`."""
        return tuple(sorted(self.wires))

    def is_kept(self, peer: PeerId) -> bool:
        """See `Network.is_kept`."""
        return peer in self._hub.kept

    def send(self, peer: PeerId, lane: Lane, payload: bytes) -> bool:
        """See `Network.send`."""
        self._hub.limits.check_frame(lane, payload)
        wire = self.wires.get(peer)
        if wire is None:
            return False
        if wire.queued[lane] >= self._hub.limits.queue_frames:
            wire.dropped[lane] += 1
            return False
        wire.queued[lane] += 1
        wire.frames_out += 1
        wire.bytes_out += len(payload)
        self._hub.carry_frame(wire, Inbound(self._local_id, lane, payload))
        return True

    def broadcast(self, lane: Lane, payload: bytes) -> int:
        """See `Network.broadcast`."""
        self._hub.limits.check_frame(lane, payload)
        return sum(self.send(peer, lane, payload) for peer in self.peers())

    async def request(
        self,
        peer: PeerId,
        method: str,
        payload: bytes,
        *,
        timeout: float,  # noqa: ASYNC109
        limit: int,
    ) -> bytes:
        """See `Network.request`."""
        check_method(method)
        wire = self.wires.get(peer)
        if wire is None:
            raise RequestFailed(RequestFailure.NOT_CONNECTED, f"{peer} is not connected")
        reply = Reply()
        question = Question(method, payload, min(limit, MAX_RESPONSE))
        with trio.move_on_after(timeout):
            async with wire.slots:
                wire.replies.add(reply)
                try:
                    self._hub.carry_request(wire, question, reply)
                    await reply.arrived.wait()
                finally:
                    wire.replies.discard(reply)
            if reply.answer is None:
                raise RequestFailed(RequestFailure.NOT_CONNECTED, f"{peer} left before it answered")
            wire.bytes_in += len(reply.answer.body)
            return reply.answer.unwrap()
        raise RequestFailed(RequestFailure.TIMED_OUT, f"{peer} did not answer {method!r} in {timeout} s")

    def set_handler(self, method: str, handler: Handler, *, limit: int) -> None:
        """See `Network.set_handler`."""
        self.methods.add(method, handler, limit)

    def announce(self, payload: bytes) -> None:
        """See `Network.announce`. What was announced is in `MemoryHub.announcements`."""
        if len(payload) > MAX_ANNOUNCEMENT:
            raise ValueError(f"announcement has {len(payload)} bytes, the limit is {MAX_ANNOUNCEMENT}")
        self._announcements += 1
        self._hub.announcements.append((self._local_id, payload))

    def report(self, peer: PeerId, reason: str, *, weight: int = DEFAULT_WEIGHT) -> None:
        """See `Network.report`."""
        if self.scores.report(peer, reason, weight=weight, now=trio.current_time()):
            self._hub.disconnect(self._local_id, peer, reason=f"banned: {reason}")

    def charge(self, peer: PeerId, lane: Lane, cost: int) -> None:
        """See `Network.charge`. The hub knows no rates: what was charged is in `charged`."""
        self.charged[peer, lane] += cost

    def stats(self) -> NetworkStats:
        """See `Network.stats`."""
        now = trio.current_time()
        return NetworkStats(
            now=now,
            peers=tuple(self._peer_stats(self.wires[peer], now) for peer in self.peers()),
            bans=self.scores.bans(now),
            known=len(self._hub.members()) - 1,
            listeners=0,
            announcements=self._announcements,
            rejected=(),
        )

    async def run(self) -> None:
        """Feed the two channels until the node leaves the hub; the channels then end."""
        with self.life, self._inbound_out, self._events_out:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.inbox.pump, self._inbound_out)
                nursery.start_soon(self.comings.pump, self._events_out)

    def _on_take(self, peer: PeerId, lane: Lane) -> None:
        self._hub.refill(peer, self._local_id, lane)

    def _peer_stats(self, wire: Wire, now: float) -> PeerStats:
        return PeerStats(
            peer=wire.receiver,
            direction=wire.direction,
            address=f"/memory/{wire.receiver}",
            connected_at=wire.since,
            bytes_in=wire.bytes_in,
            bytes_out=wire.bytes_out,
            frames_in=wire.frames_in,
            frames_out=wire.frames_out,
            dropped=tuple(wire.dropped[lane] for lane in Lane),
            score=self.scores.score(wire.receiver, now),
            last_report=self.scores.last_report(wire.receiver),
        )
