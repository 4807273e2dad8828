"""`transpose`: rows become columns, as backward passes need them; each element is a cell of its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pouw.backends.backend import Backend
from pouw.hashing import framed
from pouw.ops.elementwise import check_count
from pouw.ops.kind import Bounded, Expected, Need
from pouw.tensors import Array, TensorSpec


@dataclass(frozen=True, slots=True)
class Transpose:
    """out[j,i] = A[i,j].

    Operand: A of any type, [m,n]. Output [n,m] of the same type. A cell is one element; it opens that
    of A.
    """

    def encode(self) -> bytes:
        """See `OpKind.encode`."""
        return framed(b"transpose")

    def infer(self, operands: Sequence[Bounded]) -> Bounded:
        """See `OpKind.infer`."""
        check_count("transpose", operands, count=1)
        a = operands[0]
        return Bounded(TensorSpec(a.spec.cols, a.spec.rows, a.spec.dtype), a.low, a.high)

    def cost(self, operands: Sequence[TensorSpec]) -> int:
        """See `OpKind.cost`: one unit per value moved."""
        return operands[0].rows

    def run(self, backend: Backend, operands: Sequence[Any]) -> Any:
        """See `OpKind.run`."""
        return backend.training.transpose(operands[0])

    def needs(self, row: int, col: int) -> tuple[Need, ...]:
        """See `OpKind.needs`."""
        return (Need(0, col, cols=range(row, row + 1)),)

    def check(self, row: int, col: int, rows: Sequence[Array]) -> Expected:  # noqa: ARG002 - one element
        """See `OpKind.check`."""
        return Expected(col, rows[0])
