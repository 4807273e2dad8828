"""Nodes of one process share what is a pure function of shared values: a block is executed once for all of
them.

What a world is about stays apart for each node: headers, signatures, outcomes against headers, stores,
mempools. One execution in `_REPEATED` is done again all the same and must come out the same, or execution is
not pure.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Final

import chain.store
import tools.node.ledger
from chain.execution.block import Execution, execute_block
from chain.execution.run import BlockContext
from chain.state.tree import StateTree
from chain.types.block import Header
from chain.types.transaction import SignedTransaction

_KEPT: Final = 256
_REPEATED: Final = 16
_CHECKED_AT_START: Final = 8
"""Heights that a start walks; the long walk has tests of its own."""


class ImpureExecution(AssertionError):  # noqa: N818 - reads as a sentence where it is caught
    """The same block on the same state gave two outcomes."""


class _Executions:
    """Outcomes of blocks by what they follow from."""

    def __init__(self) -> None:
        self._known: dict[tuple[bytes, BlockContext, int], tuple[object, Execution]] = {}
        self._used = 0

    def execute(
        self, state: StateTree, context: BlockContext, transactions: Sequence[SignedTransaction], **rules: Any
    ) -> Execution:
        key = (state.root, context, id(transactions))
        found = self._known.get(key)
        if found is None:
            execution = execute_block(state, context, transactions, **rules)
            if len(self._known) >= _KEPT:
                self._known.pop(next(iter(self._known)))
            # The body is kept with it, so that no other can get its address.
            self._known[key] = (transactions, execution)
            return execution
        self._used += 1
        if self._used % _REPEATED == 0:
            again = execute_block(state, context, transactions, **rules)
            if (again.state.root, again.outcome) != (found[1].state.root, found[1].outcome):
                raise ImpureExecution(f"height {context.height} came out twice, and differently")
        return found[1]


@contextmanager
def shared_results() -> Iterator[None]:
    """Share executions and digests among all nodes of the worlds that run inside."""
    before = tools.node.ledger.execute_block, chain.store.CHECKED_AT_START, Header.digest
    tools.node.ledger.execute_block = _Executions().execute
    chain.store.CHECKED_AT_START = _CHECKED_AT_START
    Header.digest = property(lru_cache(maxsize=4096)(before[2].fget))
    try:
        yield
    finally:
        tools.node.ledger.execute_block, chain.store.CHECKED_AT_START, Header.digest = before
