"""Executing the blocks of a database again, from the oldest state that can be had."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from chain.database.interface import CorruptionError
from chain.execution import queries
from chain.execution.block import execute_block
from chain.execution.header import check_header, check_outcome
from chain.execution.invalid import InvalidBlock
from chain.execution.models import ModelRegistry
from chain.state.tree import StateTree
from chain.store import BlockStore
from chain.types.block import Block, Header
from chain.types.committee import Committee
from genesis.document import GenesisDocument


@dataclass(frozen=True, slots=True)
class Replay:
    """What it takes to execute every block again."""

    models: ModelRegistry
    genesis_state: StateTree


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of it."""

    blocks: int
    note: str
    """Why not every block of the chain was executed; empty if every one was."""
    invalid: str
    """Which block breaks which rule; empty if none does. Nothing above it was executed."""


@dataclass(frozen=True, slots=True)
class _Oldest:
    """Where executing can begin."""

    parent: Header
    state: StateTree
    """After it."""
    why: str
    """Why not further down; empty at genesis."""


def execute_again(
    store: BlockStore, genesis: GenesisDocument, replay: Replay, *, tell: Callable[[int], None]
) -> Replayed:
    """Execute every block that can be; each height that is done is told.

    Raises:
        CorruptionError: A record that must be there is missing, or cannot be read.
    """
    oldest = _oldest(store, replay.genesis_state)
    parent, state = oldest.parent, oldest.state
    first, note = parent.height + 1, ""
    if oldest.why:
        some = f"blocks were executed again from height {first} on"
        note = f"{'no block was executed again' if parent == store.head else some}; {oldest.why}"
    for block, committee in _blocks(store, first):
        base_fee = queries.head(state).next_base_fee
        try:
            context = check_header(
                parent, block, params=genesis.params, committee=committee, base_fee=base_fee
            )
            execution = execute_block(
                state, context, block.transactions, params=genesis.params, models=replay.models
            )
            check_outcome(block.header, execution)
        except InvalidBlock as error:
            return Replayed(block.header.height - first, note, f"height {block.header.height}: {error}")
        parent, state = block.header, execution.state
        tell(parent.height)
    return Replayed(store.head.height - first + 1, note, "")


def _oldest(store: BlockStore, genesis_state: StateTree) -> _Oldest:
    """Go back as far as there are a block, the state before it, and the header of that state.

    Of the heights before the first block at most the ends of epochs have their header left.
    """
    if store.first == 1:
        header = store.header(0)
        if header is None:
            raise CorruptionError("the header of genesis is missing")
        return _Oldest(header, genesis_state, "")
    parent, state = store.head, store.state
    if parent.height >= store.first:
        for height, before in store.states_back():
            header = store.header(height)
            if header is None:
                return _Oldest(parent, state, f"of height {height + 1} the header below it is not here")
            parent, state = header, before
            if height < store.first:
                break
        else:
            return _Oldest(parent, state, f"the state before height {parent.height} is not here")
    return _Oldest(parent, state, f"the blocks before height {store.first} are not here")


def _blocks(store: BlockStore, first: int) -> Iterator[tuple[Block, Committee]]:
    for height in range(first, store.head.height + 1):
        block = store.block(height)
        if block is None:
            raise CorruptionError(f"height {height} is missing")
        committee = store.committee(block.header.epoch)
        if committee is None:
            raise CorruptionError(f"the committee of epoch {block.header.epoch} is missing")
        yield block, committee
