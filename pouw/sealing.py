"""The trees of one run, made while it is still running.

A tensor is handed over as soon as it is computed and hashed by another thread during the ops that follow,
while it still lies in a cache. What comes of it does not depend on when.
"""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import Final

from pouw import merkle
from pouw.binding import SumNode, item_leaf, join_tensors, tensor_place
from pouw.bulk_rows import hash_in_bulk
from pouw.program import Program
from pouw.rows import RowTree
from pouw.tensors import Array
from pouw.trace import Trace

HANDED_OVER_BYTES: Final = 1 << 16
"""A smaller tensor is hashed sooner than handed to another thread."""


class SealedTrace:
    """A run as it is committed: the trees of its tensors, and the tree over these.

    Args:
        context: from `pouw.binding.item_context`.
        program: what was run.
        trees: one per tensor.
    """

    def __init__(self, context: bytes, program: Program, trees: Sequence[RowTree]) -> None:
        self.context = context
        self.program = program
        self.trees = trees
        self.levels = merkle.levels([tree.root for tree in trees], join_tensors)
        self.leaf: SumNode = item_leaf(context, self.levels[-1][0], program)

    @property
    def size(self) -> int:
        """Bytes that the nodes of the trees take."""
        return sum(tree.size for tree in self.trees)


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
        self._trees: list[RowTree | Future[RowTree]] = []

    def take(self, number: int, tensor: Array) -> None:
        """See `pouw.trace.Take`."""
        assert number == len(self._trees), f"tensor {number} after {len(self._trees)}"
        if self._aside and tensor.nbytes >= HANDED_OVER_BYTES:
            self._trees.append(_hasher().submit(self._tree, number, tensor))
        else:
            self._trees.append(self._tree(number, tensor))

    def _tree(self, number: int, tensor: Array) -> RowTree:
        place = tensor_place(self._program, self._context, tensor=number)
        return RowTree(*place, spec=self._program.tensors[number], array=tensor, hasher=hash_in_bulk)

    def finish(self) -> SealedTrace:
        """Wait for the last tree. All tensors must have been taken."""
        missing = len(self._program.tensors) - len(self._trees)
        assert not missing, f"{missing} tensors were never taken"
        trees = [tree.result() if isinstance(tree, Future) else tree for tree in self._trees]
        return SealedTrace(self._context, self._program, trees)


def seal(context: bytes, program: Program, trace: Trace) -> SealedTrace:
    """The trees of a run that is over; those of kept tensors are taken from it, or left with it.

    Args:
        context: from `pouw.binding.item_context`.
        program: what was run.
        trace: its tensors.
    """
    sealer = Sealer(context, program, aside=False)
    trees = [
        trace.trees[number] if number in trace.trees else sealer._tree(number, tensor)
        for number, tensor in enumerate(trace.tensors)
    ]
    sealed = SealedTrace(context, program, trees)
    leave_kept(sealed, program, trace)
    return sealed


def leave_kept(sealed: SealedTrace, program: Program, trace: Trace) -> None:
    """Leave the trees of kept tensors with a trace: the next checkpoint needs the same ones."""
    trace.trees.update((number, sealed.trees[number]) for number in program.kept)


@cache
def _hasher() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="hasher")
