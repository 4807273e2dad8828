"""Whole nodes in one process: real ledger, consensus and signatures on a network and clock in memory."""

from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import trio
import trio.testing

from chain.crypto import vrf
from chain.crypto.ed25519 import SecretKey, derive_seed
from chain.database.memory import MemoryDatabase
from chain.mempool import Mempool
from chain.store import BlockStore
from chain.types.transaction import possession_message
from consensus.engine import Engine
from consensus.signing.disk import FileDisk
from consensus.signing.signer import Signer
from consensus.signing.signing_guard import create_log, open_log
from genesis.document import GenesisDocument
from genesis.presets import COIN, local_testnet_genesis
from genesis.registry import registry_of
from p2p.memory import Link, MemoryHub, open_hub
from p2p.network import PeerId
from tools.node.journal import StoreJournal
from tools.node.ledger import NodeLedger
from tools.node.node import Node, NodeParts
from tools.node.run import create_chain

SEED = bytes(32)
START_MS = 1_700_000_000_000


def consensus_key(index: int) -> SecretKey:
    return SecretKey(derive_seed(SEED, "consensus", index))


def miner_key(index: int) -> SecretKey:
    return SecretKey(derive_seed(SEED, "miner", index))


ALICE = SecretKey(derive_seed(SEED, "account", 0))


def document(validators: int) -> GenesisDocument:
    return local_testnet_genesis(
        validators=[(consensus_key(i).public_key, miner_key(i).public_key) for i in range(validators)],
        balances={
            ALICE.public_key: 1000 * COIN,
            **{miner_key(i).public_key: 1000 * COIN for i in range(validators)},
        },
        timestamp_ms=START_MS,
    )


@dataclass
class Cluster:
    """Nodes that may be killed and started again on what their disks hold."""

    hub: MemoryHub
    genesis: GenesisDocument
    folder: Path
    nursery: trio.Nursery
    nodes: dict[int, Node] = field(default_factory=dict)
    databases: dict[int, MemoryDatabase] = field(default_factory=dict)
    scopes: dict[int, trio.CancelScope] = field(default_factory=dict)
    disks: dict[int, FileDisk] = field(default_factory=dict)

    async def start(self, index: int, *, votes: bool = True) -> Node:
        database = self.databases.get(index)
        database = MemoryDatabase() if database is None else database.reopened()
        self.databases[index] = database
        store = BlockStore.open(database, genesis=self.genesis.digest)
        if store is None:
            store = create_chain(database, self.genesis)
        node = self._node(index, store, votes=votes)
        scope = self.scopes[index] = trio.CancelScope()

        async def live(*, task_status: trio.TaskStatus[None]) -> None:
            with scope:
                await node.run(task_status=task_status)

        await self.nursery.start(live)
        self.nodes[index] = node
        return node

    async def kill(self, index: int) -> None:
        self.hub.leave(peer_of(index))
        self.scopes.pop(index).cancel()
        self.disks.pop(index).close()
        del self.nodes[index]
        await trio.testing.wait_all_tasks_blocked()

    async def reach(self, height: int) -> None:
        """Wait until every node is at ``height``."""
        with trio.fail_after(600):
            for index in sorted(self.nodes):
                await self.nodes[index].wait_beyond(height - 1)

    def _node(self, index: int, store: BlockStore, *, votes: bool) -> Node:
        params = self.genesis.params
        models = registry_of(self.genesis)
        network = self.hub.join(peer_of(index))
        mempool = Mempool(params)
        ledger = NodeLedger(store=store, mempool=mempool, params=params, models=models)
        secret = consensus_key(index)
        disk = self.disks[index] = FileDisk(self.folder / f"{index}.signed")
        engine = Engine(
            network=network, ledger=ledger, journal=StoreJournal(store),
            signer=_signer(secret, disk, params.chain_id) if votes else None, now_ms=clock_ms,
        )  # fmt: skip

        def possess(miner: bytes) -> bytes:
            return secret.sign(possession_message(params.chain_id, miner))

        return Node(
            NodeParts(
                genesis=self.genesis, models=models, store=store, ledger=ledger, mempool=mempool,
                network=network, consensus_key=secret.public_key if votes else None,
                possess=possess if votes else None, now_ms=clock_ms, engine=engine,
            )
        )  # fmt: skip


def _signer(secret: SecretKey, disk: FileDisk, chain_id: str) -> Signer:
    opener = open_log if disk.read() is not None else create_log
    guard = opener(disk, chain_id=chain_id, public_key=secret.public_key)
    return Signer(secret, guard, chain_id=chain_id, prove=lambda alpha: vrf.prove(secret, alpha))


def clock_ms() -> int:
    return START_MS + round(1000 * trio.current_time())


def peer_of(index: int) -> PeerId:
    return PeerId(f"node-{index}")


@asynccontextmanager
async def open_cluster(
    folder: Path,
    validators: int,
    *,
    seed: int = 7,
    watchers: Collection[int] = (),
    change: Callable[[GenesisDocument], GenesisDocument] = lambda d: d,
) -> AsyncIterator[Cluster]:
    """Start ``validators`` nodes on links of 5 to 15 ms; of those, ``watchers`` do not vote."""
    genesis = change(document(validators))
    async with (
        open_hub(rng=Random(seed), link=Link(delay=0.005, jitter=0.01)) as hub,
        trio.open_nursery() as nursery,
    ):
        cluster = Cluster(hub, genesis, folder, nursery)
        for index in range(validators):
            await cluster.start(index, votes=index not in watchers)
        yield cluster
        nursery.cancel_scope.cancel()
    for disk in cluster.disks.values():
        disk.close()
