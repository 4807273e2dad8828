"""`turned_rows`: some rows of a tensor as columns, so that each shard of a batch has gradients of its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pouw.backends.backend import Backend
from pouw.hashing import framed, u32
from pouw.ops.elementwise import check_constant, check_count
from pouw.ops.kind import Bounded, Expected, Need
from pouw.tensors import MAX_ROWS, Array, TensorSpec


@dataclass(frozen=True, slots=True)
class TurnedRows:
    """out[j,i] = A[start+i,j].

    Operand: A of any type, [m,n]. Output [n,count] of the same type. A cell is one element; it opens that of
    A.

    Args:
        start: the first row.
        count: how many.

    Raises:
        ProgramError: CONSTANT.
    """

    start: int
    count: int

    def __post_init__(self) -> None:
        check_constant("first row", self.start, low=0, high=MAX_ROWS - 1)
        check_constant("rows", self.count, low=1, high=MAX_ROWS)

    def encode(self) -> bytes:
        """See `OpKind.encode`."""
        return framed(b"turned_rows", u32(self.start) + u32(self.count))

    def infer(self, operands: Sequence[Bounded]) -> Bounded:
        """See `OpKind.infer`."""
        check_count("turned_rows", operands, count=1)
        a = operands[0]
        check_constant("rows up to", self.start + self.count, low=1, high=a.spec.rows)
        return Bounded(TensorSpec(a.spec.cols, self.count, a.spec.dtype), a.low, a.high)

    def cost(self, operands: Sequence[TensorSpec]) -> int:  # noqa: ARG002 - of any tensor alike
        """See `OpKind.cost`: one unit per value moved."""
        return self.count

    def run(self, backend: Backend, operands: Sequence[Any]) -> Any:
        """See `OpKind.run`."""
        return backend.training.transpose(operands[0][self.start : self.start + self.count])

    def needs(self, row: int, col: int) -> tuple[Need, ...]:
        """See `OpKind.needs`."""
        return (Need(0, self.start + col, cols=range(row, row + 1)),)

    def check(self, row: int, col: int, rows: Sequence[Array]) -> Expected:  # noqa: ARG002 - one element
        """See `OpKind.check`."""
        return Expected(col, rows[0])
