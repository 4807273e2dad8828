"""Runs the protocol: the shell that turns frames, clocks and disks into events and performs the effects.

    frames, timers, fetched bodies, synced batches ──► one bounded queue ──► one task
        decode, sort by epoch, drop what is known, verify ──► Simplex.step ──► effects, in order

The one task owns the protocol state, the signer and the ledger's writes; so an effect is done before the
next begins, and what was signed is on disk before it is sent.
"""

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

import trio

from chain.database.interface import DatabaseError
from chain.execution.invalid import InvalidBlock
from chain.msgpack_reader import DecodeError
from chain.types.block import Block, beacon_input
from chain.types.evidence import Evidence
from consensus.alarms import Alarms
from consensus.fetcher import Fetcher
from consensus.halting import Halted, HaltReason, disk_halt
from consensus.inputs import EngineSettings, Found, Input, Synced, WatchOver
from consensus.ledger import BuildRequest, Ledger
from consensus.messages import (
    Certificate,
    ConsensusMessage,
    Vote,
    encode_message,
)
from consensus.opening import open_epoch
from consensus.reception import Reception
from consensus.safe_store import Journal, SafeStore
from consensus.shelf import Shelf
from consensus.signing.signer import Signer
from consensus.signing.signing_guard import GuardError
from consensus.simplex import effects, events
from consensus.simplex.effects import Effect
from consensus.simplex.events import Event
from consensus.simplex.protocol import Simplex
from consensus.simplex.tree import SafetyViolation
from consensus.sync.block_sync import Sync
from consensus.sync.requests import LIE_WEIGHT
from consensus.verifier import Distrust, Lie, Verifier
from consensus.watch import Watch
from p2p.network import Inbound, Lane, Network, PeerConnected, PeerEvent, PeerId

log = logging.getLogger(__name__)

_T = TypeVar("_T")

QUEUE: Final = 64
"""Inputs that wait for the one task; a full queue slows down whoever fills it."""


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """What a status page shows."""

    epoch: int
    view: int
    final_height: int
    is_member: bool
    """Whether our key has seats in this epoch."""
    leader: bytes
    """Consensus key of the current view's leader."""


