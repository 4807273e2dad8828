"""Beginning with a state instead of with the first block, and trusting the genesis file alone.

    genesis committee ──► ends of epochs, one certificate each ──► a header ──► its state root ──► pieces

Ends of epochs are asked for in order and checked one by one; then the newest state that peers offer is asked
for in pieces, of many peers at once. Every piece proves itself on its own (`chain.state.chunks`): whoever
sends a wrong one is known at once, and only that piece is asked for again. What has been checked is on disk;
after a kill, or when the state asked for has grown old, only what differs is asked for.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import trio

from chain.codec import decode, encode
from chain.layout import EpochEnd
from chain.msgpack_reader import DecodeError
from chain.staging import Staging
from chain.state.chunks import ChunkError, Wanted, check_piece, missing
from chain.types.committee import Committee
from chain.types.params import ChainParams
from consensus.sync.crew import Crew
from consensus.sync.light import ProofError, TrustedCommittee, verify_epoch
from consensus.sync.piece_pool import PiecePool
from consensus.sync.requests import HEDGE_SHARE, LIE_WEIGHT, STALL_WEIGHT
from consensus.sync.snapshots import (
    EPOCHS,
    MAX_EPOCHS,
    MAX_EPOCHS_BYTES,
    MAX_OFFERS_BYTES,
    MAX_PIECES_BYTES,
    OFFERS,
    PIECES,
    EpochsRequest,
    EpochsResponse,
    Offers,
    PiecesRequest,
    PiecesResponse,
)
from p2p.network import Network, PeerId, RequestFailed, RequestFailure

log = logging.getLogger(__name__)

ASKED_PLACES: Final = 16
"""Places in one question; a peer that is slow is asked for fewer."""

MAX_WORKERS: Final = 8
"""Peers that are asked for pieces at the same time."""

MAX_FAILURES: Final = 3
"""Questions in a row without an answer, after which a peer is left alone until the next round."""

RECRUIT_SECONDS: Final = 2.0
"""Between two looks for peers that offer the state as well."""

GRACE_SECONDS: Final = 1.0
"""After a first offer, for those of others: nobody waits for the mute."""

PAUSE_SECONDS: Final = 0.5
"""Between two rounds in which nobody could help."""

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class StateSyncSettings:
    """Local choices."""

    least_height: int
    """Nearer states are not worth it: replaying the blocks is as quick, and brings their history."""
    request_timeout: float = 5.0
    patience: float | None = 5.0
    """Seconds in which somebody must offer a state, else it is given up; None waits for ever."""


class StateSync:
    """Brings the state of a late epoch into a staging area."""

    def __init__(
        self,
        network: Network,
        staging: Staging,
        *,
        params: ChainParams,
        genesis_committee: Committee,
        settings: StateSyncSettings,
    ) -> None:
        self._network = network
        self.staging = staging
        """Where it is brought to."""
        self._params = params
        self._committee = genesis_committee
        self._settings = settings
        self._banned: set[PeerId] = set()
        self._troubles: dict[PeerId, str] = {}
        self._target: int | None = None
        self._pool = PiecePool(())
        self.pieces = 0
        """Good pieces so far."""
        self.refused = 0
        """Answers that were lies."""

    async def run(self) -> int | None:
        """The epoch whose final state is in the staging area whole; None if nobody has one worth it.

        Raises:
            DatabaseError: This machine's disk failed.
        """
        settings = self._settings
        began = trio.current_time()
        while True:
            asked = trio.current_time()
            offers = await self._offers()
            target = await self._prove(offers)
            if target is not None:
                self._target = target
                if await self._fetch(target):
                    return target
            elif settings.patience is not None and asked > began + settings.patience:
                # Of a round that began before, a mute peer that was there alone may have taken all the time.
                return None
            await trio.sleep(PAUSE_SECONDS)

    def describe(self) -> str:
        """What it does, and what it waits for, as a sentence."""
        if self._target is None:
            peers = self._network.peers()
            if not peers:
                return "state sync: no peer is connected"
            proven = len(self.staging.ends)
            return (
                f"state sync: {proven} epochs proven, asks {len(peers)} peers for their states{self._why()}"
            )
        height = self._params.last_height(self._target)
        pool = self._pool
        asked = ", ".join(sorted({str(peer) for peer in pool.asked.values()})) or "nobody who has it"
        return (
            f"state sync to height {height}: {len(self.staging.tree)} entries in {self.pieces} pieces are "
            f"here, {len(pool)} pieces known to be missing, waits for {asked}{self._why()}"
        )

    def _why(self) -> str:
        if not self._troubles:
            return ""
        peer, trouble = next(reversed(self._troubles.items()))
        return f"; last trouble: {peer}: {trouble}"

    async def _offers(self) -> dict[PeerId, tuple[int, ...]]:
        """Epochs that each peer says it has the state of; only those that are worth it."""
        offers: dict[PeerId, tuple[int, ...]] = {}

        async def ask(peer: PeerId) -> None:
            answer = await self._ask(peer, OFFERS, b"", Offers, MAX_OFFERS_BYTES)
            if answer is not None:
                least = self._settings.least_height
                worth = [e for e in answer.epochs if self._params.last_height(e) >= least]
                if worth:
                    offers[peer] = tuple(sorted(worth, reverse=True))
                    nursery.cancel_scope.deadline = min(
                        nursery.cancel_scope.deadline, trio.current_time() + GRACE_SECONDS
                    )

        async with trio.open_nursery() as nursery:
            for peer in self._network.peers():
                if peer not in self._banned:
                    nursery.start_soon(ask, peer)
        return offers

    async def _prove(self, offers: dict[PeerId, tuple[int, ...]]) -> int | None:
        """Prove ends of epochs as far as anybody can; the newest one whose state is offered."""
        brought = dict.fromkeys(sorted(offers), 1)
        while True:
            first = len(self.staging.ends)
            able = [p for p, n in brought.items() if n and offers[p][0] >= first and p not in self._banned]
            # Who brought most goes first: how far somebody claims to be says nothing.
            await self._race_for_ends(sorted(able, key=lambda peer: -brought[peer]), brought)
            if len(self.staging.ends) == first:
                break
        proven = [e for peer, es in offers.items() if peer not in self._banned for e in es]
        return max((e for e in proven if e < len(self.staging.ends)), default=None)

    async def _race_for_ends(self, peers: Sequence[PeerId], brought: dict[PeerId, int]) -> None:
        """Ask for the next ends of epochs until somebody brings some, one peer more whenever that takes long.

        Args:
            peers: who is asked, in this order.
            brought: how many ends each brought the last time; changed for those whose answer came in time.
        """
        first = len(self.staging.ends)

        async def ask(peer: PeerId, done: trio.Event) -> None:
            brought[peer] = await self._prove_some(peer, first)
            if brought[peer]:
                nursery.cancel_scope.cancel()
            done.set()

        async with trio.open_nursery() as nursery:
            for peer in peers:
                done = trio.Event()
                nursery.start_soon(ask, peer, done)
                with trio.move_on_after(self._settings.request_timeout / HEDGE_SHARE):
                    await done.wait()

    async def _prove_some(self, peer: PeerId, first: int) -> int:
        """Take one answer's worth of ends, unless another was quicker; how many they were."""
        request = encode(EpochsRequest(first, MAX_EPOCHS))
        answer = await self._ask(peer, EPOCHS, request, EpochsResponse, MAX_EPOCHS_BYTES)
        if answer is None:
            return 0
        committee = self.staging.ends[first - 1].next_committee if first else self._committee
        trusted = TrustedCommittee(first, committee)
        good: list[EpochEnd] = []
        for link in answer.ends:
            try:
                trusted = verify_epoch(link, trusted, params=self._params)
            except ProofError as error:
                self._lie(peer, f"end of epoch {trusted.epoch}: {error}")
                break
            good.append(EpochEnd(link.header, encode(link.certificate), link.next_committee))
            await trio.lowlevel.checkpoint()
        if not answer.ends:
            self._lie(peer, f"no end of epoch {first}, though it offers a later state")
        if good and len(self.staging.ends) == first:
            self.staging.add_ends(good)
        return len(good)

    async def _fetch(self, target: int) -> bool:
        """Ask everybody who has it for the state at the end of an epoch; whether it is here whole."""
        root = self.staging.ends[target].header.state_root
        self._pool = pool = PiecePool(missing(root, self.staging.tree))
        crew = Crew(MAX_WORKERS)

        async def work(peer: PeerId) -> None:
            with crew.place_of(peer):
                await self._work(peer, target, pool, crew)
            if not crew.at_work:
                nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            while not pool.done.is_set():
                offers = await self._offers()
                for peer in crew.hire(sorted(p for p in offers if target in offers[p])):
                    nursery.start_soon(work, peer)
                if not crew.at_work:
                    break
                with trio.move_on_after(RECRUIT_SECONDS):
                    await pool.done.wait()
            nursery.cancel_scope.cancel()
        return self.staging.tree.root == root

    async def _work(self, peer: PeerId, target: int, pool: PiecePool, crew: Crew) -> None:
        """Ask one peer for pieces until all are here, or it is of no use."""
        failures, size = 0, ASKED_PLACES
        while failures < MAX_FAILURES and peer not in self._banned:
            wants = await pool.take(peer, size)
            if not wants:
                return
            request = encode(PiecesRequest(target, tuple(want.place for want in wants)))
            try:
                answer = await self._ask(peer, PIECES, request, PiecesResponse, MAX_PIECES_BYTES)
                if answer is not None:
                    crew.brought(peer, await self._take(peer, wants, answer, pool))
            finally:
                pool.give_back(peer, wants)
            if answer is None:
                failures, size = failures + 1, max(1, size // 4)
                await trio.sleep(PAUSE_SECONDS * failures)
            else:
                # A full answer earns more the next time; who brings less is asked for less.
                brought = len(answer.pieces)
                failures, size = 0, min(ASKED_PLACES, 2 * size if brought == len(wants) else brought + 1)

    async def _take(
        self, peer: PeerId, wants: Sequence[Wanted], answer: PiecesResponse, pool: PiecePool
    ) -> int:
        """Put the good pieces of an answer in their places; how many were still missing."""
        if not 0 < len(answer.pieces) <= len(wants):
            self._lie(peer, f"{len(answer.pieces)} pieces for {len(wants)} places")
            return 0
        changes: dict[bytes, bytes | None] = {}
        found: list[tuple[Wanted, tuple[Wanted, ...]]] = []
        for want, piece in zip(wants, answer.pieces, strict=False):
            if want in pool:
                try:
                    checked = check_piece(piece, want, self.staging.tree)
                except ChunkError as error:
                    self._lie(peer, f"a piece of the state: {error}")
                    break
                changes |= checked.changes
                found.append((want, checked.wanted))
            await trio.lowlevel.checkpoint()
        if changes:
            self.staging.update(changes)
        self.pieces += len(found)
        for want, below in found:
            pool.replace(want, below)
        return len(found)

    async def _ask(
        self, peer: PeerId, method: str, request: bytes, kind: type[_Answer], limit: int
    ) -> _Answer | None:
        try:
            raw = await self._network.request(
                peer, method, request, timeout=self._settings.request_timeout, limit=limit
            )
            return decode(kind, raw, limit=limit)
        except RequestFailed as failure:
            self._troubles.pop(peer, None)
            self._troubles[peer] = str(failure)
            if failure.reason is RequestFailure.TIMED_OUT:
                self._network.report(peer, f"{method}: {failure.detail}", weight=STALL_WEIGHT)
            log.info("event=state_sync_unanswered peer=%s method=%s reason=%s", peer, method, failure)
        except DecodeError as error:
            self._lie(peer, f"malformed answer to {method}: {error}")
        return None

    def _lie(self, peer: PeerId, reason: str) -> None:
        log.warning("event=state_sync_lie peer=%s reason=%s", peer, reason)
        self.refused += 1
        self._banned.add(peer)
        self._troubles.pop(peer, None)
        self._troubles[peer] = reason
        self._network.report(peer, reason, weight=LIE_WEIGHT)
