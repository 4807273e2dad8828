"""`affine`: A[m,k] · B[n,k]ᵀ plus a bias, with a scale per channel; then a residual, or a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pouw.arithmetic.encoder_rows import MAX_TABLE_BITS, affine_rows, looked_up
from pouw.backends.backend import Backend
from pouw.hashing import framed, i64, u32
from pouw.ops.kind import Bounded, Expected, Need
from pouw.ops.require import (
    MAX_CONSTANT_SHIFT,
    require,
    require_constant,
    require_count,
    require_product,
    require_spec,
    require_wide,
    size_of,
)
from pouw.program_error import ProgramReason
from pouw.tensors import Array, DType, TensorSpec


@dataclass(frozen=True, slots=True)
class Affine:
    """out[i,j] = clamp(R[i,j] + ((A[i] · B[j] + bias[j]) * scale[j] >> shift)), the shift rounding half up.

    With a table the clamped value is looked up: an activation costs nothing and is never committed before it
    was applied. Operands: A int8 [m,k], B int8 [n,k], scale and bias int32 [n,1] ([m,1] by row), and R of the
    output's shape and type. A cell is one element; it opens a row of each.

    Args:
        shift: 0..62.
        limit: results before the table lie in -limit..limit.
        dtype: of the output, INT8 to INT32; INT8 with a table.
        by_row: the weights are A, as in W_v · Xᵀ, so their channels are the output's rows.
        residual: whether there is an R; never with a table.
        table: empty, or 2 * (limit + 1) int8 values, the middle one for 0.
    """

    shift: int
    limit: int = 127
    dtype: DType = DType.INT8
    by_row: bool = False
    residual: bool = False
    table: bytes = b""

    def encode(self) -> bytes:
        """See `OpKind.encode`."""
        flags = bytes([self.dtype, self.by_row, self.residual])
        return framed(b"affine", u32(self.shift) + i64(self.limit) + flags, self.table)

    def infer(self, operands: Sequence[Bounded]) -> Bounded:
        """See `OpKind.infer`."""
        require_count("affine", operands, 4 + self.residual)
        self._check_constants()
        a, b, scale, bias = operands[:4]
        total = require_product("affine", a, b) + size_of(bias)
        rows, cols = a.spec.rows, b.spec.rows
        channels = rows if self.by_row else cols
        require_spec("affine's scale", scale, channels, 1, DType.INT32)
        require_spec("affine's bias", bias, channels, 1, DType.INT32)
        require(total <= DType.INT32.high, ProgramReason.RANGE, f"sums with bias of {total}, beyond int32")
        bound = total * size_of(scale) + (1 << self.shift)
        if self.residual:
            require_spec("affine's residual", operands[4], rows, cols, self.dtype)
            bound += size_of(operands[4])
        require_wide("a scaled sum", bound)
        if self.table:
            entries = np.frombuffer(self.table, np.int8)
            return Bounded(TensorSpec(rows, cols, DType.INT8), int(entries.min()), int(entries.max()))
        return Bounded(TensorSpec(rows, cols, self.dtype), -self.limit, self.limit)

    def _check_constants(self) -> None:
        require_constant("affine by a shift of", self.shift, 0, MAX_CONSTANT_SHIFT)
        require(self.dtype <= DType.INT32, ProgramReason.DTYPE, f"affine to {self.dtype.name}, at most INT32")
        if not self.table:
            require_constant("affine to a limit of", self.limit, 1, self.dtype.high)
            return
        require(self.dtype is DType.INT8, ProgramReason.DTYPE, f"a table to {self.dtype.name}, it gives INT8")
        require(not self.residual, ProgramReason.SHAPE, "a table after a residual, allowed is one of both")
        require_constant("affine to a limit of", self.limit, 1, (1 << MAX_TABLE_BITS - 1) - 1)
        require(
            len(self.table) == 2 * (self.limit + 1),
            ProgramReason.CONSTANT,
            f"a table of {len(self.table)} bytes for a limit of {self.limit}",
        )

    def cost(self, operands: Sequence[TensorSpec]) -> int:
        """See `OpKind.cost`: n * k multiply-accumulates a row."""
        return operands[1].rows * operands[1].cols

    def run(self, backend: Backend, operands: Sequence[Any]) -> Any:
        """See `OpKind.run`."""
        a, b, scale, bias = operands[:4]
        return backend.encoder.affine(
            a, b, scale, bias, operands[4] if self.residual else None,
            by_row=self.by_row, shift=self.shift, limit=self.limit, dtype=self.dtype, table=self.table,
        )  # fmt: skip

    def needs(self, row: int, col: int) -> tuple[Need, ...]:
        """See `OpKind.needs`."""
        channel = row if self.by_row else col
        four = (Need(0, row), Need(1, col), Need(2, channel), Need(3, channel))
        return (*four, Need(4, row)) if self.residual else four

    def check(self, row: int, col: int, rows: Sequence[Array]) -> Expected:  # noqa: ARG002 - one element
        """See `OpKind.check`."""
        total = (rows[0].astype(np.int64) * rows[1].astype(np.int64)).sum(keepdims=True)
        residual = rows[4][col : col + 1].astype(np.int64) if self.residual else None
        scale, bias = rows[2].astype(np.int64), rows[3].astype(np.int64)
        value = affine_rows(total + bias, scale, residual, shift=self.shift, limit=self.limit)
        return Expected(col, looked_up(value, self.table) if self.table else value.astype(self.dtype.numpy))
