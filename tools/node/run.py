"""Starting a node: open what is on disk, put the parts together, take part until told to stop.

In this order, so that nothing is half done when something is wrong: configuration and genesis are read, keys
decrypted, the signing log locked, the database checked; only then is a socket opened.
"""

import logging
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

import trio

from chain.crypto.ed25519 import SecretKey
from chain.crypto.keystore import KeystoreError, KeystoreReason, read_key_file
from chain.database.interface import Database
from chain.database.leveldb import LevelDatabase
from chain.execution.genesis import open_genesis_state
from chain.execution.header import genesis_header
from chain.execution.models import ModelRegistry
from chain.mempool import Mempool
from chain.store import BlockStore
from chain.types.block import Block
from chain.types.transaction import possession_message
from consensus.engine import Engine
from consensus.inputs import EngineSettings
from consensus.signing.signer import Signer
from genesis.document import GenesisDocument, GenesisError, read_genesis
from genesis.registry import registry_of
from p2p.config import NetworkConfig
from p2p.identity import load_or_create_identity
from p2p.libp2p_network import Libp2pNetwork, open_network
from p2p.network import MAX_CONSENSUS_FRAME, MAX_TRANSACTIONS_FRAME, Network
from p2p.peers.committee_links import CommitteeLinks
from tools.node.beginning import pruner_for, state_sync_for, undo_blocks
from tools.node.config import NodeConfig
from tools.node.disk import DiskThread, DiskWatch, check_room
from tools.node.journal import StoreJournal
from tools.node.ledger import NodeLedger
from tools.node.links import committee_links
from tools.node.node import Node, NodeParts
from tools.node.scrub import Scrubber
from tools.node.signing import open_signer
from tools.node.storage import open_store
from tools.node.verify import check_whole
from tools.rpc.server import RpcServer, bind

_log = logging.getLogger(__name__)

ADDRESS_BOOK: Final = "peers.json"

_FRAME_OVERHEAD: Final = 1024
"""Bytes of a proposal beside its block, or of a batch beside its transaction."""


@dataclass(frozen=True, slots=True)
class RunningNode:
    """A node that is up, for whoever started it."""

    node: Node
    rpc_url: str
    listen_addresses: tuple[str, ...]


async def run_node(
    config: NodeConfig,
    *,
    password: Callable[[], bytes],
    started: Callable[[RunningNode], None] = lambda _: None,
) -> None:
    """Run a node until SIGINT, SIGTERM or cancellation.

    Args:
        config: The operator's settings.
        password: Asked once if a key file has to be opened.
        started: Told when peers and RPC clients can connect.

    Raises:
        GenesisError, KeystoreError, GuardError, DatabaseError, ForeignDatabase, DiskFullError, Halted,
        OSError: Why it cannot start or go on; each message says what to do.
    """
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_cancel_on_signal, nursery.cancel_scope)
        async with _opened(config, password) as (node, network, links):
            nursery.start_soon(links.run)
            binding = await bind(config.rpc_host, config.rpc_port)
            (config.data_dir / "rpc.addr").write_text(binding.url + "\n", encoding="utf-8")
            await nursery.start(node.run)
            nursery.start_soon(RpcServer(node).serve, binding)
            running = RunningNode(node, binding.url, tuple(network.listen_addrs))
            _log.info(
                "started height=%d rpc=%s p2p=%s", node.head.height, binding.url, running.listen_addresses
            )
            started(running)
            await trio.sleep_forever()


@asynccontextmanager
async def _opened(
    config: NodeConfig, password: Callable[[], bytes]
) -> AsyncIterator[tuple[Node, Libp2pNetwork, CommitteeLinks]]:
    genesis = read_genesis(config.genesis)
    check_frames(genesis)
    models = registry_of(genesis)
    config.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    folders = written_folders(config)
    free = check_room(folders, config.room.floor)
    secrets = _Secrets(config, password)
    consensus = secrets.open(config.consensus_key) if config.consensus_key else None
    identity = (
        secrets.open(config.peer_key).seed
        if config.peer_key
        else load_or_create_identity(config.data_dir / "peer.identity")
    )
    chain_id = genesis.params.chain_id
    signer = (
        open_signer(config.consensus_key, consensus, chain_id=chain_id)
        if config.consensus_key and consensus
        else None
    )
    path = config.data_dir / "chain"
    database, store = _open_chain(path, genesis)
    try:
        book = config.data_dir / ADDRESS_BOOK
        peers = NetworkConfig(
            identity_seed=identity,
            listen=config.listen,
            bootstrap=config.bootstrap,
            chain_tag=genesis.digest,
            advertise=config.advertise,
            address_book=book,
        )
        async with open_network(peers) as network:
            thread = DiskThread()
            settings = EngineSettings(watch_heights=config.watch_heights, durably=thread)
            parts = _assembled(genesis, models, store, signer, consensus, network, settings=settings)
            yield (
                Node(
                    replace(
                        parts,
                        state_sync=state_sync_for(config, genesis, store, network, now_ms=wall_clock_ms()),
                        pruner=pruner_for(config, genesis, store, database, path, durably=thread),
                        scrubber=Scrubber(database),
                        disk=DiskWatch(folders, config.room, thread, lambda: database.failure, free),
                    )
                ),
                network,
                committee_links(
                    network, store, genesis.params, consensus=consensus, chain_tag=genesis.digest,
                    address_book=book, now_ms=wall_clock_ms,
                ),
            )  # fmt: skip
    finally:
        store.close()


