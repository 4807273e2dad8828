"""The trees of one run, made while it is still running.

A tensor is handed over as soon as it is computed and hashed by another thread during the ops that follow,
while it still lies in a cache. What comes of it does not depend on when.
"""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import Final

import numpy as np

from pouw import merkle
from pouw.binding import SumNode, item_leaf, join_tensors, tensor_place
from pouw.bulk_rows import hash_in_bulk
from pouw.bundles import Bundle
from pouw.hashing import HASH_BYTES
from pouw.program import Program
from pouw.rows import Nodes, RowLeaves, RowTree
from pouw.tensors import Array
from pouw.trace import Trace

HANDED_OVER_BYTES: Final = 1 << 16
"""A smaller tensor is hashed sooner than handed to another thread."""


class SealedTrace:
    """A run as it is committed: the trees of its tensors, and the tree over these.

    Args:
        context: from `pouw.binding.item_context`.
        program: what was run.
        rows: one per tensor: a `RowTree` of those that are bundled with no other.
    """

    def __init__(self, context: bytes, program: Program, rows: Sequence[RowTree | RowLeaves]) -> None:
        self.context = context
        self.program = program
        self.rows = rows
        self.trees = [_nodes(bundle, rows) for bundle in program.bundles.all]
        self.levels = merkle.levels([tree.root for tree in self.trees], join_tensors)
        self.leaf: SumNode = item_leaf(context, self.levels[-1][0], program)

    @property
    def size(self) -> int:
        """Bytes that the nodes of the trees take."""
        return sum(tree.size for tree in self.trees)


def _nodes(bundle: Bundle, rows: Sequence[RowTree | RowLeaves]) -> Nodes:
    lines = []
    for tensor, parts in zip(bundle.tensors, bundle.parts, strict=True):
        own = rows[tensor]
        if isinstance(own, RowTree):
            return own.nodes
        lines.append(np.frombuffer(own.hashes, np.uint8).reshape(bundle.lines, parts * HASH_BYTES))
    return Nodes(hash_in_bulk.levels(np.concatenate(lines, axis=1).tobytes()))


class Sealer:
    """Takes the tensors of a run, in order, and makes their trees.

    Args:
        context: from `pouw.binding.item_context`.
        program: what is run.
        aside: whether large tensors are hashed by another thread, while the run goes on.
    """

    def __init__(self, context: bytes, program: Program, *, aside: bool) -> None:
        self._context = context
        self._program = program
        self._aside = aside
        self._rows: list[RowTree | RowLeaves | Future[RowTree | RowLeaves]] = []

    def take(self, number: int, tensor: Array) -> None:
        """See `pouw.trace.Take`."""
        assert number == len(self._rows), f"tensor {number} after {len(self._rows)}"
        if self._aside and tensor.nbytes >= HANDED_OVER_BYTES:
            self._rows.append(_hasher().submit(self._hashed, number, tensor))
        else:
            self._rows.append(self._hashed(number, tensor))

    def _hashed(self, number: int, tensor: Array) -> RowTree | RowLeaves:
        place = tensor_place(self._program, self._context, tensor=number)
        spec = self._program.tensors[number]
        if len(self._program.bundles.of(number).tensors) == 1:
            return RowTree(*place, spec=spec, array=tensor, hasher=hash_in_bulk)
        return RowLeaves(*place, spec=spec, array=tensor, hasher=hash_in_bulk.leaves)

    def finish(self) -> SealedTrace:
        """Wait for the last tree. All tensors must have been taken."""
        missing = len(self._program.tensors) - len(self._rows)
        assert not missing, f"{missing} tensors were never taken"
        rows = [own.result() if isinstance(own, Future) else own for own in self._rows]
        return SealedTrace(self._context, self._program, rows)


def seal(context: bytes, program: Program, trace: Trace) -> SealedTrace:
    """The trees of a run that is over; those of kept tensors are taken from it, or left with it.

    Args:
        context: from `pouw.binding.item_context`.
        program: what was run.
        trace: its tensors.
    """
    sealer = Sealer(context, program, aside=False)
    rows = [
        trace.trees[number] if number in trace.trees else sealer._hashed(number, tensor)
        for number, tensor in enumerate(trace.tensors)
    ]
    sealed = SealedTrace(context, program, rows)
    leave_kept(sealed, program, trace)
    return sealed


def leave_kept(sealed: SealedTrace, program: Program, trace: Trace) -> None:
    """Leave the trees of kept tensors with a trace: the next checkpoint needs the same ones."""
    for number in program.kept:
        tree = sealed.rows[number]
        assert isinstance(tree, RowTree), f"{program.name_of(number)} is kept, and has no tree of its own"
        trace.trees[number] = tree


@cache
def _hasher() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="hasher")
