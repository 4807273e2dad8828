"""The in-memory twin of the libp2p network: the same promises, no sockets, time from trio's clock.

All traffic of all nodes passes through one task of the hub in the order (due time, sending order), so a run
depends on the calls made, the `random.Random` passed in, and nothing else. With trio's autojump clock an
hour of network time takes milliseconds.

    async with open_hub(rng=random.Random(7), link=Link(delay=0.01, jitter=0.02)) as hub:
        a, b = hub.join(PeerId("a")), hub.join(PeerId("b"))
        a.send(b.local_id, Lane.CONSENSUS, b"hello")
        assert (await b.inbound.receive()).payload == b"hello"
"""

import heapq
import random
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

from p2p.limits import Limits
from p2p.memory_node import MemoryNetwork, Question, Reply, Wire
from p2p.network import Direction, Inbound, Lane, PeerConnected, PeerDisconnected, PeerId


@dataclass(frozen=True, slots=True)
class Link:
    """How a message travels from one node to another.

    Attributes:
        delay: Least travel time, seconds.
        jitter: Greatest extra travel time, seconds, drawn evenly. Order within a lane is kept, as by TCP.
        loss: Probability that a message vanishes, 0 to 1.
    """

    delay: float = 0.0
    jitter: float = 0.0
    loss: float = 0.0