def written_folders(config: NodeConfig) -> tuple[Path, ...]:
    """What a running node writes to: its data, and where the signing log lies."""
    return (config.data_dir, *([config.consensus_key.parent] if config.consensus_key else []))


def check_frames(genesis: GenesisDocument) -> None:
    """What the chain allows must fit what peers take, or the first large block would stop its own leader.

    Raises:
        GenesisError: A block or a transaction may be larger than a frame.
    """
    params = genesis.params
    for name, value, frame in (
        ("max_block_bytes", params.max_block_bytes, MAX_CONSENSUS_FRAME),
        ("max_transaction_bytes", params.max_transaction_bytes, MAX_TRANSACTIONS_FRAME),
    ):
        most = frame - _FRAME_OVERHEAD
        if value > most:
            raise GenesisError(f"params.{name}: {value}, this version carries at most {most}")


def _assembled(
    genesis: GenesisDocument,
    models: ModelRegistry,
    store: BlockStore,
    signer: Signer | None,
    consensus: SecretKey | None,
    network: Network,
    *,
    settings: EngineSettings,
) -> NodeParts:
    params = genesis.params
    mempool = Mempool(params)
    ledger = NodeLedger(store=store, mempool=mempool, params=params, models=models, durably=settings.durably)

    def possess(miner: bytes) -> bytes:
        assert consensus is not None, "asked for a possession without a key"
        return consensus.sign(possession_message(params.chain_id, miner))

    engine = Engine(
        network=network,
        ledger=ledger,
        journal=StoreJournal(store),
        signer=signer,
        now_ms=wall_clock_ms,
        settings=settings,
    )
    return NodeParts(
        genesis=genesis,
        models=models,
        store=store,
        ledger=ledger,
        mempool=mempool,
        network=network,
        consensus_key=consensus.public_key if consensus else None,
        possess=possess if consensus else None,
        now_ms=wall_clock_ms,
        engine=engine,
    )


def wall_clock_ms() -> int:
    """Milliseconds since 1970; the one place where the node reads the wall clock."""
    return time.time_ns() // 1_000_000


class _Secrets:
    """Opens key files with one password, asked for at most once."""

    def __init__(self, config: NodeConfig, password: Callable[[], bytes]) -> None:
        self._config = config
        self._ask = password
        self._password: bytes | None = None

    def open(self, path: Path) -> SecretKey:
        if self._password is None:
            self._password = self._read()
        secret, _ = read_key_file(path, self._password)
        return secret

    def _read(self) -> bytes:
        path = self._config.password_file
        if path is None:
            return self._ask()
        if path.stat().st_mode & 0o077:
            raise KeystoreError(
                KeystoreReason.PERMISSIONS, f"{path} is readable by others; run: chmod 600 {path}"
            )
        return path.read_bytes().rstrip(b"\r\n")


def _open_chain(path: Path, genesis: GenesisDocument) -> tuple[LevelDatabase, BlockStore]:
    database, store = open_store(
        path, genesis=genesis.digest, check_whole=partial(check_whole, genesis=genesis)
    )
    store = create_chain(database, genesis) if store is None else store
    store.undo_blocks = undo_blocks(genesis)
    return database, store


def create_chain(database: Database, genesis: GenesisDocument) -> BlockStore:
    """Write height 0 of a chain into an empty database."""
    params, digest = genesis.params, genesis.digest
    state = open_genesis_state(
        params=params,
        balances={balance.account: balance.amount for balance in genesis.balances},
        committee=genesis.committee,
        beacon=digest,
        commons=registry_of(genesis).commons,
    )
    header = genesis_header(
        chain_id=params.chain_id,
        timestamp_ms=genesis.timestamp_ms,
        beacon=digest,
        base_fee=params.base_fee_floor,
        state_root=state.root,
        committee=genesis.committee,
    )
    return BlockStore.create(
        database, genesis=digest, block=Block(header, ()), state=state, committee=genesis.committee
    )


async def _cancel_on_signal(scope: trio.CancelScope) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for number in signals:
            _log.info("stopping signal=%s", signal.Signals(number).name)
            scope.cancel()
            # From here on a second signal does what it does to any program: everything final is on disk.
            return
