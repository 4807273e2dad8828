"""`matmul_nt`: A[m,k] · B[n,k]ᵀ, both operands by rows, with bias and requantisation in one go."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from pouw.arithmetic.requant import Requant
from pouw.backends.backend import Backend
from pouw.hashing import framed
from pouw.ops.kind import Bounded, Expected, Need
from pouw.program_error import ProgramError, ProgramReason
from pouw.tensors import Array, DType, TensorSpec

MAX_DEPTH: Final = 131_071
"""The longest dot product: (-128)^2 * 131,072 is 2^31, one more than int32 holds (seen to wrap)."""


@dataclass(frozen=True, slots=True)
class MatmulNT:
    """out[i,j] = requant(A[i] · B[j] + bias[j]).

    Operands: A int8 [m,k], B int8 [n,k], and with `bias` an int32 [n,1]. Output: int8 [m,n] with a requant,
        else
    int32 [m,n]. A cell is one element; it opens A's row i, B's row j and the bias of j.

    Args:
        requant: how accumulators become int8, or None to give them as they are.
        bias: whether there is a third operand.
    """

    requant: Requant | None = None
    bias: bool = False

    def encode(self) -> bytes:
        """See `OpKind.encode`."""
        requant = b"" if self.requant is None else self.requant.encode()
        return framed(b"matmul_nt", bytes([self.bias]), requant)

    def infer(self, operands: Sequence[Bounded]) -> Bounded:
        """See `OpKind.infer`."""
        self._check_shapes([operand.spec for operand in operands])
        a, b = operands[0], operands[1]
        products = [x * y for x in (a.low, a.high) for y in (b.low, b.high)]
        # Partial sums matter too: any prefix of the dot product, in any order, must fit.
        depth = a.spec.cols
        low, high = depth * min(products), depth * max(products)
        _fits_int32("sum", min(low, 0), max(high, 0))
        if self.bias:
            low, high = low + operands[2].low, high + operands[2].high
            _fits_int32("sum with bias", low, high)
        dtype = DType.INT32 if self.requant is None else DType.INT8
        if self.requant is not None:
            low, high = self.requant.range(low, high)
        return Bounded(TensorSpec(a.spec.rows, b.spec.rows, dtype), low, high)

    def _check_shapes(self, specs: Sequence[TensorSpec]) -> None:
        if len(specs) != 2 + self.bias:
            raise ProgramError(
                ProgramReason.SHAPE, f"matmul_nt of {len(specs)} operands, it takes {2 + self.bias}"
            )
        a, b = specs[0], specs[1]
        if (a.dtype, b.dtype) != (DType.INT8, DType.INT8):
            raise ProgramError(
                ProgramReason.DTYPE, f"matmul_nt of {a.dtype.name} and {b.dtype.name}, not INT8"
            )
        if a.cols != b.cols:
            raise ProgramError(ProgramReason.SHAPE, f"matmul_nt of rows of {a.cols} and {b.cols}")
        if a.cols > MAX_DEPTH:
            raise ProgramError(ProgramReason.RANGE, f"dot products of {a.cols}, exact up to {MAX_DEPTH}")
        if self.bias and specs[2] != TensorSpec(b.rows, 1, DType.INT32):
            raise ProgramError(ProgramReason.SHAPE, f"a bias of {specs[2]}, not INT32 {b.rows} x 1")

    def cost(self, operands: Sequence[TensorSpec]) -> int:
        """See `OpKind.cost`: n * k multiply-accumulates a row."""
        return operands[1].rows * operands[1].cols

    def run(self, backend: Backend, operands: Sequence[Any]) -> Any:
        """See `OpKind.run`."""
        bias = operands[2] if self.bias else None
        return backend.matmul_nt(operands[0], operands[1], bias=bias, requant=self.requant)

    def needs(self, row: int, col: int) -> tuple[Need, ...]:
        """See `OpKind.needs`."""
        pair = (Need(0, row), Need(1, col))
        return (*pair, Need(2, col)) if self.bias else pair

    def check(self, row: int, col: int, rows: Sequence[Array]) -> Expected:  # noqa: ARG002 - one element
        """See `OpKind.check`."""
        total = rows[0].astype(np.int64) @ rows[1].astype(np.int64)
        if self.bias:
            total += rows[2][0]
        value = np.asarray(total).reshape(1)
        return Expected(col, value if self.requant is None else self.requant.apply(value))


def _fits_int32(what: str, low: int, high: int) -> None:
    if low < DType.INT32.low or high > DType.INT32.high:
        raise ProgramError(ProgramReason.RANGE, f"the {what} reaches {low}..{high}, beyond int32")
