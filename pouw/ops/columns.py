"""`columns`: some neighbouring columns of a tensor."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pouw.backends.backend import Backend
from pouw.hashing import framed, u32
from pouw.ops.elementwise import block_of, check_constant, check_count
from pouw.ops.kind import Bounded, Expected, Need
from pouw.tensors import MAX_COLS, Array, TensorSpec


@dataclass(frozen=True, slots=True)
class Columns:
    """out[i,j] = A[i, start + j].

    Operand: A of any type, [m,n]. Output [m,count] of the same type. A cell is a block of columns.

    Args:
        start: the first column.
        count: how many.

    Raises:
        ProgramError: CONSTANT.
    """

    start: int
    count: int

    def __post_init__(self) -> None:
        check_constant("first column", self.start, low=0, high=MAX_COLS - 1)
        check_constant("columns", self.count, low=1, high=MAX_COLS)

    def encode(self) -> bytes:
        """See `OpKind.encode`."""
        return framed(b"columns", u32(self.start) + u32(self.count))

    def infer(self, operands: Sequence[Bounded]) -> Bounded:
        """See `OpKind.infer`."""
        check_count("columns", operands, count=1)
        a = operands[0]
        check_constant("columns up to", self.start + self.count, low=1, high=a.spec.cols)
        return Bounded(TensorSpec(a.spec.rows, self.count, a.spec.dtype), a.low, a.high)

    def cost(self, operands: Sequence[TensorSpec]) -> int:  # noqa: ARG002 - of any tensor alike
        """See `OpKind.cost`: one unit per value."""
        return self.count

    def run(self, backend: Backend, operands: Sequence[Any]) -> Any:
        """See `OpKind.run`."""
        return backend.training.columns(operands[0], start=self.start, count=self.count)

    def needs(self, row: int, col: int) -> tuple[Need, ...]:
        """See `OpKind.needs`."""
        block = block_of(col)
        last = min(block.stop, self.count)
        return (Need(0, row, cols=range(self.start + block.start, self.start + last)),)

    def check(self, row: int, col: int, rows: Sequence[Array]) -> Expected:  # noqa: ARG002 - of one block
        """See `OpKind.check`."""
        return Expected(block_of(col).start, rows[0])
