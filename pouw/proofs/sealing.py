"""The trees of one run, made while it is still running.

A tensor is hashed during the ops that follow: by the device that computed it, if that can, and otherwise by
another thread of the host, while it still lies in a cache. The bits depend neither on when nor on where.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import Final

import numpy as np

from pouw.backends.row_hashing import RowHashing
from pouw.hashing import HASH_BYTES
from pouw.program import Program
from pouw.proofs.binding import SumNode, item_leaf, join_tensors, tensor_place
from pouw.tensors import Array
from pouw.trace import Outputs, Trace
from pouw.trees import merkle
from pouw.trees.bulk_rows import hash_in_bulk
from pouw.trees.rows import HostNodes, Nodes, RowLeaves, Rows, RowTree, Tree, tensor_key

HANDED_OVER_BYTES: Final = 1 << 16
"""A smaller tensor is hashed sooner than handed to another thread."""

Join = Callable[..., Nodes]
"""See `RowHashing.shared`."""


class SealedTrace:
    """A run as it is committed: the trees of its tensors, and the tree over these.

    Args:
        context: from `pouw.proofs.binding.item_context`.
        program: what was run.
        rows: one per tensor: a `Tree` of those that are bundled with no other.
        join: makes the trees of the others.
    """

    def __init__(self, context: bytes, program: Program, rows: Sequence[Rows], *, join: Join) -> None:
        self.context = context
        self.program = program
        self.rows = rows
        self.trees: list[Nodes] = []
        for bundle in program.bundles.all:
            first = rows[bundle.tensors[0]]
            if isinstance(first, Tree):
                self.trees.append(first.nodes)
            else:
                members = [rows[tensor] for tensor in bundle.tensors]
                self.trees.append(join(members, parts=bundle.parts, lines=bundle.lines))
        self.levels = merkle.levels([tree.root for tree in self.trees], join_tensors)
        self.leaf: SumNode = item_leaf(context, self.levels[-1][0], program)

    @property
    def size(self) -> int:
        """Bytes that the nodes of the trees take."""
        return sum(tree.size for tree in self.trees)


class Sealer:
    """Takes the tensors of a run, in order, and makes their trees.

    Args:
        context: from `pouw.proofs.binding.item_context`.
        program: what is run.
        device: how what lies on a device is hashed there; None for the host.
    """

    def __init__(self, context: bytes, program: Program, device: RowHashing | None) -> None:
        self._context = context
        self._program = program
        self._device = device
        self._taken = 0
        self._outputs: Sequence[Array] = ()
        self._rows: list[Rows | Future[Rows]] = []

    def take(self, number: int, outputs: Outputs) -> None:
        """See `pouw.trace.Take`."""
        assert number == self._taken, f"tensor {number} after {self._taken}"
        self._taken += 1
        if self._device is None:
            # One op behind: a device has the next one to do while this waits for the last.
            self._outputs = outputs
            self._hash_before(number)
            return
        spec = self._program.tensors[number]
        context, place = tensor_place(self._program, self._context, tensor=number)
        hashed = self._device.tree if _is_alone(self._program, number) else self._device.leaves
        self._rows.append(hashed(tensor_key(context, place, spec), spec, outputs.there(number)))

    def _hash_before(self, stop: int) -> None:
        for number in range(len(self._rows), stop):
            tensor = self._outputs[number]
            if tensor.nbytes >= HANDED_OVER_BYTES:
                self._rows.append(
                    _hasher().submit(_hashed_here, self._context, self._program, number, tensor)
                )
            else:
                self._rows.append(_hashed_here(self._context, self._program, number, tensor))

    def finish(self) -> SealedTrace:
        """Wait for the last tree. All tensors must have been taken."""
        missing = len(self._program.tensors) - self._taken
        assert not missing, f"{missing} tensors were never taken"
        if self._device is None:
            self._hash_before(self._taken)
        rows = [own.result() if isinstance(own, Future) else own for own in self._rows]
        join = _joined_here if self._device is None else self._device.shared
        return SealedTrace(self._context, self._program, rows, join=join)


def seal(context: bytes, program: Program, trace: Trace) -> SealedTrace:
    """The trees of a run that is over; those of kept tensors are taken from it, or left with it.

    Args:
        context: from `pouw.proofs.binding.item_context`.
        program: what was run.
        trace: its tensors.
    """
    rows = [
        trace.trees[number] if number in trace.trees else _hashed_here(context, program, number, tensor)
        for number, tensor in enumerate(trace.tensors)
    ]
    sealed = SealedTrace(context, program, rows, join=_joined_here)
    leave_kept(sealed, program, trace)
    return sealed


def leave_kept(sealed: SealedTrace, program: Program, trace: Trace) -> None:
    """Leave the trees of kept tensors with a trace: the next checkpoint needs the same ones."""
    for number in program.kept:
        tree = sealed.rows[number]
        assert isinstance(tree, Tree), f"{program.name_of(number)} is kept, and has no tree of its own"
        trace.trees[number] = tree


def _is_alone(program: Program, number: int) -> bool:
    return len(program.bundles.of(number).tensors) == 1


def _hashed_here(context: bytes, program: Program, number: int, tensor: Array) -> Rows:
    place = tensor_place(program, context, tensor=number)
    spec = program.tensors[number]
    if _is_alone(program, number):
        return RowTree(*place, spec=spec, array=tensor, hasher=hash_in_bulk)
    return RowLeaves(tensor_key(*place, spec), spec, tensor, hasher=hash_in_bulk.leaves)


def _joined_here(members: Sequence[RowLeaves], *, parts: Sequence[int], lines: int) -> HostNodes:
    """See `RowHashing.shared`."""
    wide = [
        np.frombuffer(own.hashes, np.uint8).reshape(lines, part * HASH_BYTES)
        for own, part in zip(members, parts, strict=True)
    ]
    return HostNodes(hash_in_bulk.levels(np.concatenate(wide, axis=1).tobytes()))


@cache
def _hasher() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="hasher")
