"""`append`: what was computed before, followed by what is new: how a step reads its cache as one tensor."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pouw.backends.backend import Backend
from pouw.hashing import framed, u32
from pouw.ops.kind import Bounded, Expected, Need
from pouw.ops.require import require, require_constant, require_count
from pouw.program_error import ProgramReason
from pouw.tensors import Array, TensorSpec


@dataclass(frozen=True, slots=True)
class Append:
    """Block by block, the rows (or columns) of the old tensor and then those of the new one.

    Operands: old and new, of one type, whose rows (columns) fall into `blocks` equal blocks. A cell is a row.

    Args:
        blocks: at least 1: one per sequence, and per head where heads are laid out one by one.
        old: rows (columns) of a block of the old tensor.
        new: rows (columns) of a block of the new one.
        by_col: whether columns are appended.
    """

    blocks: int
    old: int
    new: int
    by_col: bool = False

    def encode(self) -> bytes:
        """See `OpKind.encode`."""
        return framed(b"append", u32(self.blocks) + u32(self.old) + u32(self.new) + bytes([self.by_col]))

    def infer(self, operands: Sequence[Bounded]) -> Bounded:
        """See `OpKind.infer`."""
        require_count("append", operands, 2)
        for what, value in (("blocks", self.blocks), ("old rows", self.old), ("new rows", self.new)):
            require_constant(f"append with {what} of", value, 1, 1 << 30)
        old, new = operands
        one = (self.blocks * self.old, self.blocks * self.new)
        along = [spec.cols if self.by_col else spec.rows for spec in (old.spec, new.spec)]
        across = [spec.rows if self.by_col else spec.cols for spec in (old.spec, new.spec)]
        require(
            tuple(along) == one and across[0] == across[1],
            ProgramReason.SHAPE,
            f"append of {old.spec} and {new.spec} in {self.blocks} blocks of {self.old} and {self.new}",
        )
        require(
            old.spec.dtype == new.spec.dtype,
            ProgramReason.DTYPE,
            f"append of {old.spec.dtype.name} and {new.spec.dtype.name}",
        )
        shape = (across[0], sum(along)) if self.by_col else (sum(along), across[0])
        return Bounded(TensorSpec(*shape, old.spec.dtype), min(old.low, new.low), max(old.high, new.high))

    def cost(self, operands: Sequence[TensorSpec]) -> int:  # noqa: ARG002 - a copy is no work
        """See `OpKind.cost`: the least there is."""
        return 1

    def run(self, backend: Backend, operands: Sequence[Any]) -> Any:
        """See `OpKind.run`."""
        return backend.transformer.append(*operands, blocks=self.blocks, by_col=self.by_col)

    def needs(self, row: int, col: int) -> tuple[Need, ...]:  # noqa: ARG002 - the whole row
        """See `OpKind.needs`."""
        if self.by_col:
            return (Need(0, row), Need(1, row))
        block, place = divmod(row, self.old + self.new)
        if place < self.old:
            return (Need(0, block * self.old + place),)
        return (Need(1, block * self.new + place - self.old),)

    def check(self, row: int, col: int, rows: Sequence[Array]) -> Expected:  # noqa: ARG002 - the whole row
        """See `OpKind.check`."""
        if not self.by_col:
            return Expected(0, rows[0])
        parts = [rows[0].reshape(self.blocks, self.old), rows[1].reshape(self.blocks, self.new)]
        return Expected(0, np.concatenate(parts, axis=1).reshape(-1))
