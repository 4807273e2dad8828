"""A whole network in one heap of events: virtual time, no threads, everything drawn from one seed.

    nodes ── effects ──► links that lose, delay, repeat, reorder, filter ──► events

A two-faced validator is two unmodified nodes with one key and no common log. Both hear everything; each
speaks to a part of the others, and during a partition each lives on one side of it: the strongest use of
one key.
"""

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from chain.types.committee import Committee
from chain.types.evidence import Evidence
from chain.types.params import ChainParams
from chain.types.statement import Statement, excludes
from consensus import effects, events
from consensus.messages import Certificate, ConsensusMessage, Hearsay, Proposal
from consensus.signing_guard import GuardError
from tests.consensus.fakes import TagKey, committee_of
from tests.consensus.node import Node

_Answer = TypeVar("_Answer")
Filter = Callable[[Node, Node, ConsensusMessage], bool]
Committees = Callable[[list[bytes]], Callable[[int], Committee]]


class Violation(AssertionError):  # noqa: N818 - reads as a sentence where it is caught
    """Something that must never happen happened."""


@dataclass
class Wire:
    """How messages travel: milliseconds, and thousandths of messages."""

    least_ms: int = 10
    most_ms: int = 300
    loss: int = 0
    repeat: int = 0
    slow: int = 0
    """Take up to four seconds."""


