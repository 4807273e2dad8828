"""One simulated machine: what is durable, and the protocol with its effects performed at once.

The trio shell's part (`consensus.engine`) is done here without waiting, by the same parts: `Admission`,
`Verifier`, `Signer`, `SafeStore`, `check_batch`. A planted bug overrides a method, or patches the real code.
"""

from collections import deque
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

from chain.execution.invalid import InvalidBlock
from chain.types.block import Block, beacon_input
from chain.types.evidence import Evidence
from chain.types.transaction import SignedTransaction, report_of
from consensus.admission import Admission, Place
from consensus.halting import Halted
from consensus.ledger import BuildRequest
from consensus.messages import Certificate, ConsensusMessage, head_of
from consensus.opening import open_epoch
from consensus.safe_store import SafeStore
from consensus.signing.signer import Signer
from consensus.signing.signing_guard import GuardError, SigningGuard, create_log, open_log
from consensus.simplex import effects, events
from consensus.simplex.protocol import Simplex
from consensus.simplex.tree import SafetyViolation
from consensus.verifier import Distrust, Lie, Verifier
from p2p.network import PeerId
from tests.consensus.fakes import PowerCut
from tests.simulation.disks import SimDisk
from tests.simulation.habits import habit_of
from tests.simulation.keys import consensus_key
from tests.simulation.questions import Questions
from tools.node.node import REPORTS_EVERY

if TYPE_CHECKING:
    from tests.simulation.world import World

MAX_CLOCK_AHEAD_MS = 10_000


