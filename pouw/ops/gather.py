"""`gather`: rows of a table, chosen by the program's input: the embedding of tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pouw.backends.backend import Backend
from pouw.hashing import framed, u32
from pouw.ops.kind import Bounded, Expected, Need
from pouw.ops.require import require, require_constant, require_count, require_dtype
from pouw.program_error import ProgramReason
from pouw.tensors import Array, DType, TensorSpec


@dataclass(frozen=True, slots=True)
class Gather:
    """out[i] = table[clamp(index[i], 0, rows - 1)] << lift.

    Operands: index [m,1], which must be the program's input, and the table [rows,d], int8 to int32. Which row
    of the table a cell opens follows from the input, which every checker derives for itself. A cell is a row.

    Args:
        rows: of the table.
        lift: 0..24.
        dtype: of the output.
    """

    rows: int
    lift: int
    dtype: DType

    def encode(self) -> bytes:
        """See `OpKind.encode`."""
        return framed(b"gather", u32(self.rows) + u32(self.lift) + bytes([self.dtype]))

    def infer(self, operands: Sequence[Bounded]) -> Bounded:
        """See `OpKind.infer`."""
        require_count("gather", operands, 2)
        require_constant("gather by a lift of", self.lift, 0, 24)
        index, table = operands
        require(index.spec.cols == 1, ProgramReason.SHAPE, f"an index of {index.spec.cols} columns, not 1")
        require(
            table.spec.rows == self.rows,
            ProgramReason.SHAPE,
            f"a table of {table.spec.rows} rows, the op knows {self.rows}",
        )
        require_dtype("gather's table", table.spec, DType.INT8, DType.INT16, DType.INT32)
        low, high = table.low << self.lift, table.high << self.lift
        require(
            self.dtype.low <= low and high <= self.dtype.high,
            ProgramReason.RANGE,
            f"entries of {low}..{high} in {self.dtype.name}",
        )
        return Bounded(TensorSpec(index.spec.rows, table.spec.cols, self.dtype), low, high)

    def cost(self, operands: Sequence[TensorSpec]) -> int:
        """See `OpKind.cost`: one unit per value."""
        return operands[1].cols

    def run(self, backend: Backend, operands: Sequence[Any]) -> Any:
        """See `OpKind.run`."""
        return backend.transformer.gather(*operands, lift=self.lift, dtype=self.dtype)

    def needs(self, row: int, col: int) -> tuple[Need, ...]:  # noqa: ARG002 - the whole row
        """See `OpKind.needs`; `follow` adds the row of the table."""
        return (Need(0, row),)

    def follow(self, index: int) -> Need:
        """The row of the table that an index names."""
        return Need(1, min(max(index, 0), self.rows - 1))

    def check(self, row: int, col: int, rows: Sequence[Array]) -> Expected:  # noqa: ARG002 - the whole row
        """See `OpKind.check`; the rows are those of `needs` and of `follow`."""
        return Expected(0, (rows[1].astype(np.int64) << self.lift).astype(self.dtype.numpy))