class MemoryHub:
    """Connects `MemoryNetwork`s; made by `open_hub`. Who is connected to whom is decided here."""

    def __init__(self, nursery: trio.Nursery, *, rng: random.Random, link: Link, limits: Limits) -> None:
        self.limits = limits
        self.announcements: list[tuple[PeerId, bytes]] = []
        """What was announced, by whom, oldest first."""
        self.kept: set[PeerId] = set()
        """Peers that every node keeps."""
        self._nursery = nursery
        self._rng = rng
        self._link = link
        self._links: dict[tuple[PeerId, PeerId], Link] = {}
        self._group: dict[PeerId, int] = {}
        self._nodes: dict[PeerId, MemoryNetwork] = {}
        self._sequence = 0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._wake = trio.Event()

    def members(self) -> tuple[PeerId, ...]:
        """Everyone who joined and did not leave, sorted."""
        return tuple(sorted(self._nodes))

    def join(self, peer: PeerId, *, connect: bool = True) -> MemoryNetwork:
        """Add a node and, unless told otherwise, connect it to all others.

        Raises:
            ValueError: The id is taken.
        """
        if peer in self._nodes:
            raise ValueError(f"{peer} has joined already")
        node = self._nodes[peer] = MemoryNetwork(self, peer)
        self._nursery.start_soon(node.run)
        if connect:
            for other in self.members():
                self.connect(peer, other)
        return node

    def leave(self, peer: PeerId) -> None:
        """Remove a node as if its process had been killed; its id may join again."""
        node = self._nodes[peer]
        for other in node.peers():
            self.disconnect(peer, other, reason="connection lost")
        del self._nodes[peer]
        for scope in (node.life, *node.serving):
            scope.cancel()

    def connect(self, dialer: PeerId, listener: PeerId) -> bool:
        """Connect two nodes.

        Returns:
            Whether they are connected now: not with oneself, across a partition, or past a ban.
        """
        a, b = self._nodes[dialer], self._nodes[listener]
        now = trio.current_time()
        if listener in a.wires:
            return True
        banned = a.scores.is_banned(listener, now) or b.scores.is_banned(dialer, now)
        if a is b or banned or not self._together(dialer, listener):
            return False
        for near, far, direction in ((a, b, Direction.OUTBOUND), (b, a, Direction.INBOUND)):
            slots = trio.Semaphore(self.limits.requests_in_flight)
            near.wires[far.local_id] = Wire(near.local_id, far.local_id, direction, now, slots)
            near.comings.put(PeerConnected(far.local_id))
        return True

    def disconnect(self, a: PeerId, b: PeerId, *, reason: str = "disconnected") -> None:
        """Break the connection of two nodes, losing what is in flight."""
        for near, far in ((a, b), (b, a)):
            node = self._nodes.get(near)
            wire = node.wires.pop(far, None) if node is not None else None
            if node is None or wire is None:
                continue
            wire.open = False
            for reply in wire.replies:
                reply.arrived.set()
            node.comings.put(PeerDisconnected(far, reason))

    def partition(self, *groups: Iterable[PeerId]) -> None:
        """Break all connections between different groups; nodes in no group form one of their own."""
        self._group = {peer: number for number, group in enumerate(groups, start=1) for peer in group}
        for a in self.members():
            for b in self._nodes[a].peers():
                if not self._together(a, b):
                    self.disconnect(a, b, reason="partitioned")

    def heal(self) -> None:
        """End the partition and connect everyone with everyone."""
        self._group = {}
        for a in self.members():
            for b in self.members():
                self.connect(a, b)

    def set_link(self, sender: PeerId, receiver: PeerId, link: Link) -> None:
        """Give one direction between two nodes a behaviour of its own; `loss=1` makes it a silent hole."""
        self._links[sender, receiver] = link

    def carry_frame(self, wire: Wire, item: Inbound) -> None:
        """Take one frame under way (called by the sending node)."""

        def arrive() -> None:
            if wire.open:
                wire.waiting[item.lane].append(item)
                self.refill(wire.sender, wire.receiver, item.lane)

        def vanish() -> None:
            wire.queued[item.lane] -= 1

        self._travel(wire, arrive, vanish, lane=item.lane)

    def refill(self, sender: PeerId, receiver: PeerId, lane: Lane) -> None:
        """Move frames that wait for room into the receiver's inbox, as far as there is room."""
        near, far = self._nodes.get(sender), self._nodes.get(receiver)
        if near is None or far is None or receiver not in near.wires:
            return
        wire, back = near.wires[receiver], far.wires[sender]
        waiting = wire.waiting[lane]
        while waiting and far.inbox.has_room(sender, lane, len(waiting[0].payload)):
            item = waiting.popleft()
            wire.queued[lane] -= 1
            back.frames_in += 1
            back.bytes_in += len(item.payload)
            far.inbox.put_now(item)

    def carry_request(self, wire: Wire, question: Question, reply: Reply) -> None:
        """Take one request under way (called by the asking node)."""

        def arrive() -> None:
            if wire.open:
                self._nodes[wire.receiver].wires[wire.sender].bytes_in += len(question.payload)
                self._nursery.start_soon(self._serve, wire, question, reply)

        wire.bytes_out += len(question.payload)
        self._travel(wire, arrive, _nothing)

    async def _serve(self, wire: Wire, question: Question, reply: Reply) -> None:
        node = self._nodes.get(wire.receiver)
        if node is None or not wire.open:
            return
        with trio.CancelScope() as scope:
            node.serving.add(scope)
            try:
                answer = await node.methods.answer(
                    wire.sender, question.method, question.payload, limit=question.limit
                )
            finally:
                node.serving.discard(scope)
            if wire.open:
                back = node.wires[wire.sender]
                back.bytes_out += len(answer.body)
                self._travel(back, lambda: reply.fill(answer), _nothing)

    def _together(self, a: PeerId, b: PeerId) -> bool:
        return self._group.get(a, 0) == self._group.get(b, 0)

    def _travel(
        self, wire: Wire, arrive: Callable[[], None], vanish: Callable[[], None], *, lane: Lane | None = None
    ) -> None:
        link = self._links.get((wire.sender, wire.receiver), self._link)
        due = trio.current_time() + link.delay
        if link.jitter:
            due += self._rng.random() * link.jitter
        if lane is not None:
            due = wire.last_due[lane] = max(due, wire.last_due.get(lane, due))
        lost = bool(link.loss) and self._rng.random() < link.loss
        self._sequence += 1
        heapq.heappush(self._due, (due, self._sequence, vanish if lost else arrive))
        self._wake.set()

    async def run(self) -> None:
        """Carry messages for ever."""
        while True:
            self._wake = trio.Event()
            while self._due and self._due[0][0] <= trio.current_time():
                heapq.heappop(self._due)[2]()
            deadline = self._due[0][0] if self._due else float("inf")
            with trio.CancelScope(deadline=deadline):
                await self._wake.wait()


@asynccontextmanager
async def open_hub(
    *, rng: random.Random, link: Link | None = None, limits: Limits | None = None
) -> AsyncIterator[MemoryHub]:
    """A hub for the length of a block; leaving it ends all its nodes."""
    async with trio.open_nursery() as nursery:
        hub = MemoryHub(nursery, rng=rng, link=link or Link(), limits=limits or Limits())
        nursery.start_soon(hub.run)
        yield hub
        nursery.cancel_scope.cancel()


def _nothing() -> None:
    """A lost request or answer leaves no trace: the asking side runs into its timeout."""
