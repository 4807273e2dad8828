"""`row_norm`: each row divided by its root mean square, times a gain per column."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt
from typing import Any

from pouw.arithmetic.transformer_rows import NORM_BITS, norm_rows
from pouw.backends.backend import Backend
from pouw.hashing import framed, i64, u32
from pouw.ops.kind import Bounded, Expected, Need
from pouw.ops.require import (
    MAX_CONSTANT_SHIFT,
    require_constant,
    require_count,
    require_dtype,
    require_spec,
    require_squares,
    require_wide,
    size_of,
)
from pouw.tensors import Array, DType, TensorSpec


@dataclass(frozen=True, slots=True)
class RowNorm:
    """out[i,j] = clamp(x[i,j] / rms(x[i]) * gain[j]), int8; `transformer_rows.norm_rows` says it exactly.

    Operands: X int16 or int32 [m,d], gain int16 or int32 [1,d]. A cell is the whole row.

    Args:
        epsilon: added to the sum of squares; 1..2^60.
        shift: 16 and the fraction bits of the gain, less those of the result.
    """

    epsilon: int
    shift: int

    def encode(self) -> bytes:
        """See `OpKind.encode`."""
        return framed(b"row_norm", i64(self.epsilon) + u32(self.shift))

    def infer(self, operands: Sequence[Bounded]) -> Bounded:
        """See `OpKind.infer`."""
        require_count("row_norm", operands, 2)
        require_constant("row_norm with an epsilon of", self.epsilon, 1, 1 << 60)
        require_constant("row_norm by a shift of", self.shift, 0, MAX_CONSTANT_SHIFT)
        x, gain = operands
        require_dtype("row_norm's X", x.spec, DType.INT16, DType.INT32)
        require_spec("row_norm's gain", gain, 1, x.spec.cols, DType.INT16, DType.INT32)
        require_squares(x.spec.cols, size_of(x))
        # A value is at most sqrt(d) times the root mean square of its row; 2 covers the rounding of both.
        normed = (isqrt(x.spec.cols) + 2) << NORM_BITS
        require_wide("a normed value times its gain", normed * size_of(gain) + (1 << self.shift))
        return Bounded(TensorSpec(x.spec.rows, x.spec.cols, DType.INT8), -127, 127)

    def cost(self, operands: Sequence[TensorSpec]) -> int:
        """See `OpKind.cost`: one unit per value."""
        return operands[0].cols

    def run(self, backend: Backend, operands: Sequence[Any]) -> Any:
        """See `OpKind.run`."""
        return backend.transformer.row_norm(*operands, epsilon=self.epsilon, shift=self.shift)

    def needs(self, row: int, col: int) -> tuple[Need, ...]:  # noqa: ARG002 - the whole row
        """See `OpKind.needs`."""
        return (Need(0, row), Need(1, 0))

    def check(self, row: int, col: int, rows: Sequence[Array]) -> Expected:  # noqa: ARG002 - the whole row
        """See `OpKind.check`."""
        x, gain = rows
        return Expected(0, norm_rows(x[None], gain[None], epsilon=self.epsilon, shift=self.shift)[0])
