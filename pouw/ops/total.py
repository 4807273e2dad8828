"""`total`: the sum of tensors of one shape, such as the gradients of several miners."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from pouw.backends.backend import Backend
from pouw.backends.reference_training import ReferenceTraining
from pouw.hashing import framed, u32
from pouw.ops.elementwise import (
    block_of,
    check_alike,
    check_constant,
    check_count,
    check_int32,
    same_block,
)
from pouw.ops.kind import Bounded, Expected, Need
from pouw.tensors import Array, DType, TensorSpec

MAX_TERMS: Final = 256
"""A cell opens a block of each."""


@dataclass(frozen=True, slots=True)
class Total:
    """out = A_1 + ... + A_terms, in any order.

    Operands: int32 [m,n], `terms` of them. Output int32 [m,n]. A cell is a block of columns.

    Args:
        terms: 1..MAX_TERMS.

    Raises:
        ProgramError: CONSTANT.
    """

    terms: int

    def __post_init__(self) -> None:
        check_constant("terms", self.terms, low=1, high=MAX_TERMS)

    def encode(self) -> bytes:
        """See `OpKind.encode`."""
        return framed(b"total", u32(self.terms))

    def infer(self, operands: Sequence[Bounded]) -> Bounded:
        """See `OpKind.infer`."""
        check_count("total", operands, count=self.terms)
        spec = check_alike("total", operands, dtype=DType.INT32)
        # Any part of the sum must fit, since a backend may add in any order.
        check_int32("a part of the total", *(sum(pick) for pick in _parts(operands)))
        return Bounded(spec, sum(a.low for a in operands), sum(a.high for a in operands))

    def cost(self, operands: Sequence[TensorSpec]) -> int:
        """See `OpKind.cost`: one unit per value added."""
        return operands[0].cols * self.terms

    def run(self, backend: Backend, operands: Sequence[Any]) -> Any:
        """See `OpKind.run`."""
        return backend.training.total(operands)

    def needs(self, row: int, col: int) -> tuple[Need, ...]:
        """See `OpKind.needs`."""
        return same_block(row, col, operands=self.terms)

    def check(self, row: int, col: int, rows: Sequence[Array]) -> Expected:  # noqa: ARG002 - of one block
        """See `OpKind.check`."""
        return Expected(block_of(col).start, ReferenceTraining().total(rows))


def _parts(operands: Sequence[Bounded]) -> tuple[list[int], list[int]]:
    """The terms of the least and of the greatest sum of some of the operands."""
    return [min(a.low, 0) for a in operands], [max(a.high, 0) for a in operands]
