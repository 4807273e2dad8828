"""`rounded`: fewer bits of an int32 tensor, such as the int8 weights in use of a master copy."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from pouw.backends.backend import Backend
from pouw.backends.reference_training import ReferenceTraining
from pouw.hashing import framed, i64, u32
from pouw.ops.elementwise import (
    block_of,
    check_alike,
    check_constant,
    check_count,
    check_int32,
    same_block,
)
from pouw.ops.kind import Bounded, Expected, Need
from pouw.program_error import ProgramError, ProgramReason
from pouw.tensors import Array, DType, TensorSpec

_MAX_SHIFT: Final = 30


@dataclass(frozen=True, slots=True)
class Rounded:
    """out = clamp((A + (1 << shift >> 1)) >> shift, low, high): A / 2^shift, rounded half up.

    Operand: A int32 [m,n]. Output [m,n] of type `dtype`. A cell is a block of columns.

    Args:
        shift: 0..30.
        low: least result.
        high: greatest result.
        dtype: INT8 or INT32.

    Raises:
        ProgramError: CONSTANT, DTYPE.
    """

    shift: int
    low: int
    high: int
    dtype: DType

    def __post_init__(self) -> None:
        check_constant("shift", self.shift, low=0, high=_MAX_SHIFT)
        if self.dtype not in (DType.INT8, DType.INT32):
            raise ProgramError(
                ProgramReason.DTYPE, f"rounded to {self.dtype.name}, allowed are INT8 and INT32"
            )
        check_constant("low", self.low, low=self.dtype.low, high=self.high)
        check_constant("high", self.high, low=self.low, high=self.dtype.high)

    def encode(self) -> bytes:
        """See `OpKind.encode`."""
        return framed(b"rounded", u32(self.shift) + i64(self.low) + i64(self.high) + u32(self.dtype))

    def infer(self, operands: Sequence[Bounded]) -> Bounded:
        """See `OpKind.infer`."""
        check_count("rounded", operands, count=1)
        a, spec = operands[0], check_alike("rounded", operands, dtype=DType.INT32)
        half = (1 << self.shift) >> 1
        check_int32("a value before its shift", a.low + half, a.high + half)
        low, high = (min(max((x + half) >> self.shift, self.low), self.high) for x in (a.low, a.high))
        return Bounded(TensorSpec(spec.rows, spec.cols, self.dtype), low, high)

    def cost(self, operands: Sequence[TensorSpec]) -> int:
        """See `OpKind.cost`: one unit per value."""
        return operands[0].cols

    def run(self, backend: Backend, operands: Sequence[Any]) -> Any:
        """See `OpKind.run`."""
        return backend.training.rounded(
            operands[0], shift=self.shift, low=self.low, high=self.high, dtype=self.dtype
        )

    def needs(self, row: int, col: int) -> tuple[Need, ...]:
        """See `OpKind.needs`."""
        return same_block(row, col, operands=1)

    def check(self, row: int, col: int, rows: Sequence[Array]) -> Expected:  # noqa: ARG002 - of one block
        """See `OpKind.check`."""
        values = ReferenceTraining().rounded(
            rows[0], shift=self.shift, low=self.low, high=self.high, dtype=self.dtype
        )
        return Expected(block_of(col).start, values)
