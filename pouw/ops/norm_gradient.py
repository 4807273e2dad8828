"""`norm_gradient`: back through a root-mean-square norm, on top of the errors that bypass it."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt
from typing import Any, Final

from pouw.arithmetic.transformer_rows import NORM_BITS, ROOT_SUM_MAX
from pouw.arithmetic.transformer_training_rows import ERROR_LIMIT, GUARD, norm_gradient_rows
from pouw.backends.backend import Backend
from pouw.hashing import framed, i64, u32
from pouw.ops.kind import Bounded, Expected, Need
from pouw.ops.require import (
    require,
    require_constant,
    require_count,
    require_dtype,
    require_spec,
    require_wide,
    size_of,
)
from pouw.program_error import ProgramReason
from pouw.tensors import Array, DType, TensorSpec

MAX_NORM_SHIFT: Final = 17
"""With the 45 places of the smallest root at most, a shift of 62."""


@dataclass(frozen=True, slots=True)
class NormGradient:
    """out = clamp(onto + (e - n * mean(n * e)) / rms(x)), n = x / rms(x), a row at a time.

    Operands: X int16 or int32 [m,d], what the norm read; errors int32 [m,d] of what it gave, before any gain;
    and, if asked, `onto` int16 [m,d]. Output int16 [m,d]. A cell is the whole row.

    Args:
        epsilon: as in `RowNorm`.
        shift: see `norm_gradient_rows`, 0..17.
        onto: whether there is a third operand.
    """

    epsilon: int
    shift: int
    onto: bool = True

    def encode(self) -> bytes:
        """See `OpKind.encode`."""
        return framed(b"norm_gradient", i64(self.epsilon) + u32(self.shift) + bytes([self.onto]))

    def infer(self, operands: Sequence[Bounded]) -> Bounded:
        """See `OpKind.infer`."""
        require_count("norm_gradient", operands, 2 + self.onto)
        require_constant("norm_gradient with an epsilon of", self.epsilon, 1, 1 << 60)
        require_constant("norm_gradient by a shift of", self.shift, 0, MAX_NORM_SHIFT)
        x, errors = operands[:2]
        rows, cols = x.spec.rows, x.spec.cols
        require_dtype("norm_gradient's X", x.spec, DType.INT16, DType.INT32)
        require_spec("norm_gradient's errors", errors, rows, cols, DType.INT32)
        if self.onto:
            require_spec("norm_gradient's third operand", operands[2], rows, cols, DType.INT16)
        squares = cols * size_of(x) ** 2
        require(
            squares <= ROOT_SUM_MAX,
            ProgramReason.RANGE,
            f"squares that add up to {squares}, exact up to {ROOT_SUM_MAX}",
        )
        # A value of n is at most sqrt(d), and so is the mean of n * e over the largest e; 2 for the rounding.
        most = isqrt(cols) + 2
        require_wide("a normed value along the errors", (most << 2 * NORM_BITS) * 2 * size_of(errors))
        require_wide("the sum along a row", cols * (most << NORM_BITS) * size_of(errors) * 2)
        require_wide("an error over a root", ((most + 1) * size_of(errors) << GUARD + 31) + (1 << 61))
        return Bounded(TensorSpec(rows, cols, DType.INT16), -ERROR_LIMIT, ERROR_LIMIT)

    def cost(self, operands: Sequence[TensorSpec]) -> int:
        """See `OpKind.cost`: two units per value."""
        return 2 * operands[0].cols

    def run(self, backend: Backend, operands: Sequence[Any]) -> Any:
        """See `OpKind.run`."""
        onto = operands[2] if self.onto else None
        return backend.transformer_training.norm_gradient(
            operands[0], operands[1], onto, epsilon=self.epsilon, shift=self.shift
        )

    def needs(self, row: int, col: int) -> tuple[Need, ...]:  # noqa: ARG002 - the whole row
        """See `OpKind.needs`."""
        return tuple(Need(operand, row) for operand in range(2 + self.onto))

    def check(self, row: int, col: int, rows: Sequence[Array]) -> Expected:  # noqa: ARG002 - the whole row
        """See `OpKind.check`."""
        onto = rows[2][None] if self.onto else None
        out = norm_gradient_rows(rows[0][None], rows[1][None], onto, epsilon=self.epsilon, shift=self.shift)
        return Expected(0, out[0])
