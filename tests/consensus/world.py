"""A whole network in one heap of events: virtual time, no threads, everything drawn from one seed.

    nodes ── effects ──► links that lose, delay, repeat and reorder ──► events
    nemesis: partitions, crashes (some in the middle of a signature's write), power loss of all, one-way holes

A two-faced validator is two unmodified nodes with one key and no common log; each face speaks to a part of the
others that is drawn anew all the time, and both hear everything.
"""

import heapq
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from chain.execution.invalid import InvalidBlock
from chain.types.block import Header
from chain.types.committee import Committee
from chain.types.params import ChainParams
from consensus import effects, events
from consensus.admission import Admission, Place
from consensus.ledger import BuildRequest
from consensus.messages import Certificate, ConsensusMessage, Proposal, Vote
from consensus.opening import open_epoch
from consensus.safe_store import SafeStore
from consensus.signer import Signer
from consensus.signing_guard import GuardError, create_log, open_log
from consensus.simplex import Simplex
from p2p.network import PeerId
from tests.consensus.fakes import CHAIN_ID, ChainTwin, MemoryJournal, PowerCut, SimDisk, TagKey


class Fork(AssertionError):
    """Two honest nodes hold different final blocks at one height."""


@dataclass
class Wire:
    """How messages travel, in milliseconds and thousandths."""

    least_ms: int = 10
    most_ms: int = 300
    loss: int = 0
    repeat: int = 0
    slow: int = 0
    """Thousandths of messages that take up to four seconds."""