class World:
    """Everything, from one seed."""

    def __init__(
        self, seed: int, count: int = 4, *, params: ChainParams, traitors: int = 0, wire: Wire | None = None,
        committees: Committees | None = None, node_type: type[Node] = Node,
    ) -> None:  # fmt: skip
        self.seed, self.rng, self.params = seed, random.Random(seed), params
        self.wire = wire or Wire()
        self.now, self.events = 0, 0
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._sequence = 0
        keys = [TagKey(number) for number in range(count)]
        whole = committee_of(key.public_key for key in keys)
        self.committees = committees([k.public_key for k in keys]) if committees else lambda _: whole
        self.groups: list[int] | None = None
        self.faces = [0] * count
        """Which face of the traitors each honest node hears."""
        self.drops: Filter | None = None
        self.canon: dict[int, bytes] = {}
        self.said: dict[tuple[bytes, int, int], list[Statement]] = {}
        self.heeds_speech = True
        """Whether an honest key that contradicts itself is a violation at once, not only a fork."""
        self.refusals: list[tuple[int, GuardError]] = []
        self.accusations: list[tuple[int, Evidence]] = []
        self.reports: list[tuple[int, int, str]] = []
        self.hearsay = 0
        """Of honest nodes."""
        self.nodes = [node_type(self, i, keys[i], face=0 if i < traitors else None) for i in range(count)] + [
            node_type(self, count + i, keys[i], face=1) for i in range(traitors)
        ]

    @property
    def honest(self) -> list[Node]:
        return [node for node in self.nodes if node.is_honest]

    def heights(self) -> list[int]:
        return [node.chain.final_head.height for node in self.honest]

    def start(self) -> None:
        for node in self.nodes:
            node.boot()

    def at(self, when: int, action: Callable[[], None]) -> None:
        self._sequence += 1
        heapq.heappush(self._heap, (when, self._sequence, action))

    def later(self, delay: int, node: Node, action: Callable[[], None]) -> None:
        """Run ``action`` in this life of ``node``, or never."""
        life = node.life
        self.at(self.now + delay, lambda: node.alive(action) if node.life == life else None)

    def run(self, until: int) -> None:
        heap = self._heap
        while heap and heap[0][0] <= until:
            self.now, _, action = heapq.heappop(heap)
            self.events += 1
            action()
        self.now = until

    def broadcast(self, sender: Node, message: ConsensusMessage) -> None:
        digest = message.block.digest if isinstance(message, Proposal) else None
        self._note(sender, message, digest)
        for receiver in self.nodes:
            if receiver is not sender and not self._drop(sender, receiver, message):
                self._carry(receiver, lambda r=receiver: r.receive(sender.name, message, digest))

    def send(self, sender: Node, to: int, message: ConsensusMessage) -> None:
        receiver = self.nodes[to]
        if not self._drop(sender, receiver, message):
            self._carry(receiver, lambda: receiver.receive(sender.name, message, None))

    def ask(
        self, asker: Node, target: Node, question: Callable[[Node], _Answer], take: Callable[[_Answer], None]
    ) -> None:
        """A request and its answer, either of which may be lost."""
        life = asker.life

        def answer() -> None:
            result = question(target)
            if self._reaches(target, asker):
                self._carry(asker, lambda: take(result) if asker.life == life else None)

        if self._reaches(asker, target):
            self._carry(target, answer)

    def fetch(self, asker: Node, wanted: effects.Fetch) -> None:
        """S8: one node is asked, more likely than not one that must have it."""
        others = [node for node in self.nodes if node is not asker]
        holders = [node for node in others if node.key.public_key in wanted.holders]
        target = self.rng.choice(holders if holders and self.rng.random() < 0.8 else others)

        def look(node: Node) -> tuple[list[tuple[bytes, object]], list[Certificate]]:
            found = [(d, b) for d in wanted.digests if (b := node.simplex.block(d) or node.chain.block(d))]
            same = node.simplex.epoch == wanted.epoch and wanted.end_view > wanted.first_view
            return found, list(node.simplex.certificates(wanted.first_view, wanted.end_view)) if same else []

        def take(answer: tuple[list, list[Certificate]]) -> None:
            for digest, block in answer[0]:
                if asker.simplex.epoch == wanted.epoch:
                    asker.handle(events.BlockFetched(block, digest))
            for certificate in answer[1]:
                asker.receive(target.name, certificate, None)

        self.ask(asker, target, look, take)

    def crashed(self, node: Node) -> None:
        node.is_up = False
        node.life += 1
        self.at(self.now + self.rng.randrange(500, 6000), lambda: None if node.is_up else node.boot())

    def settled(self, node: Node, count: int) -> None:
        """Agreement, checked whenever anything becomes final anywhere."""
        if not node.is_honest:
            return
        final = node.chain.final
        for height in range(len(final) - count, len(final)):
            if self.canon.setdefault(height, final[height]) != final[height]:
                raise Violation(f"seed {self.seed}: node {node.number} forks at height {height}")

    def _note(self, sender: Node, message: ConsensusMessage, digest: bytes | None) -> None:
        """No honest key ever says two things that exclude each other."""
        if isinstance(message, Hearsay):
            self.hearsay += sender.is_honest
            return
        if not self.heeds_speech or not sender.is_honest or isinstance(message, Certificate):
            return
        statement = message.statement
        said = self.said.setdefault((sender.key.public_key, statement.epoch, statement.view), [])
        for earlier in said:
            if excludes(earlier, statement):
                raise Violation(f"seed {self.seed}: node {sender.number} said {earlier} and {statement}")
        if statement not in said:
            said.append(statement)

    def _reaches(self, sender: Node, receiver: Node) -> bool:
        if self.groups is not None and self._side(sender) != self._side(receiver):
            return False
        if sender.face is not None and receiver.face is None and self.groups is None:
            return self.faces[receiver.number] == sender.face
        return True

    def _side(self, node: Node) -> int:
        assert self.groups is not None
        return self.groups[node.number] if node.face is None else node.face

    def _drop(self, sender: Node, receiver: Node, message: ConsensusMessage) -> bool:
        if not self._reaches(sender, receiver):
            return True
        return self.drops is not None and self.drops(sender, receiver, message)

    def _carry(self, receiver: Node, deliver: Callable[[], None]) -> None:
        rng, wire = self.rng, self.wire
        draw = rng.random() * 1000
        if draw < wire.loss:
            return
        for _ in range(2 if draw < wire.loss + wire.repeat else 1):
            most = 4000 if wire.slow and rng.random() * 1000 < wire.slow else wire.most_ms
            delay = wire.least_ms + int(rng.random() * (most - wire.least_ms))
            self.at(self.now + delay, lambda: receiver.alive(deliver) if receiver.is_up else None)
