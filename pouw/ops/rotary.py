"""`rotary`: queries or keys turned by the angles of their positions; keys are then laid out head by head."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pouw.arithmetic.heads import Heads
from pouw.arithmetic.tables import TURN_BITS
from pouw.arithmetic.transformer_rows import rotary_rows
from pouw.backends.backend import Backend
from pouw.hashing import framed, u32
from pouw.ops.kind import Bounded, Expected, Need
from pouw.ops.require import (
    MAX_CONSTANT_SHIFT,
    require,
    require_constant,
    require_count,
    require_dtype,
    require_spec,
    size_of,
)
from pouw.program_error import ProgramReason
from pouw.tensors import Array, DType, TensorSpec


@dataclass(frozen=True, slots=True)
class Rotary:
    """Each head of X[s * tokens + t], turned by the angles of position past + t, int8.

    Operands: X int16 [sequences * tokens, queries * dim], turns int16 [positions, dim] as
    `pouw.arithmetic.tables.rotary_table` gives them. Output as X, or by head
    [sequences * queries * tokens, dim] with row (s * queries + h) * tokens + t. A cell is one element; it
    opens the pair that it is turned from, and the angles of its position.

    Args:
        heads: `queries` are the heads of X, whether they are queries or keys; `dim` is even.
        shift: 14 and what the result is narrower than X.
        by_head: whether the output is laid out as keys are.
    """

    heads: Heads
    shift: int
    by_head: bool = False

    def encode(self) -> bytes:
        """See `OpKind.encode`."""
        return framed(b"rotary", self.heads.encode(), u32(self.shift) + bytes([self.by_head]))

    def infer(self, operands: Sequence[Bounded]) -> Bounded:
        """See `OpKind.infer`."""
        require_count("rotary", operands, 2)
        require_constant("rotary by a shift of", self.shift, 0, MAX_CONSTANT_SHIFT)
        heads = self.heads
        rows = heads.sequences * heads.tokens
        require_spec("rotary's X", operands[0], rows, heads.queries * heads.dim, DType.INT16)
        turns = operands[1].spec
        require_dtype("rotary's turns", turns, DType.INT16)
        require(
            turns.cols == heads.dim and heads.dim % 2 == 0 and turns.rows >= heads.span,
            ProgramReason.SHAPE,
            f"rotary's turns of {turns.rows} x {turns.cols} for {heads.span} positions of {heads.dim}",
        )
        one = 1 << TURN_BITS
        require(
            size_of(operands[1]) <= one, ProgramReason.RANGE, f"turns of {size_of(operands[1])}, beyond {one}"
        )
        split = (rows * heads.queries, heads.dim) if self.by_head else (rows, heads.queries * heads.dim)
        return Bounded(TensorSpec(*split, DType.INT8), -127, 127)

    def cost(self, operands: Sequence[TensorSpec]) -> int:  # noqa: ARG002 - the heads say it
        """See `OpKind.cost`: two multiply-accumulates per value."""
        return 2 * self.heads.dim * (1 if self.by_head else self.heads.queries)

    def run(self, backend: Backend, operands: Sequence[Any]) -> Any:
        """See `OpKind.run`."""
        return backend.transformer.rotary(*operands, heads=self.heads, shift=self.shift, by_head=self.by_head)

    def needs(self, row: int, col: int) -> tuple[Need, ...]:
        """See `OpKind.needs`."""
        line, head, place = self._place(row, col)
        middle = self.heads.dim >> 1
        first = head * self.heads.dim + place % middle
        pair = (Need(0, line, cols=range(at, at + 1)) for at in (first, first + middle))
        return (*pair, Need(1, self.heads.past + line % self.heads.tokens))

    def check(self, row: int, col: int, rows: Sequence[Array]) -> Expected:
        """See `OpKind.check`."""
        place = self._place(row, col)[2]
        middle = self.heads.dim >> 1
        turns = rows[2][[place % middle, middle + place % middle]]
        turned = rotary_rows(np.concatenate(rows[:2])[None], turns[None], shift=self.shift)
        return Expected(col, turned[0, place // middle :][:1])

    def _place(self, row: int, col: int) -> tuple[int, int, int]:
        """An element's row of X, head, and place in the head."""
        if not self.by_head:
            return (row, *divmod(col, self.heads.dim))
        sequence, head, token = self.heads.query(row)
        return sequence * self.heads.tokens + token, head, col
