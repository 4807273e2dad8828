"""`linear`: A[m,k] · B[n,k]ᵀ with a scale per channel and, if asked, on top of a residual."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pouw.arithmetic.transformer_rows import linear_rows
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
class Linear:
    """out[i,j] = clamp(R[i,j] + (A[i] · B[j] * scale[j] >> shift)), the shift rounding half up.

    Operands: A int8 [m,k], B int8 [n,k], scale int32 [n,1] ([m,1] by row), and R of the output's shape and
    type. A cell is one element; it opens a row of each, of R the element.

    Args:
        shift: 0..62.
        limit: results lie in -limit..limit.
        dtype: of the output, INT8 to INT32.
        by_row: the weights are A, as in W_v · Xᵀ, so their channels are the output's rows.
        residual: whether there is an R.
    """

    shift: int
    limit: int = 127
    dtype: DType = DType.INT8
    by_row: bool = False
    residual: bool = False

    def encode(self) -> bytes:
        """See `OpKind.encode`."""
        flags = bytes([self.dtype, self.by_row, self.residual])
        return framed(b"linear", u32(self.shift) + i64(self.limit) + flags)

    def infer(self, operands: Sequence[Bounded]) -> Bounded:
        """See `OpKind.infer`."""
        require_count("linear", operands, 3 + self.residual)
        require_constant("linear by a shift of", self.shift, 0, MAX_CONSTANT_SHIFT)
        require(self.dtype <= DType.INT32, ProgramReason.DTYPE, f"linear to {self.dtype.name}, at most INT32")
        require_constant("linear to a limit of", self.limit, 1, self.dtype.high)
        a, b, scale = operands[:3]
        total = require_product("linear", a, b)
        rows, cols = a.spec.rows, b.spec.rows
        require_spec("linear's scale", scale, rows if self.by_row else cols, 1, DType.INT32)
        bound = total * size_of(scale) + (1 << self.shift)
        if self.residual:
            require_spec("linear's residual", operands[3], rows, cols, self.dtype)
            bound += size_of(operands[3])
        require_wide("a scaled sum", bound)
        return Bounded(TensorSpec(rows, cols, self.dtype), -self.limit, self.limit)

    def cost(self, operands: Sequence[TensorSpec]) -> int:
        """See `OpKind.cost`: n * k multiply-accumulates a row."""
        return operands[1].rows * operands[1].cols

    def run(self, backend: Backend, operands: Sequence[Any]) -> Any:
        """See `OpKind.run`."""
        return backend.transformer.linear(
            operands[0], operands[1], operands[2], operands[3] if self.residual else None,
            by_row=self.by_row, shift=self.shift, limit=self.limit, dtype=self.dtype,
        )  # fmt: skip

    def needs(self, row: int, col: int) -> tuple[Need, ...]:
        """See `OpKind.needs`."""
        three = (Need(0, row), Need(1, col), Need(2, row if self.by_row else col))
        return (*three, Need(3, row, cols=range(col, col + 1))) if self.residual else three

    def check(self, row: int, col: int, rows: Sequence[Array]) -> Expected:  # noqa: ARG002 - one element
        """See `OpKind.check`."""
        total = (rows[0].astype(np.int64) * rows[1].astype(np.int64)).sum(keepdims=True)
        residual = rows[3].astype(np.int64) if self.residual else None
        value = linear_rows(total, rows[2].astype(np.int64), residual, shift=self.shift, limit=self.limit)
        return Expected(col, value.astype(self.dtype.numpy))
