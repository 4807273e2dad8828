"""A new node among liars: `python -m tests.tools.node.sync_campaign --blocks 10000 --network libp2p`.

One honest peer holds a long chain on disk; four others answer honestly where they do not lie: a forger, a
mute one, a boaster and a trickler (`tests.tools.node.liars`). A node that has the genesis file alone begins
with a state, and then follows to the head. Then another one replays every block, from the honest peer alone.
"""

import argparse
import json
import logging
import random
import resource
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import trio

from chain.database.leveldb import open_leveldb
from chain.database.memory import MemoryDatabase
from consensus.engine import Engine
from consensus.inputs import EngineSettings
from consensus.sync.block_sync import Sync
from consensus.sync.snapshots import SnapshotServer
from consensus.sync.state_sync import StateSync, StateSyncSettings
from genesis.document import GenesisDocument
from p2p.config import NetworkConfig
from p2p.libp2p_network import Libp2pNetwork, open_network
from p2p.memory import Link, open_hub
from p2p.network import Network, PeerId
from tests.tools.node.liars import FOUR, Recorder
from tests.tools.node.long_chain import LongChain, copy_into, document, open_chain
from tools.node.journal import StoreJournal
from tools.node.node import Node, NodeParts
from tools.node.snapshots import EpochSnapshots

TIMEOUT = 5.0


@dataclass
class Figures:
    """What one run took."""

    network: str
    blocks: int
    entries: int
    """Of the state."""
    state_sync_seconds: float = 0.0
    to_the_head_seconds: float = 0.0
    begin_cpu_seconds: float = 0.0
    """Of all six hosts."""
    pieces: int = 0
    lies_found: int = 0
    """During the state sync."""
    banned: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    replay_seconds: float = 0.0
    replay_cpu_seconds: float = 0.0
    """Of both hosts."""
    replay_blocks_per_second: float = 0.0
    replay_blocks_per_cpu_second: float = 0.0


async def make_source(
    folder: Path, blocks: int, *, epoch_length: int, transfers: int, direct: int = 3
) -> None:
    """Make a chain in memory, and write it to disk in large batches."""
    chain = open_chain(MemoryDatabase(), document(epoch_length=epoch_length))
    chain.store.undo_blocks = 2 * epoch_length
    await chain.grow(blocks, transfers=transfers, direct=direct)
    database = open_leveldb(folder)
    copy_into(chain.store._database.iterate(prefix=b""), database)
    database.close()


class Hosts:
    """Makes networks of one kind, each connected to all that were made before it."""

    def __init__(self, kind: str, stack: AsyncExitStack, genesis: GenesisDocument) -> None:
        self._kind, self._stack, self._genesis = kind, stack, genesis
        self._addresses: list[str] = []
        self._hub = None

    async def open(self, name: str, *, to: int | None = None) -> Network:
        """``to`` connects it to the peer of that number alone."""
        if self._kind == "memory":
            if self._hub is None:
                link = Link(delay=0.005, jitter=0.005)
                self._hub = await self._stack.enter_async_context(open_hub(rng=random.Random(1), link=link))
            network = self._hub.join(PeerId(name), connect=to is None)
            if to is not None:
                self._hub.connect(PeerId(name), PeerId(self._addresses[to]))
            self._addresses.append(name)
            return network
        settings = NetworkConfig(
            identity_seed=random.Random(name).randbytes(32),
            chain_tag=self._genesis.digest,
            bootstrap=tuple(self._addresses if to is None else self._addresses[to : to + 1]),
        )
        network = await self._stack.enter_async_context(open_network(settings))
        assert isinstance(network, Libp2pNetwork)
        self._addresses.append(network.listen_addrs[0])
        return network


async def met(network: Network, peers: int) -> None:
    """Wait until a network knows so many peers."""
    with trio.fail_after(30):
        async for _ in network.events:
            if len(network.peers()) >= peers:
                return


def serve(network: Network, source: LongChain, lies: dict | None = None) -> None:
    """Answer as a node with this chain does, but for the lies."""
    params = source.genesis.params

    async def nothing(_blocks: object, _certificate: object) -> None:
        raise AssertionError("nobody syncs here")

    recorder = Recorder()
    SnapshotServer(recorder, source.ledger, EpochSnapshots(source.store, params)).register()
    Sync(recorder, source.ledger, nothing, request_timeout=TIMEOUT, poll_interval=5.0).register()
    recorder.serve(network, lies or {})


