"""`stochastic_requant`: gradients back to int8, rounded by chance and stopped where a unit was shut."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pouw.arithmetic.stochastic import check_shift
from pouw.backends.backend import Backend
from pouw.backends.reference_training import ReferenceTraining
from pouw.hashing import framed, u32
from pouw.ops.elementwise import block_of, check_constant, check_count, check_int32
from pouw.ops.kind import Bounded, Expected, Need
from pouw.program_error import ProgramError, ProgramReason
from pouw.tensors import MAX_COLS, Array, DType, TensorSpec


@dataclass(frozen=True, slots=True)
class StochasticRequant:
    """out[i,j] = clamp((A[i,j] + spread) >> shift, -127, 127), or 0 where a gate is shut.

    Operands: A int16 or int32 [m,n], noise int8 [m, at least start + n], and with `gated` the activations
    int8 [m,n]: a rectifier that gives 127 at most lets a gradient through where it gave 1..126. Output int8
    [m,n]. A cell is a block of columns.

    Args:
        shift: bits to remove.
        start: the column of the noise that goes with column 0.
        gated: whether there is a third operand.

    Raises:
        ProgramError: CONSTANT.
    """

    shift: int
    start: int = 0
    gated: bool = False

    def __post_init__(self) -> None:
        check_shift(self.shift)
        check_constant("first column of noise", self.start, low=0, high=MAX_COLS - 1)

    def encode(self) -> bytes:
        """See `OpKind.encode`."""
        return framed(b"stochastic_requant", u32(self.shift) + u32(self.start) + bytes([self.gated]))

    def infer(self, operands: Sequence[Bounded]) -> Bounded:
        """See `OpKind.infer`."""
        check_count("stochastic_requant", operands, count=2 + self.gated)
        a, noise = operands[:2]
        if a.spec.dtype not in (DType.INT16, DType.INT32) or noise.spec.dtype != DType.INT8:
            raise ProgramError(
                ProgramReason.DTYPE,
                f"stochastic_requant of {a.spec.dtype.name} with noise of {noise.spec.dtype.name}, not INT16 "
                f"or INT32 with INT8",
            )
        out = TensorSpec(a.spec.rows, a.spec.cols, DType.INT8)
        if noise.spec.rows != out.rows or noise.spec.cols < self.start + out.cols:
            raise ProgramError(
                ProgramReason.SHAPE, f"noise of {noise.spec} from column {self.start} on for {out}"
            )
        if self.gated and operands[2].spec != out:
            raise ProgramError(ProgramReason.SHAPE, f"a gate of {operands[2].spec} for {out}")
        most = (1 << self.shift) - 1
        check_int32("a value before its shift", a.low, a.high + most)
        low, high = (min(max(x >> self.shift, -127), 127) for x in (a.low, a.high + most))
        return Bounded(out, min(low, 0), max(high, 0)) if self.gated else Bounded(out, low, high)

    def cost(self, operands: Sequence[TensorSpec]) -> int:
        """See `OpKind.cost`: one unit per value."""
        return operands[0].cols

    def run(self, backend: Backend, operands: Sequence[Any]) -> Any:
        """See `OpKind.run`."""
        gate = operands[2] if self.gated else None
        return backend.training.stochastic(
            operands[0], operands[1], gate=gate, start=self.start, shift=self.shift
        )

    def needs(self, row: int, col: int) -> tuple[Need, ...]:
        """See `OpKind.needs`."""
        block = block_of(col)
        noise = Need(1, row, cols=range(self.start + block.start, self.start + block.stop))
        return (Need(0, row, cols=block), noise, *([Need(2, row, cols=block)] if self.gated else []))

    def check(self, row: int, col: int, rows: Sequence[Array]) -> Expected:  # noqa: ARG002 - of one block
        """See `OpKind.check`."""
        a, noise, *gate = (values.reshape(1, -1) for values in rows)
        out = ReferenceTraining().stochastic(
            a, noise, gate=gate[0] if gate else None, start=0, shift=self.shift
        )
        return Expected(block_of(col).start, out[0])
