"""The states at the ends of the newest epochs, kept for those who begin with one.

A state is a tree that shares what did not change with the next: keeping an old one costs what was changed
since. After a restart the newest is made again from the undo records.
"""

from typing import Final

from chain.state.tree import StateTree
from chain.store import BlockStore
from chain.types.params import ChainParams

KEPT: Final = 2
"""Epochs: whoever began to fetch the older one when the newer came has an epoch's time to finish."""


class EpochSnapshots:
    """Implements `consensus.sync.snapshots.Snapshots` over the store."""

    def __init__(self, store: BlockStore, params: ChainParams) -> None:
        self._store = store
        self._params = params
        self._trees: dict[int, StateTree] = {}
        height = store.head.height
        if height >= params.epoch_length:
            ended = params.epoch_of(height + 1) - 1
            tree = store.state_at(params.last_height(ended))
            if tree is not None:
                self._trees[ended] = tree

    def epochs(self) -> tuple[int, ...]:
        """Epochs whose final states are here, newest first."""
        return tuple(sorted(self._trees, reverse=True))

    def tree(self, epoch: int) -> StateTree | None:
        """The state at the end of an epoch."""
        return self._trees.get(epoch)

    def advanced(self) -> None:
        """The chain has a new head; keep its state if it ends an epoch."""
        head = self._store.head
        if head.height and head.height == self._params.last_height(head.epoch):
            self._trees[head.epoch] = self._store.state
            self._trees = {epoch: self._trees[epoch] for epoch in self.epochs()[:KEPT]}
