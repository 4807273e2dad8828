"""`heads_product`: a square matrix per head times the channels of that head."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from pouw.arithmetic.heads import Heads
from pouw.arithmetic.transformer_training_rows import ERROR_LIMIT, scaled_rows
from pouw.backends.backend import Backend
from pouw.hashing import framed, u32
from pouw.ops.kind import Bounded, Expected, Need
from pouw.ops.require import MAX_CONSTANT_SHIFT, require, require_constant, require_spec, size_of
from pouw.ops.square_heads import require_operands, require_scores
from pouw.program_error import ProgramReason
from pouw.tensors import Array, DType, TensorSpec

MAX_FACTOR: Final = 1 << 20

EXACT_DOUBLE: Final = 1 << 53
"""Sums stay below this, so that they may also be added in double precision."""


@dataclass(frozen=True, slots=True)
class HeadsProduct:
    """out[s,t,h,c] = clamp((sum_j A[s,h,t,j] * B[h,c,s,j]) * multiplier >> shift), int16.

    Operands: A int16 [sequences * queries * tokens, tokens], one row per query (or per key) of every head;
    B int8 or int16 [queries * dim, sequences * tokens], one row per channel. Output [sequences * tokens,
    queries * dim]. A cell is one element; it opens a row of A, and of B what belongs to the same sequence.

    Args:
        heads: the layout.
        multiplier: 1..2^20; it holds the scale of scores.
        shift: 0..62.
    """

    heads: Heads
    multiplier: int
    shift: int

    def encode(self) -> bytes:
        """See `OpKind.encode`."""
        return framed(b"heads_product", self.heads.encode(), u32(self.multiplier) + u32(self.shift))

    def infer(self, operands: Sequence[Bounded]) -> Bounded:
        """See `OpKind.infer`."""
        heads = self.heads
        require_operands("heads_product", operands, heads, count=2)
        require_constant("heads_product by a multiplier of", self.multiplier, 1, MAX_FACTOR)
        require_constant("heads_product by a shift of", self.shift, 0, MAX_CONSTANT_SHIFT)
        a, b = operands
        require_scores("heads_product's A", a, heads, DType.INT16)
        rows, cols = heads.sequences * heads.tokens, heads.queries * heads.dim
        require_spec("heads_product's B", b, cols, rows, DType.INT8, DType.INT16)
        bound = heads.tokens * size_of(a) * size_of(b)
        require(bound < EXACT_DOUBLE, ProgramReason.RANGE, f"a sum reaches {bound}, exact up to 2^53")
        bound = bound * self.multiplier + (1 << self.shift)
        require(bound < 1 << 63, ProgramReason.RANGE, f"a scaled sum reaches {bound}, beyond int64")
        return Bounded(TensorSpec(rows, cols, DType.INT16), -ERROR_LIMIT, ERROR_LIMIT)

    def cost(self, operands: Sequence[TensorSpec]) -> int:
        """See `OpKind.cost`: every product, twice for each operand of 16 bits."""
        wide = operands[1].dtype == DType.INT16
        return (4 if wide else 2) * self.heads.queries * self.heads.dim * self.heads.tokens

    def run(self, backend: Backend, operands: Sequence[Any]) -> Any:
        """See `OpKind.run`."""
        return backend.transformer_training.heads_product(
            *operands, heads=self.heads, multiplier=self.multiplier, shift=self.shift
        )

    def needs(self, row: int, col: int) -> tuple[Need, ...]:
        """See `OpKind.needs`."""
        sequence, token = divmod(row, self.heads.tokens)
        first, line = row - token, sequence * self.heads.queries + col // self.heads.dim
        along = range(first, first + self.heads.tokens)
        return (Need(0, line * self.heads.tokens + token), Need(1, col, cols=along))

    def check(self, row: int, col: int, rows: Sequence[Array]) -> Expected:  # noqa: ARG002 - one element
        """See `OpKind.check`."""
        total = (rows[0].astype(np.int64) * rows[1].astype(np.int64)).sum(keepdims=True)
        return Expected(col, scaled_rows(total, multiplier=self.multiplier, shift=self.shift))
