"""One running node: what it holds, what others may ask of it, and how its parts hang together.

```
 peers ── Network ──┬─ consensus lane ──► Engine ──► NodeLedger ──► BlockStore (disk)
                    └─ transactions ────► TransactionGossip ─► Mempool ──┘ (blocks to build)
 people ── RPC ─────────────────────────► Node (reads the store and the state, hands in transactions)
```
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import trio

from chain.codec import encode
from chain.execution.models import ModelRegistry
from chain.mempool import Mempool
from chain.reasons import Reason
from chain.reports import ReportPool
from chain.state.tree import StateTree
from chain.store import BlockStore
from chain.types.block import Block, Header
from chain.types.evidence import Evidence
from chain.types.transaction import ReportEquivocation, SignedTransaction, report_of
from consensus.engine import Engine
from consensus.messages import Certificate
from consensus.sync.light import ChainProof, make_chain_proof
from consensus.sync.serving import paced
from consensus.sync.snapshots import SnapshotServer
from consensus.sync.state_sync import StateSync
from genesis.document import GenesisDocument
from p2p.network import Direction, Inbound, Lane, Network, PeerConnected, PeerEvent
from tools.node.announcement import Announcement
from tools.node.disk import DiskWatch
from tools.node.gossip import TransactionGossip
from tools.node.intake import Intake
from tools.node.ledger import NodeLedger
from tools.node.pruning import Pruner
from tools.node.scrub import Scrubber
from tools.node.snapshots import EpochSnapshots
from tools.rpc.view import NodeStatus, PeerView

_log = logging.getLogger(__name__)

REPORTS_EVERY: Final = 4
"""Blocks after which reports that still wait are passed on again: a peer may have been away or behind."""


@dataclass(frozen=True, slots=True)
class NodeParts:
    """What a node is put together from; each part is made by `tools.node.run`."""

    genesis: GenesisDocument
    models: ModelRegistry
    store: BlockStore
    ledger: NodeLedger
    mempool: Mempool
    network: Network
    consensus_key: bytes | None
    possess: Callable[[bytes], bytes] | None
    """The consensus key's signature that it belongs to a miner."""
    now_ms: Callable[[], int]
    engine: Engine = field(repr=False)
    state_sync: StateSync | None = field(default=None, repr=False)
    """Brings in a state before anything else; only with a store that stands at genesis."""
    pruner: Pruner | None = field(default=None, repr=False)
    scrubber: Scrubber | None = field(default=None, repr=False)
    disk: DiskWatch | None = field(default=None, repr=False)