def beginner(network: Network, chain: LongChain, *, with_state: bool, timeout: float = TIMEOUT) -> Node:
    """A whole node, without a key, on a chain that stands at genesis."""
    params = chain.genesis.params
    settings = StateSyncSettings(params.epoch_length, request_timeout=timeout, patience=None)
    engine = Engine(
        network=network, ledger=chain.ledger, journal=StoreJournal(chain.store), signer=None,
        now_ms=lambda: time.time_ns() // 1_000_000,
        settings=EngineSettings(request_timeout=timeout, poll_interval=1.0),
    )  # fmt: skip
    state_sync = StateSync(
        network, chain.store.staging().load(), params=params, genesis_committee=chain.genesis.committee,
        settings=settings,
    )  # fmt: skip
    return Node(
        NodeParts(
            genesis=chain.genesis, models=chain.ledger._models, store=chain.store, ledger=chain.ledger,
            mempool=chain.mempool, network=network, consensus_key=None, possess=None,
            now_ms=lambda: time.time_ns() // 1_000_000, engine=engine,
            state_sync=state_sync if with_state else None,
        )
    )  # fmt: skip


async def follow(node: Node, height: int) -> tuple[float, float]:
    """Seconds until it has adopted a state, and until it is at a height."""
    began = trio.current_time()
    adopted = 0.0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(node.run)
        while node.head.height < height:
            await trio.sleep(0.02)
            if node.head.height and not adopted:
                adopted = trio.current_time() - began
        nursery.cancel_scope.cancel()
    return adopted, trio.current_time() - began


@asynccontextmanager
async def fresh_chain(folder: Path, genesis: GenesisDocument) -> AsyncIterator[LongChain]:
    database = open_leveldb(folder)
    try:
        yield open_chain(database, genesis)
    finally:
        database.close()


async def campaign(folder: Path, *, kind: str, epoch_length: int) -> Figures:
    """Run both parts over the chain in ``folder / "source"``."""
    genesis = document(epoch_length=epoch_length)
    database = open_leveldb(folder / "source")
    source = open_chain(database, genesis)
    figures = Figures(kind, source.store.head.height, len(source.store.state))
    async with AsyncExitStack() as stack:
        hosts = Hosts(kind, stack, genesis)
        serve(await hosts.open("honest"), source)
        for name, lies in FOUR.items():
            serve(await hosts.open(name), source, lies)
        await _begin(await hosts.open("beginner"), source, folder / "beginner", figures)
    async with AsyncExitStack() as stack:
        hosts = Hosts(kind, stack, genesis)
        serve(await hosts.open("honest"), source)
        await _replay(await hosts.open("replayer"), source, folder / "replayer", figures)
    database.close()
    return figures


async def _begin(network: Network, source: LongChain, folder: Path, figures: Figures) -> None:
    await met(network, 5)
    head = source.store.head
    async with fresh_chain(folder, source.genesis) as chain:
        node = beginner(network, chain, with_state=True)
        sync = node._beginning
        assert sync is not None
        began = time.process_time()
        figures.state_sync_seconds, figures.to_the_head_seconds = await follow(node, head.height)
        figures.begin_cpu_seconds = time.process_time() - began
        assert chain.store.head.digest == head.digest
        assert chain.store.first > 1
    figures.pieces, figures.lies_found = sync.pieces, sync.refused
    stats = network.stats()
    figures.banned = [ban.reports[-1].reason for ban in stats.bans]
    figures.complaints = [peer.last_report.reason for peer in stats.peers if peer.last_report]


async def _replay(network: Network, source: LongChain, folder: Path, figures: Figures) -> None:
    await met(network, 1)
    head = source.store.head
    async with fresh_chain(folder, source.genesis) as chain:
        began = time.process_time()
        _, figures.replay_seconds = await follow(beginner(network, chain, with_state=False), head.height)
        figures.replay_cpu_seconds = time.process_time() - began
        assert chain.store.head.digest == head.digest
        assert chain.store.first == 1
    figures.replay_blocks_per_second = head.height / figures.replay_seconds
    figures.replay_blocks_per_cpu_second = head.height / figures.replay_cpu_seconds


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.tools.node.sync_campaign", description=__doc__)
    parser.add_argument("--blocks", type=int, default=10_000)
    parser.add_argument("--epoch-length", type=int, default=120)
    parser.add_argument("--transfers", type=int, default=6, help="payments in every third block")
    parser.add_argument("--network", choices=("libp2p", "memory"), default="libp2p")
    parser.add_argument("--folder", type=Path, help="where to work; a source that is there is used again")
    options = parser.parse_args(arguments)
    logging.basicConfig(level="ERROR")
    with tempfile.TemporaryDirectory() as made:
        folder = options.folder or Path(made)
        if not (folder / "source").exists():
            folder.mkdir(parents=True, exist_ok=True)
            began = time.process_time()
            trio.run(
                partial(
                    make_source, folder / "source", options.blocks, epoch_length=options.epoch_length,
                    transfers=options.transfers,
                )
            )  # fmt: skip
            print(f"made {options.blocks} blocks in {time.process_time() - began:.1f} s of CPU", flush=True)

        async def run() -> Figures:
            return await campaign(folder, kind=options.network, epoch_length=options.epoch_length)

        figures = trio.run(run)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(json.dumps(asdict(figures), indent=1))
    print(f"peak memory {peak} MiB: six hosts in one process")


if __name__ == "__main__":
    main()