class Engine:
    """One node's part in consensus.

    The node hands over every frame of `Lane.CONSENSUS` with `receive` and every `PeerEvent` with
    `peer_event`; the engine sends on the same lane and registers its request handlers on ``network``.
    """

    def __init__(
        self,
        *,
        network: Network,
        ledger: Ledger,
        journal: Journal,
        signer: Signer | None,
        now_ms: Callable[[], int],
        settings: EngineSettings | None = None,
    ) -> None:
        """Take the node's parts; ``signer`` is None for a node that only follows, ``now_ms`` is its clock."""
        self.on_evidence: Callable[[Evidence], None] = lambda _evidence: None
        """Told of each key that is proven to have contradicted itself, once an epoch."""
        self._network, self._ledger, self._signer, self._now_ms = network, ledger, signer, now_ms
        self._settings = settings or EngineSettings()
        self._watch = Watch(signer, heights=self._settings.watch_heights, params=ledger.params)
        self._chain_id = ledger.params.chain_id
        self._store = SafeStore(journal)
        self._simplex = self._new_instance()
        self._events: deque[Event] = deque()
        self._inputs_in, self._inputs = trio.open_memory_channel[Input](QUEUE)
        self._verifier = Verifier(
            self._chain_id, signer, now_ms=now_ms, max_clock_ahead_ms=self._settings.max_clock_ahead_ms
        )
        timeout = self._settings.request_timeout
        shelf = Shelf(ledger, lambda: self._simplex)
        self._fetcher = Fetcher(
            network, found=self._deliver_found, shelf=shelf.answer, timeout=timeout,
            max_block_bytes=ledger.params.max_block_bytes,
        )  # fmt: skip
        self._sync = Sync(
            network, ledger, self._deliver_synced,
            request_timeout=timeout, poll_interval=self._settings.poll_interval,
        )  # fmt: skip
        self._reception = Reception(network, ledger, epoch=self._next_epoch(), hint=self._sync.hint)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Take part until cancelled.

        Raises:
            Halted: With any of the reasons of `HaltReason`; the node must stop.
        """
        self._fetcher.register()
        self._sync.register()
        halted: Halted | None = None
        async with trio.open_nursery() as nursery:
            self._nursery, self._alarms = nursery, Alarms[Input](nursery, self._inputs_in.send)
            nursery.start_soon(self._sync.run)
            nursery.start_soon(self._watch_out)
            try:
                await self._start_epoch()
                task_status.started()
                async for item in self._inputs:
                    await self._take(item)
            except Halted as error:
                log.critical("event=halted reason=%s", error)
                halted = error
                nursery.cancel_scope.cancel()
        if halted is not None:
            raise halted

    async def _watch_out(self) -> None:
        await self._watch.run(
            network=self._network, instance=lambda: self._simplex,
            is_behind=lambda: not self._sync.is_level, over=lambda: self._inputs_in.send(WatchOver()),
        )  # fmt: skip

    async def _begin_to_sign(self) -> None:
        """Nobody else has our key: start the instance anew, as a member, with all that was seen so far."""
        await self._durably(self._watch.end)
        await self._durably(partial(self._store.save, self._simplex.to_keep(), ()))
        log.info("event=signing view=%d", self._simplex.view)
        await self._start_epoch()

    async def receive(self, frame: Inbound) -> None:
        """Queue one frame of the consensus lane; waits while the queue is full."""
        await self._inputs_in.send(frame)

    async def peer_event(self, event: PeerEvent) -> None:
        """Tell that a peer came or went."""
        await self._inputs_in.send(event)

    def status(self) -> EngineStatus:
        """Where we are."""
        now, height = self._simplex, self._ledger.final_head.height
        return EngineStatus(now.epoch, now.view, height, now.is_member, now.leader(now.view))

    def sync_status(self) -> str:
        """What is fetched, what it waits for and from whom; empty if nobody is known to be ahead."""
        return self._sync.describe()

    def _next_epoch(self) -> int:
        return self._ledger.params.epoch_of(self._ledger.final_head.height + 1)

    def _new_instance(self) -> Simplex:
        # Until the watch is over we take part as an observer does.
        signer = self._watch.signer
        return Simplex(open_epoch(self._ledger, None if signer is None else signer.public_key))

    async def _start_epoch(self) -> None:
        self._events.clear()
        self._fetcher.forget_keys()
        simplex, signer = self._new_instance(), self._watch.signer
        above = self._ledger.final_head.height
        saved = await self._durably(partial(self._store.load, epoch=simplex.epoch, above=above))
        resume = None if signer is None else partial(signer.resume, simplex.epoch, floor=simplex.floor)
        own = ((), ()) if resume is None else await self._durably(resume)
        self._simplex = simplex
        log.info("event=epoch_started epoch=%d height=%d member=%s", simplex.epoch, above, simplex.is_member)
        held = self._reception.enter(simplex.epoch)
        await self._step(events.Resumed(saved.certificates, saved.blocks, *own))
        for origin, message in held:
            await self._on_message(origin, message)

    async def _take(self, item: Input) -> None:
        match item:
            case Inbound():
                await self._on_frame(item)
            case PeerConnected(peer):
                self._sync.hint(peer)
                await self._step(events.PeerJoined(peer))
            case events.TimerFired():
                await self._step(item)
            case effects.Build():
                await self._build(item)
            case Found():
                await self._on_found(item)
            case Synced():
                await self._on_synced(item)
            case WatchOver():
                await self._begin_to_sign()

    async def _on_frame(self, frame: Inbound) -> None:
        try:
            message = self._reception.read(frame, self._simplex)
        except DecodeError as error:
            self._blame(frame.peer, f"malformed consensus frame: {error}")
            return
        if message is not None:
            await self._on_message(frame.peer, message)

    async def _on_message(self, origin: PeerId, message: ConsensusMessage) -> bool:
        """Cheap checks first: epoch, then whether it is news, then signatures. False if it was a lie."""
        if message.epoch != self._simplex.epoch or self._simplex.knows(origin, message):
            return True
        try:
            event = self._verifier.check(self._simplex, origin, message)
        except Lie as lie:
            self._blame(origin, str(lie))
            return False
        except Distrust as doubt:
            log.warning("event=message_doubted peer=%s reason=%s", origin, doubt)
            return True
        if event is not None:
            if isinstance(message, Vote):
                self._fetcher.learn(message.signer, origin)
            await self._step(event)
        return True

    def _blame(self, peer: PeerId, reason: str) -> None:
        log.warning("event=peer_wrong peer=%s reason=%s", peer, reason)
        self._network.report(peer, reason, weight=LIE_WEIGHT)

    async def _step(self, event: Event) -> None:
        """Take an event and all that follow from it at once."""
        self._events.append(event)
        while self._events:
            simplex = self._simplex
            try:
                for effect in simplex.step(self._events.popleft()):
                    await self._perform(effect)
            except SafetyViolation as error:
                for evidence in error.evidence:
                    self.on_evidence(evidence)
                raise Halted(HaltReason.SAFETY_VIOLATED, str(error)) from error
            if simplex.done and simplex is self._simplex:
                await self._start_epoch()

    async def _perform(self, effect: Effect) -> None:
        match effect:
            case effects.Sign() | effects.Propose() | effects.Save():
                await self._durably(partial(self._write, effect))
            case effects.Validate(block, digest):
                self._events.append(events.Validated(digest, await self._fault(block)))
            case effects.Finalize(blocks, certificate):
                await self._finalize(blocks, certificate)
                self._watch.saw_height()
            case _:
                self._perform_now(effect)

    def _perform_now(self, effect: Effect) -> None:
        """What neither writes nor waits."""
        match effect:
            case effects.Broadcast(message):
                self._network.broadcast(Lane.CONSENSUS, encode_message(message))
            case effects.Send(to, message):
                self._network.send(to, Lane.CONSENSUS, encode_message(message))
            case effects.SetTimer(timer, epoch, view, delay_ms):
                self._alarms.set(timer, delay_ms, events.TimerFired(timer, epoch, view))
            case effects.Build():
                self._set_build(effect)
            case effects.Fetch():
                self._nursery.start_soon(self._fetcher.fetch, effect)
            case effects.Report(origin, reason):
                self._blame(origin, reason)
            case effects.Accuse(evidence):
                self.on_evidence(evidence)

    def _write(self, effect: effects.Sign | effects.Propose | effects.Save) -> None:
        """What has to be on disk before anything else happens."""
        try:
            if isinstance(effect, effects.Save):
                self._store.save(effect.certificates, effect.blocks)
                return
            assert self._signer is not None, "an observer was asked to sign"
            if isinstance(effect, effects.Sign):
                self._events.append(events.Signed(self._signer.vote(effect.statement)))
            else:
                digest, proposal = self._signer.propose(self._simplex.epoch, effect.view, effect.block)
                self._events.append(events.Proposed(proposal, digest))
        except GuardError as error:
            # After a restart the guard may know more than the journal gave back; it has the last word.
            log.warning("event=guard_refused reason=%s", error)

    async def _durably(self, work: Callable[[], _T]) -> _T:
        """Do what waits for the disk. Only the one task uses what the work uses, and it waits here."""
        try:
            return await self._settings.durably(work)
        except (OSError, DatabaseError, DecodeError) as error:
            raise disk_halt(error) from error

    async def _fault(self, block: Block) -> str | None:
        try:
            await self._ledger.validate(block)
        except InvalidBlock as error:
            return str(error)
        return None

    async def _finalize(self, blocks: tuple[Block, ...], certificate: Certificate) -> None:
        last = blocks[-1].header
        try:
            for block in blocks:
                # One at a time, so that a long batch does not keep everyone else from running.
                await self._ledger.validate(block)
            await self._ledger.finalize(blocks, certificate)
        except InvalidBlock as error:
            raise Halted(HaltReason.CERTIFIED_BLOCK_INVALID, f"height {last.height}: {error}") from error
        except (OSError, DatabaseError) as error:
            raise disk_halt(error) from error
        self._store.finalized(epoch=last.epoch, view=certificate.view, height=last.height)
        if self._signer is not None and self._signer.is_full:
            await self._durably(partial(self._signer.forget, last.epoch, certificate.view))
        log.info(
            "event=finalized height=%d epoch=%d view=%d block=%s",
            last.height, last.epoch, certificate.view, certificate.digest.hex(),
        )  # fmt: skip

    def _set_build(self, effect: effects.Build) -> None:
        """A leader waits for the interval after its parent, but never longer, whatever the clocks say."""
        interval = self._ledger.params.block_interval_ms
        due = effect.parent.timestamp_ms + interval - self._now_ms()
        self._alarms.set(effects.Build, min(max(due, 0), interval), effect)

    async def _build(self, wanted: effects.Build) -> None:
        if (self._simplex.epoch, self._simplex.view) != (wanted.epoch, wanted.view):
            return
        assert self._signer is not None, "an observer was asked to build"
        alpha = beacon_input(self._chain_id, wanted.parent.beacon, wanted.view)
        request = BuildRequest(
            parent=wanted.parent_digest,
            epoch=wanted.epoch,
            view=wanted.view,
            timestamp_ms=max(self._now_ms(), wanted.parent.timestamp_ms + 1),
            proposer=self._signer.public_key,
            vrf_proof=self._signer.prove(alpha),
        )
        block = await self._ledger.build(request)
        await self._step(events.Built(wanted.epoch, wanted.view, block, block.digest))

    async def _deliver_found(
        self, origin: PeerId, wanted: effects.Fetch, blocks: tuple[Block, ...],
        certificates: tuple[Certificate, ...],
    ) -> None:  # fmt: skip
        await self._inputs_in.send(Found(origin, wanted, blocks, certificates))

    async def _on_found(self, found: Found) -> None:
        for block in found.blocks:
            if self._simplex.epoch == found.wanted.epoch:
                await self._step(events.BlockFetched(block, block.digest))
        for certificate in found.certificates:
            if not await self._on_message(found.origin, certificate):
                break  # One lie is enough: each costs a quorum of signatures to see through.
            await trio.lowlevel.checkpoint()

    async def _deliver_synced(self, blocks: tuple[Block, ...], certificate: Certificate) -> None:
        item = Synced(blocks, certificate, trio.Event())
        await self._inputs_in.send(item)
        await item.applied.wait()

    async def _on_synced(self, item: Synced) -> None:
        height = self._ledger.final_head.height
        blocks = tuple(block for block in item.blocks if block.header.height > height)
        if blocks:
            if blocks[0].header.parent != self._ledger.final_head.digest:
                raise Halted(
                    HaltReason.SAFETY_VIOLATED, f"a certified block conflicts with final height {height}"
                )
            self._verifier.check_seals(item.certificate, self._ledger.committee(item.certificate.epoch))
            await self._finalize(blocks, item.certificate)
            last = blocks[-1].header
            if self._next_epoch() != self._simplex.epoch:
                await self._start_epoch()
            else:
                await self._step(events.Advanced(last, item.certificate.digest, item.certificate))
        item.applied.set()