class Node:
    """A node while it runs; implements `tools.rpc.view.NodeView`."""

    def __init__(self, parts: NodeParts) -> None:
        self._parts = parts
        self._gossip = TransactionGossip(parts.network, self._accept)
        self._intake = Intake(self._gossip.take)
        self._advanced = trio.Event()
        self._born_ms = parts.now_ms()
        self._beginning = parts.state_sync
        self._snapshots = EpochSnapshots(parts.store, parts.genesis.params)
        self._server = SnapshotServer(parts.network, parts.ledger, self._snapshots)
        parts.ledger.on_final = self._on_final
        parts.engine.on_evidence = self._on_evidence

    @property
    def genesis(self) -> GenesisDocument:
        """What the chain is made of."""
        return self._parts.genesis

    @property
    def models(self) -> ModelRegistry:
        """The chain's models."""
        return self._parts.models

    @property
    def store(self) -> BlockStore:
        """The final chain."""
        return self._parts.store

    @property
    def head(self) -> Header:
        """Header of the last final block."""
        return self._parts.store.head

    @property
    def state(self) -> StateTree:
        """State after the last final block."""
        return self._parts.store.state

    @property
    def mempool(self) -> Mempool:
        """Transactions that wait."""
        return self._parts.mempool

    @property
    def reports(self) -> ReportPool:
        """Reports of equivocation that wait for a block."""
        return self._parts.ledger.reports

    @property
    def consensus_key(self) -> bytes | None:
        """The public key that this node votes with, or None if it only verifies."""
        return self._parts.consensus_key

    def status(self) -> NodeStatus:
        """How the node stands now."""
        engine = self._parts.engine.status()
        params = self.genesis.params
        lag = max(0, self._parts.now_ms() - self.head.timestamp_ms)
        return NodeStatus(
            view=engine.view,
            epoch=params.epoch_of(self.head.height + 1),
            lag_ms=lag,
            syncing=self._why_behind(lag),
            disk=self._parts.disk.describe() if self._parts.disk is not None else "",
            committee=self._parts.ledger.committee(params.epoch_of(self.head.height + 1)),
        )

    def peers(self) -> tuple[PeerView, ...]:
        """Connected peers, by id."""
        stats = self._parts.network.stats()
        return tuple(
            PeerView(
                peer=peer.peer,
                address=peer.address,
                inbound=peer.direction is Direction.INBOUND,
                connected_ms=round(1000 * (stats.now - peer.connected_at)),
                bytes_in=peer.bytes_in,
                bytes_out=peer.bytes_out,
                score=peer.score,
                complaint=peer.last_report.reason if peer.last_report else "",
                dropped_consensus=peer.dropped[Lane.CONSENSUS],
                dropped_transactions=peer.dropped[Lane.TRANSACTIONS],
            )
            for peer in stats.peers
        )

    def possession(self, miner: bytes) -> bytes | None:
        """This node's consensus key's signature that it belongs to `miner`; None without such a key."""
        return None if self._parts.possess is None else self._parts.possess(miner)

    async def chain_proof(self, height: int) -> ChainProof | None:
        """What proves the header of a final height to whoever has the genesis file; None for genesis."""
        return await paced(make_chain_proof(self._parts.ledger, height))

    async def submit(self, signed: SignedTransaction) -> Reason:
        """Hand a transaction to the mempool and the peers; `Reason.OK` or why not."""
        reason = self._accept(signed)
        if reason is Reason.OK:
            self._gossip.pass_on(signed)
        await trio.lowlevel.checkpoint()
        return reason

    async def wait_beyond(self, height: int) -> None:
        """Return once a block above ``height`` is final."""
        while self.head.height <= height:
            await self._advanced.wait()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Take part until cancelled."""
        self._server.register()
        if self._beginning is not None:
            # Whoever asks how the node stands is told what it waits for.
            task_status.started()
            task_status = trio.TASK_STATUS_IGNORED
            await self._begin(self._beginning)
        async with trio.open_nursery() as nursery:
            if self._parts.disk is not None:
                nursery.start_soon(self._parts.disk.run)
            if self._parts.pruner is not None:
                nursery.start_soon(self._parts.pruner.run, self)
            if self._parts.scrubber is not None:
                nursery.start_soon(self._parts.scrubber.run)
            await nursery.start(self._parts.engine.run)
            nursery.start_soon(self._read_frames)
            nursery.start_soon(self._read_peer_events)
            nursery.start_soon(self._gossip.run)
            nursery.start_soon(self._intake.run)
            task_status.started()

    async def _begin(self, sync: StateSync) -> None:
        """Start from a late state if there is one; what peers say of the present is of no use yet."""
        async with trio.open_nursery() as nursery:
            if self._parts.disk is not None:
                nursery.start_soon(self._parts.disk.run)
            nursery.start_soon(_discard, self._parts.network.inbound)
            nursery.start_soon(_discard, self._parts.network.events)
            epoch = await sync.run()
            nursery.cancel_scope.cancel()
        if epoch is None:
            sync.staging.clear()
        else:
            self.store.adopt(sync.staging, epoch)
            self._snapshots.advanced()
            _log.info("state adopted epoch=%d height=%d", epoch, self.head.height)
        self._beginning = None

    async def _read_frames(self) -> None:
        async for inbound in self._parts.network.inbound:
            if inbound.lane is Lane.CONSENSUS:
                await self._parts.engine.receive(inbound)
            else:
                self._intake.put(inbound)
                await trio.lowlevel.checkpoint()

    async def _read_peer_events(self) -> None:
        async for event in self._parts.network.events:
            _log.info("peer %s peer=%s", "up" if isinstance(event, PeerConnected) else "down", event.peer)
            await self._parts.engine.peer_event(event)

    def _accept(self, signed: SignedTransaction) -> Reason:
        body = signed.transaction.body
        if isinstance(body, ReportEquivocation):
            return self.reports.add(signed, body, self.state)
        return self._parts.mempool.add(signed, self.state)

    def _on_evidence(self, evidence: Evidence) -> None:
        """Our engine caught a key in a contradiction: report it to all who will build blocks."""
        report = report_of(evidence, chain_id=self.genesis.params.chain_id)
        reason = self._accept(report)
        _log.warning(
            "equivocation key=%s epoch=%d view=%d first=%r second=%r report=%s",
            evidence.signer.hex(), evidence.epoch, evidence.view, str(evidence.first), str(evidence.second),
            reason.name,
        )  # fmt: skip
        if reason is Reason.OK:
            self._gossip.pass_on(report)

    def _on_final(self, blocks: Sequence[Block], certificate: Certificate) -> None:
        self._snapshots.advanced()
        senders = {signed.transaction.sender for block in blocks for signed in block.transactions}
        self._parts.mempool.revalidate(self.state, sorted(senders))
        self.reports.revalidate(self.state)
        if self.head.height % REPORTS_EVERY == 0:
            for report in self.reports.waiting:
                self._gossip.pass_on(report)
        self._parts.network.announce(encode(Announcement(self.head, certificate)))
        self._advanced.set()
        self._advanced = trio.Event()

    def _why_behind(self, lag_ms: int) -> str:
        if self._beginning is not None:
            return self._beginning.describe()
        waits = self._parts.engine.sync_status()
        params = self.genesis.params
        patience = 4 * (params.block_interval_ms + 3 * params.network_delay_ms)
        if self.head.height == 0:
            # A chain may be written down long before it starts; but who hears of no block must say so.
            lag_ms = min(lag_ms, self._parts.now_ms() - self._born_ms)
        if lag_ms <= patience and not (self.head.height == 0 and waits):
            return ""
        late = f"no final block for {lag_ms / 1000:.0f} s"
        peers = self._parts.network.peers()
        if waits:
            return f"catching up: {waits}"
        if not peers:
            return f"{late}: no peer is connected"
        return f"{late}: none of {len(peers)} peers has more than height {self.head.height}; too few vote"


async def _discard(
    channel: trio.MemoryReceiveChannel[Inbound] | trio.MemoryReceiveChannel[PeerEvent],
) -> None:
    async for _ in channel:
        pass
