"""What a node does before it takes part: whether it begins with a state, and how it keeps its disk small."""

from functools import partial
from pathlib import Path
from typing import Final

import trio

from chain.database.leveldb import LevelDatabase
from chain.store import UNDO_BLOCKS, BlockStore
from consensus.signing.disk import Durably
from consensus.sync.state_sync import StateSync, StateSyncSettings
from genesis.document import GenesisDocument
from p2p.network import Network
from tools.node.config import NodeConfig
from tools.node.pruning import Pruner, PruneRule
from tools.node.storage import compact_heights, size_on_disk

LEAST_HEIGHT: Final = 1000
"""A state nearer to genesis than this is not worth it: the blocks are replayed in seconds, and bring their
history."""

MOST_UNDO_BLOCKS: Final = 1 << 14


def undo_blocks(genesis: GenesisDocument) -> int:
    """Blocks that a node can take back: two epochs, so that the end of the last one can be served again."""
    return min(max(UNDO_BLOCKS, 2 * genesis.params.epoch_length), MOST_UNDO_BLOCKS)


def state_sync_for(
    config: NodeConfig, genesis: GenesisDocument, store: BlockStore, network: Network, *, now_ms: int
) -> StateSync | None:
    """The way to a late state, if this node should begin with one.

    Only a node that holds nothing but genesis does: one that has blocks goes on from them. By itself it looks
    for a state only where the chain is old enough to be long, so that a new network starts without delay.
    """
    params = genesis.params
    if store.head.height > 0 or config.state_sync == "never":
        return None
    age = now_ms - genesis.timestamp_ms
    if config.state_sync == "auto" and age < LEAST_HEIGHT * params.block_interval_ms:
        return None
    always = config.state_sync == "always"
    settings = (
        StateSyncSettings(params.epoch_length, patience=None) if always else StateSyncSettings(LEAST_HEIGHT)
    )
    return StateSync(
        network, store.staging().load(), params=params, genesis_committee=genesis.committee, settings=settings
    )


def pruner_for(
    config: NodeConfig,
    genesis: GenesisDocument,
    store: BlockStore,
    database: LevelDatabase,
    path: Path,
    *,
    durably: Durably,
) -> Pruner | None:
    """What keeps the database at `path` as small as its operator wants it."""
    if not config.prune:
        return None
    return Pruner(
        store,
        PruneRule.parse(config.prune),
        genesis.params,
        measure=lambda: size_on_disk(path),
        compact=lambda low, high: compact_heights(database, low, high),
        durably=durably,
        beside=partial(trio.to_thread.run_sync, limiter=trio.CapacityLimiter(1)),
    )
