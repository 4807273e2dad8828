"""`part_products`: A[m,k] · B[n,k]ᵀ a stretch of k at a time, so that cells do not grow with k.

Gradients multiply over all rows of a batch. Their sums over stretches of it lie side by side, for
`pouw.ops.part_sums` or ballots to add up.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pouw.arithmetic.transformer_training_rows import ERROR_LIMIT
from pouw.backends.backend import Backend
from pouw.hashing import framed, u32
from pouw.ops.elementwise import check_constant, check_int32
from pouw.ops.kind import Bounded, Expected, Need
from pouw.ops.require import require, require_count, require_dtype, size_of
from pouw.program_error import ProgramReason
from pouw.tensors import MAX_COLS, Array, DType, TensorSpec


@dataclass(frozen=True, slots=True)
class PartProducts:
    """out[i, j * parts + p] = sum of A[i,t] * B[j,t] over the t of stretch p.

    Operands: A int8, or int16 within ERROR_LIMIT, [m,k]; B int8 [n,k], k = stretch * parts. Output int32
    [m, n * parts]. A cell is one element; it opens the stretch of a row of each.

    Args:
        stretch: columns that are summed together.
        parts: how many stretches there are.

    Raises:
        ProgramError: CONSTANT.
    """

    stretch: int
    parts: int

    def __post_init__(self) -> None:
        check_constant("stretch", self.stretch, low=1, high=MAX_COLS)
        check_constant("parts", self.parts, low=1, high=MAX_COLS)

    def encode(self) -> bytes:
        """See `OpKind.encode`."""
        return framed(b"part_products", u32(self.stretch) + u32(self.parts))

    def infer(self, operands: Sequence[Bounded]) -> Bounded:
        """See `OpKind.infer`."""
        require_count("part_products", operands, 2)
        a, b = operands
        require_dtype("part_products' A", a.spec, DType.INT8, DType.INT16)
        require_dtype("part_products' B", b.spec, DType.INT8)
        require(
            a.spec.dtype is DType.INT8 or size_of(a) <= ERROR_LIMIT,
            ProgramReason.RANGE,
            f"part_products of errors up to {size_of(a)}, at most {ERROR_LIMIT}",
        )
        require(
            a.spec.cols == b.spec.cols == self.stretch * self.parts,
            ProgramReason.SHAPE,
            f"part_products of rows of {a.spec.cols} and {b.spec.cols}, not {self.parts} stretches of "
            f"{self.stretch}",
        )
        # Any prefix of a sum must fit, since a backend may add in any order.
        most = self.stretch * size_of(a) * size_of(b)
        check_int32("the sum of a stretch", -most, most)
        spec = TensorSpec(a.spec.rows, b.spec.rows * self.parts, DType.INT32)
        return Bounded(spec, -most, most)

    def cost(self, operands: Sequence[TensorSpec]) -> int:
        """See `OpKind.cost`: n * k multiply-accumulates a row, twice as many in 16 bits."""
        a, b = operands
        return a.dtype.size * b.rows * b.cols

    def run(self, backend: Backend, operands: Sequence[Any]) -> Any:
        """See `OpKind.run`."""
        a, b = operands
        columns = backend.training.columns
        parts = [
            self._product(
                backend,
                columns(a, start=start, count=self.stretch),
                columns(b, start=start, count=self.stretch),
            )
            for start in range(0, self.stretch * self.parts, self.stretch)
        ]
        return backend.training.interleaved(parts)

    def _product(self, backend: Backend, a: Any, b: Any) -> Any:
        if a.dtype == b.dtype:
            return backend.matmul_nt(a, b, bias=None, requant=None)
        return backend.transformer_training.wide_linear(
            a, b, None, None, shift=0, limit=DType.INT32.high, dtype=DType.INT32
        )

    def needs(self, row: int, col: int) -> tuple[Need, ...]:
        """See `OpKind.needs`."""
        other, part = divmod(col, self.parts)
        stretch = range(part * self.stretch, (part + 1) * self.stretch)
        return Need(0, row, cols=stretch), Need(1, other, cols=stretch)

    def check(self, row: int, col: int, rows: Sequence[Array]) -> Expected:  # noqa: ARG002 - one element
        """See `OpKind.check`."""
        total = (rows[0].astype(np.int64) * rows[1].astype(np.int64)).sum(keepdims=True)
        return Expected(col, total.astype(np.int32))