class Node:
    """One machine: what is durable, and, while it runs, the protocol."""

    machine: type[Simplex] = Simplex

    def __init__(self, world: "World", number: int, key: TagKey, *, two_faced: bool = False) -> None:
        self.world, self.number, self.key, self.two_faced = world, number, key, two_faced
        self.name = PeerId(str(number))
        self.disk, self.journal = SimDisk(), MemoryJournal()
        self.chain = ChainTwin(world.params, world.committees)
        self.life = 0
        self.is_up = False

    def boot(self) -> None:
        self.is_up = True
        self.life += 1
        self.disk.locked = False
        self.chain = self.chain.restarted()
        self.store = SafeStore(self.journal)
        opened = create_log if self.disk.data is None else open_log
        guard = opened(self.disk, chain_id=CHAIN_ID, public_key=self.key.public_key)
        self.signer = Signer(self.key, guard, chain_id=CHAIN_ID, prove=lambda _: bytes(80))
        self.queue: deque[events.Event] = deque()
        self.admission = Admission(0, answer_every_ms=2000)
        self.alive(self.start_epoch)

    def crash(self) -> None:
        self.is_up = False
        self.life += 1

    def start_epoch(self) -> None:
        setting = open_epoch(self.chain, self.key.public_key)
        epoch, head = setting.epoch, setting.base
        self.simplex = self.machine(setting)
        saved = self.store.load(epoch=epoch, above=head.height)
        votes, proposals = self.resume(epoch)
        held = self.admission.enter(epoch)
        self.queue.clear()
        self.queue.append(events.Resumed(saved.certificates, saved.blocks, votes, proposals))
        self.drain()
        for origin, message in held:
            self.receive(origin, message, None)

    def resume(self, epoch: int):
        return self.signer.resume(epoch)

    def receive(self, origin: PeerId, message: ConsensusMessage, digest: bytes | None) -> None:
        place = self.admission.sort(origin, message, now_ms=self.world.now)
        if place is Place.STUCK:
            end = self.chain.finalization(self.chain.params.last_height(message.epoch))
            self.world.send(self, int(origin), end)
        if place is not Place.NOW or self.simplex.knows(message):
            return
        if isinstance(message, Vote):
            self.handle(events.VoteSeen(origin, message))
        elif isinstance(message, Certificate):
            self.handle(events.CertificateSeen(origin, message))
        else:
            self.handle(events.ProposalSeen(origin, message, digest or message.block.digest))

    def alive(self, action: Callable[[], None]) -> None:
        try:
            action()
        except PowerCut:
            self.world.crashed(self)

    def handle(self, event: events.Event) -> None:
        self.queue.append(event)
        if len(self.queue) == 1:
            self.alive(self.drain)

    def drain(self) -> None:
        while self.queue:
            machine = self.simplex
            for effect in machine.step(self.queue[0]):
                self.perform(effect)
            self.queue.popleft()
            if machine.done:
                self.start_epoch()

    def perform(self, effect: effects.Effect) -> None:
        world = self.world
        match effect:
            case effects.Broadcast(message):
                world.broadcast(self, message)
            case effects.SetTimer(timer, epoch, view, delay_ms):
                world.later(delay_ms, self, events.TimerFired(timer, epoch, view))
            case effects.Sign(statement):
                try:
                    self.queue.append(events.Signed(self.signer.vote(statement)))
                except GuardError as error:
                    world.refusals.append((self.number, error.reason))
            case effects.Save(certificates, blocks):
                self.store.save(certificates, blocks)
            case effects.Validate(block, digest):
                self.queue.append(events.Validated(digest, self.verdict(block, digest)))
            case effects.Propose(view, block):
                try:
                    digest, proposal = self.signer.propose(self.simplex.epoch, view, block)
                    self.queue.append(events.Proposed(proposal, digest))
                except GuardError as error:
                    world.refusals.append((self.number, error.reason))
            case effects.Build():
                due = effect.parent.timestamp_ms + self.chain.params.block_interval_ms
                wait = min(max(0, due - world.now), self.chain.params.block_interval_ms)
                world.later(wait, self, effect)
            case effects.Finalize(blocks, certificate):
                self.chain.settle(blocks, certificate)
                world.settled(self)
                last = blocks[-1].header
                self.store.finalized(epoch=last.epoch, view=certificate.view, height=last.height)
            case effects.Fetch():
                world.fetch(self, effect)
            case effects.Send(to, message):
                world.send(self, int(to), message)
            case effects.Accuse(evidence):
                world.accusations.append((self.number, evidence))
            case effects.Report(origin, reason):
                world.reports.append((self.number, int(origin), reason))

    def verdict(self, block, digest: bytes) -> str | None:
        try:
            self.chain.check(block, digest)
        except InvalidBlock as error:
            return str(error)
        return None

    def build(self, wanted: effects.Build) -> None:
        if self.simplex.epoch != wanted.epoch or self.simplex.view != wanted.view:
            return
        now = max(self.world.now, wanted.parent.timestamp_ms + 1)
        stamp = (2 * now + 1) if self.number % 2 and self.two_faced else 2 * now
        block = self.chain.make(BuildRequest(
            wanted.parent_digest, wanted.epoch, wanted.view, max(stamp // 2, wanted.parent.timestamp_ms + 1)
            + (stamp % 2), self.key.public_key, bytes(80)
        ))  # fmt: skip
        self.handle(events.Built(wanted.epoch, wanted.view, block, block.digest))


class World:
    """Everything, from one seed."""

    node_type: type[Node] = Node

    def __init__(
        self, seed: int, count: int = 4, *, traitors: int = 0, params: ChainParams, wire: Wire | None = None,
        committees: Callable[[list[bytes]], Callable[[int], Committee]] | None = None,
    ) -> None:  # fmt: skip
        from tests.consensus.fakes import committee_of

        self.seed, self.rng, self.params = seed, random.Random(seed), params
        self.now, self._heap, self._sequence = 0, [], 0
        self.wire = wire or Wire()
        keys = [TagKey(number) for number in range(count)]
        whole = committee_of(key.public_key for key in keys)
        self.committees = (lambda _: whole) if committees is None else committees([k.public_key for k in keys])
        self.canon: dict[int, bytes] = {}
        self.refusals: list = []
        self.accusations: list = []
        self.reports: list = []
        self.groups: list[int] | None = None
        self.events = 0
        self.nodes = [self.node_type(self, i, keys[i], two_faced=i < traitors) for i in range(count)]
        # The second faces come behind; both listen under all circumstances.
        self.nodes += [self.node_type(self, count + i, keys[i], two_faced=True) for i in range(traitors)]
        self.faces = [0] * len(self.nodes)
        self.count, self.traitors = count, traitors

    @property
    def honest(self) -> list[Node]:
        return [node for node in self.nodes if not node.two_faced]

    def start(self) -> None:
        for node in self.nodes:
            node.boot()

    def at(self, when: int, action: Callable[[], None]) -> None:
        self._sequence += 1
        heapq.heappush(self._heap, (when, self._sequence, action))

    def later(self, delay: int, node: Node, what: object) -> None:
        life = node.life

        def fire() -> None:
            if node.life == life:
                if isinstance(what, effects.Build):
                    node.build(what)
                else:
                    node.handle(what)

        self.at(self.now + delay, fire)

    def run(self, until: int) -> None:
        heap = self._heap
        while heap and heap[0][0] <= until:
            self.now, _, action = heapq.heappop(heap)
            self.events += 1
            action()
        self.now = until

    def reaches(self, sender: Node, receiver: Node) -> bool:
        if self.groups is not None and self.groups[sender.number] != self.groups[receiver.number]:
            return False
        # A face of a traitor is heard only by the honest nodes that are drawn for it.
        if sender.two_faced and not receiver.two_faced:
            return self.faces[receiver.number] == (sender.number >= self.count)
        return True

    def broadcast(self, sender: Node, message: ConsensusMessage) -> None:
        digest = message.block.digest if isinstance(message, Proposal) else None
        for receiver in self.nodes:
            if receiver is not sender:
                self.carry(sender, receiver, lambda r, m=message, d=digest: r.receive(sender.name, m, d))

    def send(self, sender: Node, to: int, message: ConsensusMessage) -> None:
        self.carry(sender, self.nodes[to], lambda r: r.receive(sender.name, message, None))

    def carry(self, sender: Node, receiver: Node, deliver: Callable[[Node], None]) -> None:
        rng, wire = self.rng, self.wire
        if not self.reaches(sender, receiver):
            return
        draw = rng.random() * 1000
        if draw < wire.loss:
            return
        copies = 2 if draw < wire.loss + wire.repeat else 1
        for _ in range(copies):
            most = 4000 if wire.slow and rng.random() * 1000 < wire.slow else wire.most_ms
            delay = wire.least_ms + int(rng.random() * (most - wire.least_ms))

            def arrive() -> None:
                if receiver.is_up:
                    receiver.alive(lambda: deliver(receiver))

            self.at(self.now + delay, arrive)

    def fetch(self, asker: Node, wanted: effects.Fetch) -> None:
        """One question to one node, a holder more likely than not; nothing comes back if either way is lost."""
        holders = [n for n in self.nodes if n.key.public_key in wanted.holders and n is not asker]
        others = [n for n in self.nodes if n is not asker]
        target = self.rng.choice(holders if holders and self.rng.random() < 0.8 else others)
        life = asker.life

        def ask(node: Node) -> None:
            found = [(d, b) for d in wanted.digests if (b := node.simplex.block(d) or node.chain.block(d))]
            same = node.simplex.epoch == wanted.epoch and wanted.end_view > wanted.first_view
            certificates = tuple(node.simplex.certificates(wanted.first_view, wanted.end_view)) if same else ()

            def answer(_: Node) -> None:
                for digest, block in found:
                    if asker.life == life and asker.simplex.epoch == wanted.epoch:
                        asker.handle(events.BlockFetched(block, digest))
                for certificate in certificates:
                    if asker.life == life:
                        asker.receive(node.name, certificate, None)

            self.carry(node, asker, answer)

        self.carry(asker, target, ask)

    def settled(self, node: Node) -> None:
        if node.two_faced:
            return
        chain = node.chain
        for height in range(max(1, len(chain.final) - 8), len(chain.final)):
            if self.canon.setdefault(height, chain.final[height]) != chain.final[height]:
                raise Fork(f"seed {self.seed}: height {height} differs at node {node.number}")

    def crashed(self, node: Node) -> None:
        node.crash()
        self.at(self.now + self.rng.randrange(500, 6000), lambda: self.revive(node))

    def revive(self, node: Node) -> None:
        if not node.is_up:
            node.boot()

    def heights(self) -> list[int]:
        return [node.chain.final_head.height for node in self.honest]


class Nemesis:
    """Trouble until ``heal``, then none."""

    def __init__(self, world: World, *, heal: int, events: int = 14) -> None:
        self.world, self.heal = world, heal
        rng = world.rng
        for _ in range(events):
            world.at(rng.randrange(heal), self.strike)
        if world.traitors:
            for when in range(0, 10 * heal, 700):
                world.at(when, self.turn_faces)
        world.at(heal, self.end)

    def turn_faces(self) -> None:
        self.world.faces = [self.world.rng.randrange(2) for _ in self.world.nodes]

    def strike(self) -> None:
        world, rng = self.world, self.world.rng
        if world.now >= self.heal:
            return
        draw = rng.random()
        if draw < 0.4:
            world.groups = [rng.randrange(2) for _ in world.nodes]
        elif draw < 0.55:
            world.groups = None
        elif draw < 0.75:
            rng.choice(world.nodes).disk.cut = rng.randrange(1001)
        elif draw < 0.92:
            self.crash(rng.choice(world.nodes))
        else:
            for node in world.nodes:
                if rng.random() < 0.3:
                    node.disk.cut = rng.randrange(1001)
                else:
                    self.crash(node)

    def crash(self, node: Node) -> None:
        if node.is_up:
            self.world.crashed(node)

    def end(self) -> None:
        world = self.world
        world.groups, world.wire = None, Wire()
        for node in world.nodes:
            node.disk.cut = None
