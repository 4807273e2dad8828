"""One simulated machine: what is durable, and the protocol with its effects performed at once."""

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from chain.execution.invalid import InvalidBlock
from chain.types.block import Block
from consensus import effects, events
from consensus.admission import Admission, Place
from consensus.ledger import BuildRequest
from consensus.messages import Certificate, ConsensusMessage, Hearsay, Vote
from consensus.opening import open_epoch
from consensus.requests import MAX_BLOCKS, BlocksRequest, BlocksResponse
from consensus.safe_store import SafeStore
from consensus.signer import Signer
from consensus.signing_guard import GuardError, SigningGuard, create_log, open_log
from consensus.simplex import Simplex
from p2p.network import PeerId
from tests.consensus.batches import make_batch
from tests.consensus.fakes import CHAIN_ID, ChainTwin, MemoryJournal, PowerCut, SimDisk, TagKey

if TYPE_CHECKING:
    from tests.consensus.world import World

_SYNC_EVERY_MS = 1000


class Node:
    """One machine, or one face of a two-faced one. Tests plant bugs by overriding its methods."""

    machine: type[Simplex] = Simplex

    def __init__(self, world: "World", number: int, key: TagKey, *, face: int | None = None) -> None:
        self.world, self.number, self.key, self.face = world, number, key, face
        self.name = PeerId(str(number))
        self.disk, self.journal = SimDisk(), MemoryJournal()
        self.chain = ChainTwin(world.params, world.committees)
        self.life = 0
        self.is_up = False
        self.next_sync = 0

    @property
    def is_honest(self) -> bool:
        return self.face is None

    def boot(self) -> None:
        self.is_up = True
        self.life += 1
        self.disk.locked = False
        self.next_sync = 0
        self.chain = self.chain.restarted()
        self.store = SafeStore(self.journal)
        self.queue: deque[events.Event] = deque()
        self.admission = Admission(0, answer_every_ms=2000)
        self.signer = Signer(self.key, self.open_guard(), chain_id=CHAIN_ID, prove=lambda _: bytes(80))
        self.alive(self.start_epoch)

    def open_guard(self) -> SigningGuard:
        opened = create_log if self.disk.data is None else open_log
        return opened(self.disk, chain_id=CHAIN_ID, public_key=self.key.public_key)

    def alive(self, action: Callable[[], None]) -> None:
        """Run ``action``; a power cut in the middle of it ends this life."""
        try:
            action()
        except PowerCut:
            self.world.crashed(self)

    def start_epoch(self) -> None:
        setting = open_epoch(self.chain, self.key.public_key)
        self.simplex = self.machine(setting)
        saved = self.store.load(epoch=setting.epoch, above=setting.base.height)
        own = self.signer.resume(setting.epoch)
        held = self.admission.enter(setting.epoch)
        self.queue.clear()
        self.queue.append(events.Resumed(saved.certificates, saved.blocks, *own))
        self.drain()
        for origin, message in held:
            self.receive(origin, message, None)

    def receive(self, origin: PeerId, message: ConsensusMessage, digest: bytes | None) -> None:
        place = self.admission.sort(origin, message, now_ms=self.world.now)
        if place is Place.STUCK:
            end = self.chain.finalization(self.chain.params.last_height(message.epoch))
            assert end is not None
            self.world.send(self, int(origin), end)
        elif place in (Place.HELD, Place.AHEAD) and self.world.now >= self.next_sync:
            self.next_sync = self.world.now + _SYNC_EVERY_MS
            self.follow(self.world.nodes[int(origin)])
        if place is not Place.NOW or self.simplex.knows(origin, message):
            return
        if isinstance(message, Vote):
            self.handle(events.VoteSeen(origin, message))
        elif isinstance(message, Certificate):
            self.handle(events.CertificateSeen(origin, message))
        elif isinstance(message, Hearsay):
            self.handle(events.HearsaySeen(self.simplex.news(message)))
        else:
            self.handle(events.ProposalSeen(origin, message, digest or message.block.digest))

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

    def perform(self, effect: effects.Effect) -> None:  # noqa: C901 - a table
        world = self.world
        match effect:
            case effects.Broadcast(message):
                world.broadcast(self, message)
            case effects.SetTimer(timer, epoch, view, delay_ms):
                fired = events.TimerFired(timer, epoch, view)
                world.later(delay_ms, self, lambda: self.handle(fired))
            case effects.Sign() | effects.Propose():
                self.sign(effect)
            case effects.Save(certificates, blocks):
                self.store.save(certificates, blocks)
            case effects.Validate(block, digest):
                self.queue.append(events.Validated(digest, self.fault(block, digest)))
            case effects.Build():
                interval = self.chain.params.block_interval_ms
                wait = effect.parent.timestamp_ms + interval - world.now
                world.later(min(max(0, wait), interval), self, lambda: self.build(effect))
            case effects.Finalize(blocks, certificate):
                self.settle(blocks, certificate)
            case effects.Fetch():
                world.fetch(self, effect)
            case effects.Send(to, message):
                world.send(self, int(to), message)
            case effects.Accuse(evidence):
                world.accusations.append((self.number, evidence))
            case effects.Report(origin, reason):
                world.reports.append((self.number, int(origin), reason))

    def sign(self, effect: effects.Sign | effects.Propose) -> None:
        try:
            if isinstance(effect, effects.Sign):
                self.queue.append(events.Signed(self.signer.vote(effect.statement)))
            else:
                digest, proposal = self.signer.propose(self.simplex.epoch, effect.view, effect.block)
                self.queue.append(events.Proposed(proposal, digest))
        except GuardError as error:
            self.world.refusals.append((self.number, error))

    def settle(self, blocks: tuple[Block, ...], certificate: Certificate) -> None:
        self.chain.settle(blocks, certificate)
        self.world.settled(self, len(blocks))
        last = blocks[-1].header
        self.store.finalized(epoch=last.epoch, view=certificate.view, height=last.height)

    def fault(self, block: Block, digest: bytes) -> str | None:
        try:
            self.chain.check(block, digest)
        except InvalidBlock as error:
            return str(error)
        return None

    def build(self, wanted: effects.Build) -> None:
        if (self.simplex.epoch, self.simplex.view) != (wanted.epoch, wanted.view):
            return
        # The two faces of a traitor make different blocks.
        stamp = max(self.world.now, wanted.parent.timestamp_ms + 1) + (self.face or 0)
        block = self.chain.make(BuildRequest(
            wanted.parent_digest, wanted.epoch, wanted.view, stamp, self.key.public_key, bytes(80)
        ))  # fmt: skip
        self.handle(events.Built(wanted.epoch, wanted.view, block, block.digest))

    def final_blocks(self, peer: "Node") -> BlocksResponse | None:
        """What ``peer`` answers to our question for blocks; signatures are not checked in this world."""
        return make_batch(peer.chain, BlocksRequest(self.chain.final_head.height + 1, MAX_BLOCKS))

    def follow(self, peer: "Node") -> None:
        """Take batches from ``peer`` as long as they bring anything."""

        def take(batch: BlocksResponse | None) -> None:
            if self.take_batch(batch):
                self.follow(peer)

        self.world.ask(self, peer, self.final_blocks, take)

    def take_batch(self, batch: BlocksResponse | None) -> bool:
        height = self.chain.final_head.height
        if batch is None or batch.bridge or batch.blocks[0].header.height != height + 1:
            return False
        epoch = self.simplex.epoch
        self.settle(batch.blocks, batch.certificate)
        if self.chain.params.epoch_of(self.chain.final_head.height + 1) != epoch:
            self.start_epoch()
        else:
            certificate = batch.certificate
            self.handle(events.Advanced(batch.blocks[-1].header, certificate.digest, certificate))
        return True
