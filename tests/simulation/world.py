"""A whole network in one heap of events: virtual time, no threads, everything drawn from one seed.

    nodes ── effects ──► links that lose, delay, repeat, reorder, clog, filter ──► events

A two-faced validator is two unmodified nodes with one key and no common log. Both hear everything; each
speaks to a part of the others, and during a partition each lives somewhere else in it: the strongest use of
one key.
"""

import hashlib
import heapq
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any, TypeVar

from chain.types.transaction import SignedTransaction
from consensus.messages import ConsensusMessage, Proposal
from tests.simulation.customers import Customers
from tests.simulation.node import Node
from tests.simulation.plan import Plan
from tests.simulation.stage import Stage
from tests.simulation.watch import Watch
from tests.simulation.wire import Links, Wire

Filter = Callable[[Node, Node, ConsensusMessage], bool]
_Answer = TypeVar("_Answer")


class World:
    """Everything, from one plan."""

    def __init__(self, plan: Plan, *, wire: Wire | None = None) -> None:
        self.plan, self.seed, self.rng = plan, plan.seed, Random(plan.seed)
        self.wire, self.links = wire or Wire(), Links()
        self.drops: Filter | None = None
        self.now = self.steps = 0
        self._heap: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._sequence = 0
        self._trace = hashlib.blake2b(digest_size=16)
        self.faults: Counter[str] = Counter()
        """What was done to nodes and network, by kind."""
        self.faces = [0] * plan.count
        """Which face of the two-faced each other node hears."""
        self.stage = Stage(plan)
        self.params = self.stage.params
        self.watch = Watch(self)
        twins = [number for number, habit in enumerate(plan.habits) if habit == "two_faced"]
        self.nodes = [Node(self, number, number) for number in range(plan.count)]
        self.nodes += [Node(self, plan.count + i, key, face=1) for i, key in enumerate(twins)]

    @property
    def honest(self) -> list[Node]:
        return [node for node in self.nodes if node.is_honest]

    @property
    def trace(self) -> str:
        """A digest of everything that was said and decided, and when."""
        return self._trace.hexdigest()

    def heights(self) -> list[int]:
        return [node.height for node in self.honest]

    def start(self) -> None:
        for node in self.nodes:
            node.boot()
        if self.plan.profile == "ledger":
            Customers(self).start()

    def note(self, what: str, *values: object) -> None:
        """Put something into the trace."""
        self._trace.update(f"{self.now} {what} {values}\n".encode())

    def at(self, when: int, action: Callable[..., None], *arguments: Any) -> None:
        self._sequence += 1
        heapq.heappush(self._heap, (when, self._sequence, action, arguments))

    def later(self, delay: int, node: Node, action: Callable[[], None]) -> None:
        """Run ``action`` in this life of ``node``, or never."""
        self.at(self.now + delay, _if_same_life, node, node.life, action)

    def run(self, until: int) -> None:
        """Let everything happen up to and including a moment."""
        heap, pop = self._heap, heapq.heappop
        while heap and heap[0][0] <= until:
            self.now, _, action, arguments = pop(heap)
            self.steps += 1
            action(*arguments)
        self.now = until

    def run_while(self, condition: Callable[[], bool], until: int, *, step: int = 250) -> None:
        """Run in steps of some milliseconds as long as a condition holds."""
        while condition() and self.now < until:
            self.run(min(until, self.now + step))

    def broadcast(self, sender: Node, message: ConsensusMessage) -> None:
        """To everybody, as far as the network carries."""
        digest = message.block.digest if isinstance(message, Proposal) else None
        self.watch.said(sender, message, digest)
        for receiver in self.nodes:
            if receiver is not sender:
                self._deliver(sender, receiver, message, digest)

    def send(self, sender: Node, to: int, message: ConsensusMessage) -> None:
        """To one node."""
        digest = message.block.digest if isinstance(message, Proposal) else None
        self.watch.said(sender, message, digest)
        self._deliver(sender, self.nodes[to], message, digest)

    def gossip(self, sender: Node, signed: SignedTransaction) -> None:
        """A transaction to all mempools, the sender's own first."""
        sender.take_transaction(signed)
        for receiver in self.nodes:
            if receiver is not sender and self._reaches(sender, receiver):
                self._carry(sender, receiver, receiver.take_transaction, signed)

    def ask(
        self, asker: Node, target: Node, question: Callable[[Node], _Answer], take: Callable[[_Answer], None]
    ) -> None:
        """A request and its answer, either of which may be lost."""
        life = asker.life

        def answer() -> None:
            result = question(target)
            if self._reaches(target, asker):
                self._carry(target, asker, _take_if_alive, asker, life, take, result)

        if self._reaches(asker, target):
            self._carry(asker, target, answer)

    def crash(self, node: Node, *, power: bool) -> None:
        """The process dies, or the machine's power fails; it is back in a few seconds."""
        node.die(self.rng if power else None)
        self.at(self.now + self.rng.randrange(500, 6000), _boot_if_down, node)

    def _deliver(self, sender: Node, receiver: Node, message: ConsensusMessage, digest: bytes | None) -> None:
        if not self._reaches(sender, receiver):
            return
        if self.drops is not None and self.drops(sender, receiver, message):
            return
        self._carry(sender, receiver, receiver.receive, sender.name, message, digest)

    def _reaches(self, sender: Node, receiver: Node) -> bool:
        if self.links.blocked:
            return (sender.number, receiver.number) not in self.links.blocked
        if sender.is_twin and not receiver.is_twin and sender.is_corrupt:
            return self.faces[receiver.seat] == sender.face
        return True

    def _carry(self, sender: Node, receiver: Node, deliver: Callable[..., None], *arguments: Any) -> None:
        rng, wire = self.rng, self.wire
        draw = rng.random() * 1000
        if draw < wire.loss:
            return
        for _ in range(2 if draw < wire.loss + wire.repeat else 1):
            most = 4000 if wire.slow and rng.random() * 1000 < wire.slow else wire.most_ms
            when = self.now + wire.least_ms + int(rng.random() * (most - wire.least_ms))
            if self.links.clogged:
                when = max(when, self.links.clogged.get((sender.number, receiver.number), 0))
            self._sequence += 1
            heapq.heappush(self._heap, (when, self._sequence, receiver.hear, (deliver, arguments)))


def _if_same_life(node: Node, life: int, action: Callable[[], None]) -> None:
    if node.life == life:
        node.alive(action)


def _take_if_alive(asker: Node, life: int, take: Callable[[Any], None], result: object) -> None:
    if asker.life == life:
        take(result)


def _boot_if_down(node: Node) -> None:
    if not node.is_up:
        node.boot()
