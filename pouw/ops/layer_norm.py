"""`layer_norm`: each row less its mean, divided by its deviation, times a gain, plus a bias."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt
from typing import Any

from pouw.arithmetic.encoder_rows import layer_norm_rows
from pouw.arithmetic.transformer_rows import NORM_BITS
from pouw.backends.backend import Backend
from pouw.hashing import framed, i64, u32
from pouw.ops.kind import Bounded, Expected, Need
from pouw.ops.require import (
    MAX_CONSTANT_SHIFT,
    require,
    require_constant,
    require_count,
    require_dtype,
    require_spec,
    require_squares,
    require_wide,
    size_of,
)
from pouw.program_error import ProgramReason
from pouw.tensors import Array, DType, TensorSpec

_MAX_LIFT = 31


@dataclass(frozen=True, slots=True)
class LayerNorm:
    """out[i,j] = clamp((x[i,j] - mean(x[i])) / deviation(x[i]) * gain[j] + bias[j]).

    `encoder_rows.layer_norm_rows` says it exactly. Operands: X int16 or int32 [m,d], gain and bias int32
    [1,d]. A cell is the whole row.

    Args:
        epsilon: added to the sum of squared differences; 1..2^60.
        shift: 16 and the fraction bits of the gain, less those of the result.
        lift: 0..31; the bias is in units of 2^(lift - shift).
        limit: results lie in -limit..limit.
        dtype: of the output, INT8 to INT32.
    """

    epsilon: int
    shift: int
    lift: int
    limit: int = 127
    dtype: DType = DType.INT8

    def encode(self) -> bytes:
        """See `OpKind.encode`."""
        numbers = i64(self.epsilon) + u32(self.shift) + u32(self.lift) + i64(self.limit)
        return framed(b"layer_norm", numbers + bytes([self.dtype]))

    def infer(self, operands: Sequence[Bounded]) -> Bounded:
        """See `OpKind.infer`."""
        require_count("layer_norm", operands, 3)
        require_constant("layer_norm with an epsilon of", self.epsilon, 1, 1 << 60)
        require_constant("layer_norm by a shift of", self.shift, 0, MAX_CONSTANT_SHIFT)
        require_constant("layer_norm by a lift of", self.lift, 0, _MAX_LIFT)
        require(self.dtype <= DType.INT32, ProgramReason.DTYPE, f"layer_norm to {self.dtype.name}")
        require_constant("layer_norm to a limit of", self.limit, 1, self.dtype.high)
        x, gain, bias = operands
        cols = x.spec.cols
        require_dtype("layer_norm's X", x.spec, DType.INT16, DType.INT32)
        require_spec("layer_norm's gain", gain, 1, cols, DType.INT32)
        require_spec("layer_norm's bias", bias, 1, cols, DType.INT32)
        require_squares(cols, x.high - x.low + 1)
        # A difference is at most sqrt(d) times the deviation of its row; the mean's rounding adds to it only
        # where the deviation is a few units, so twice the root covers both.
        normed = 2 * (isqrt(cols) + 2) << NORM_BITS
        require_wide(
            "a normed value times its gain, and its bias",
            normed * size_of(gain) + (size_of(bias) << self.lift) + (1 << self.shift),
        )
        return Bounded(TensorSpec(x.spec.rows, cols, self.dtype), -self.limit, self.limit)

    def cost(self, operands: Sequence[TensorSpec]) -> int:
        """See `OpKind.cost`: one unit per value."""
        return operands[0].cols

    def run(self, backend: Backend, operands: Sequence[Any]) -> Any:
        """See `OpKind.run`."""
        return backend.encoder.layer_norm(
            *operands,
            epsilon=self.epsilon, shift=self.shift, lift=self.lift, limit=self.limit, dtype=self.dtype,
        )  # fmt: skip

    def needs(self, row: int, col: int) -> tuple[Need, ...]:  # noqa: ARG002 - the whole row
        """See `OpKind.needs`."""
        return (Need(0, row), Need(1, 0), Need(2, 0))

    def check(self, row: int, col: int, rows: Sequence[Array]) -> Expected:  # noqa: ARG002 - the whole row
        """See `OpKind.check`."""
        x, gain, bias = rows
        value = layer_norm_rows(
            x[None], gain[None], bias[None],
            epsilon=self.epsilon, shift=self.shift, lift=self.lift, limit=self.limit,
        )  # fmt: skip
        return Expected(0, value[0].astype(self.dtype.numpy))