class Node:
    """One machine, or one face of a two-faced one."""

    machine: type[Simplex] = Simplex

    def __init__(self, world: "World", number: int, seat: int, *, face: int = 0) -> None:
        self.world, self.number, self.seat, self.face = world, number, seat, face
        self.key = consensus_key(seat)
        self.name = PeerId(str(number))
        self.is_honest = seat >= len(world.plan.habits)
        self.habit = None if self.is_honest else habit_of(world.plan.habits[seat])
        self.is_twin = not self.is_honest and world.plan.habits[seat] == "two_faced"
        self.disk = SimDisk()
        self.ledger = world.stage.ledger()
        self.life = 0
        self.is_up = False
        self.clock_ahead_ms = self.clock_drift = 0
        """Of this machine's clock: milliseconds, and millionths."""
        self.worker = world.stage.worker(self)

    @property
    def height(self) -> int:
        return self.ledger.final_head.height

    @property
    def is_corrupt(self) -> bool:
        """Whether it may betray now."""
        return not self.is_honest and self.world.watch.is_corrupt(self.seat, self.simplex.epoch)

    def clock(self) -> int:
        """What this machine takes for the time, in milliseconds."""
        now = self.world.now
        return now + self.clock_ahead_ms + now * self.clock_drift // 1_000_000

    def boot(self) -> None:
        self.is_up = True
        self.life += 1
        self.disk.close()
        self.ledger.restart()
        self.store = SafeStore(self.ledger.journal)
        self.queue: deque[events.Event] = deque()
        self.accused: set[bytes] = set()
        self.admission = Admission(0, answer_every_ms=2 * self.world.params.network_delay_ms)
        self.questions = Questions(self)
        if self.habit is not None:
            self.habit.on_boot(self)
        self.signer = Signer(
            self.key, self.open_guard(), chain_id=self.world.params.chain_id, prove=self.key.prove
        )
        self.verifier = Verifier(
            self.world.params.chain_id, self.signer, now_ms=self.clock, max_clock_ahead_ms=MAX_CLOCK_AHEAD_MS
        )
        self.world.watch.booted(self)
        self.alive(self.start_epoch)
        self.questions.start()
        if self.worker is not None:
            self.worker.start()

    def open_guard(self) -> SigningGuard:
        opened = create_log if self.disk.data is None else open_log
        return opened(self.disk, chain_id=self.world.params.chain_id, public_key=self.key.public_key)

    def die(self, power: Random | None) -> None:
        """The process ends; with its machine's power goes what was not synced."""
        self.is_up = False
        self.life += 1
        if power is not None:
            self.disk.lose_power(power)
            for database in self.ledger.databases:
                database.lose_power(power)

    def alive(self, action: Callable[..., None], *arguments: object) -> None:
        """Run ``action``; a power cut in the middle of it ends this life."""
        try:
            action(*arguments)
        except PowerCut:
            self.world.faults["torn write"] += 1
            self.world.crash(self, power=True)
        except (SafetyViolation, Halted) as error:
            self.world.watch.fail(f"node {self.number} stopped: {error}")

    def hear(self, deliver: Callable[..., None], arguments: tuple[object, ...]) -> None:
        """Something arrives; it is lost if nobody is there."""
        if self.is_up:
            self.alive(deliver, *arguments)

    def start_epoch(self) -> None:
        setting = open_epoch(self.ledger, self.key.public_key)
        self.simplex = self.machine(setting)
        saved = self.store.load(epoch=setting.epoch, above=setting.base.height)
        own = self.signer.resume(setting.epoch, floor=self.simplex.floor)
        held = self.admission.enter(setting.epoch)
        self.queue.clear()
        self.accused.clear()
        self.queue.append(events.Resumed(saved.certificates, saved.blocks, *own))
        self.drain()
        for origin, message in held:
            self.receive(origin, message, None)

    def receive(self, origin: PeerId, message: ConsensusMessage, digest: bytes | None) -> None:
        """Cheap checks first: epoch, then whether it is news, then signatures."""
        if not self.is_of_now(origin, message) or self.simplex.knows(origin, message):
            return
        try:
            event = self.verifier.check(self.simplex, origin, message)
        except Lie as lie:
            self.world.watch.reported(self, int(origin), str(lie))
            return
        except Distrust:
            self.world.faults["distrusted"] += 1
            return
        except Halted:
            if self.is_honest:
                raise
            # Its other face said that, or it forgot that it did: a traitor does not mind.
            return
        if event is not None:
            self.handle(event)

    def is_of_now(self, origin: PeerId, message: ConsensusMessage) -> bool:
        """Whether a message is of our epoch, and does not show by its head that it is no news."""
        head = head_of(message)
        place = self.admission.sort(origin, head, now_ms=self.world.now)
        if place is Place.STUCK:
            end = self.ledger.finalization(self.ledger.params.last_height(message.epoch))
            if end is not None:
                self.world.send(self, int(origin), end)
        if place is Place.HELD:
            self.admission.hold(origin, message)
        if place in (Place.HELD, Place.AHEAD):
            self.questions.hint(int(origin))
        if place is not Place.NOW:
            return False
        is_known = self.simplex.knows_by_head(head)
        assert not is_known or self.simplex.knows(origin, message), f"{head} hides what {message} tells"
        return not is_known

    def handle(self, event: events.Event) -> None:
        self.queue.append(event)
        if len(self.queue) == 1:
            self.drain()

    def drain(self) -> None:
        while self.queue:
            machine = self.simplex
            for effect in machine.step(self.queue[0]):
                self.perform(effect)
            self.queue.popleft()
            if machine.done:
                self.start_epoch()

    def perform(self, effect: effects.Effect) -> None:  # noqa: C901 - a table
        world = self.world
        match effect:
            case effects.Broadcast(message):
                self.broadcast(message)
            case effects.SetTimer(timer, epoch, view, delay_ms):
                fired = events.TimerFired(timer, epoch, view)
                world.later(self.own_time(delay_ms), self, lambda: self.handle(fired))
            case effects.Sign() | effects.Propose():
                self.sign(effect)
            case effects.Save(certificates, blocks):
                self.store.save(certificates, blocks)
            case effects.Validate(block, digest):
                self.queue.append(events.Validated(digest, self.fault(block, digest)))
            case effects.Build():
                interval = world.params.block_interval_ms
                wait = effect.parent.timestamp_ms + interval - self.clock()
                world.later(self.own_time(min(max(0, wait), interval)), self, lambda: self.build(effect))
            case effects.Finalize(blocks, certificate):
                self.settle(blocks, certificate)
            case effects.Fetch():
                self.questions.fetch(effect)
            case effects.Send(to, message):
                self.send(int(to), message)
            case effects.Accuse(evidence):
                self.accuse(evidence)
            case effects.Report(origin, reason):
                world.watch.reported(self, int(origin), reason)

    def accuse(self, evidence: Evidence) -> None:
        """Report a contradiction to all who will build blocks, once a key and life."""
        if evidence.signer not in self.accused:
            self.accused.add(evidence.signer)
            self.world.watch.accused(self, evidence)
            self.world.gossip(self, report_of(evidence, chain_id=self.world.params.chain_id))

    def own_time(self, delay_ms: int) -> int:
        """How long a wait takes by the world's time."""
        return delay_ms + delay_ms * self.clock_drift // 1_000_000

    def broadcast(self, message: ConsensusMessage) -> None:
        if self.habit is not None and self.is_corrupt:
            self.habit.broadcast(self, message)
        elif not self.face or self.is_corrupt:
            self.world.broadcast(self, message)

    def send(self, to: int, message: ConsensusMessage) -> None:
        if self.habit is not None and self.is_corrupt:
            self.habit.send(self, to, message)
        elif not self.face or self.is_corrupt:
            self.world.send(self, to, message)

    def sign(self, effect: effects.Sign | effects.Propose) -> None:
        try:
            if isinstance(effect, effects.Sign):
                self.queue.append(events.Signed(self.signer.vote(effect.statement)))
            else:
                digest, proposal = self.signer.propose(self.simplex.epoch, effect.view, effect.block)
                self.queue.append(events.Proposed(proposal, digest))
        except GuardError as error:
            self.world.watch.refused(self, error)

    def settle(self, blocks: tuple[Block, ...], certificate: Certificate) -> None:
        try:
            for block in blocks:
                self.ledger.check(block, block.digest)
            self.ledger.settle(blocks, certificate)
        except InvalidBlock as error:
            self.world.watch.fail(f"node {self.number}: a certified block is invalid: {error}")
        last = blocks[-1].header
        self.world.watch.settled(self, len(blocks))
        self.store.finalized(epoch=last.epoch, view=certificate.view, height=last.height)
        self.signer.forget(last.epoch, certificate.view)
        if last.height % REPORTS_EVERY == 0:
            for report in self.ledger.reports():
                self.world.gossip(self, report)

    def fault(self, block: Block, digest: bytes) -> str | None:
        try:
            self.ledger.check(block, digest)
        except InvalidBlock as error:
            return str(error)
        return None

    def build(self, wanted: effects.Build) -> None:
        if (self.simplex.epoch, self.simplex.view) != (wanted.epoch, wanted.view):
            return
        alpha = beacon_input(self.world.params.chain_id, wanted.parent.beacon, wanted.view)
        # The two faces of a traitor make different blocks.
        stamp = max(self.clock(), wanted.parent.timestamp_ms + 1) + self.face
        request = BuildRequest(
            wanted.parent_digest, wanted.epoch, wanted.view, stamp, self.key.public_key,
            self.signer.prove(alpha),
        )  # fmt: skip
        if self.habit is not None and self.is_corrupt:
            block = self.habit.make(self, request)
            if block is None:
                return
        else:
            block = self.ledger.make(request)
        self.handle(events.Built(wanted.epoch, wanted.view, block, block.digest))

    def take_transaction(self, signed: SignedTransaction) -> None:
        self.ledger.take_transaction(signed)

    def catch_up(self, blocks: tuple[Block, ...], certificate: Certificate) -> None:
        """Sync brought blocks that are proven final."""
        blocks = tuple(block for block in blocks if block.header.height > self.height)
        if not blocks:
            return
        if blocks[0].header.parent != self.ledger.final_head.digest:
            self.world.watch.fail(f"node {self.number}: a certified block conflicts at {self.height}")
        epoch = self.simplex.epoch
        self.settle(blocks, certificate)
        if self.world.params.epoch_of(self.height + 1) != epoch:
            self.start_epoch()
        else:
            self.handle(events.Advanced(blocks[-1].header, certificate.digest, certificate))
