"""`rotary_gradient`: errors of queries or keys turned back by the angles of their positions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pouw.arithmetic.heads import Heads
from pouw.arithmetic.tables import TURN_BITS
from pouw.arithmetic.transformer_training_rows import ERROR_LIMIT, rotary_gradient_rows
from pouw.backends.backend import Backend
from pouw.hashing import framed
from pouw.ops.kind import Bounded, Expected, Need
from pouw.ops.require import require, require_count, require_dtype, require_spec, size_of
from pouw.program_error import ProgramReason
from pouw.tensors import Array, DType, TensorSpec


@dataclass(frozen=True, slots=True)
class RotaryGradient:
    """Each head of the errors E[s * tokens + t], turned back by the angles of position t, int16.

    Operands: E int16 [sequences * tokens, queries * dim], turns int16 [positions, dim]. A cell is one
    element; it opens the pair that it is turned from, and the angles of its position.

    Args:
        heads: of a whole text, without a past.
    """

    heads: Heads

    def encode(self) -> bytes:
        """See `OpKind.encode`."""
        return framed(b"rotary_gradient", self.heads.encode())

    def infer(self, operands: Sequence[Bounded]) -> Bounded:
        """See `OpKind.infer`."""
        require_count("rotary_gradient", operands, 2)
        heads = self.heads
        rows, cols = heads.sequences * heads.tokens, heads.queries * heads.dim
        require_spec("rotary_gradient's errors", operands[0], rows, cols, DType.INT16)
        turns = operands[1].spec
        require_dtype("rotary_gradient's turns", turns, DType.INT16)
        require(
            turns.cols == heads.dim and heads.dim % 2 == 0 and turns.rows >= heads.tokens and not heads.past,
            ProgramReason.SHAPE,
            f"rotary_gradient's turns of {turns.rows} x {turns.cols} for {heads}",
        )
        one = 1 << TURN_BITS
        require(
            size_of(operands[1]) <= one, ProgramReason.RANGE, f"turns of {size_of(operands[1])}, beyond {one}"
        )
        return Bounded(TensorSpec(rows, cols, DType.INT16), -ERROR_LIMIT, ERROR_LIMIT)

    def cost(self, operands: Sequence[TensorSpec]) -> int:
        """See `OpKind.cost`: two multiply-accumulates per value."""
        return 2 * operands[0].cols

    def run(self, backend: Backend, operands: Sequence[Any]) -> Any:
        """See `OpKind.run`."""
        return backend.transformer_training.rotary_gradient(*operands, heads=self.heads)

    def needs(self, row: int, col: int) -> tuple[Need, ...]:
        """See `OpKind.needs`."""
        middle = self.heads.dim >> 1
        first = col - col % self.heads.dim + col % middle
        pair = (Need(0, row, cols=range(at, at + 1)) for at in (first, first + middle))
        return (*pair, Need(1, row % self.heads.tokens))

    def check(self, row: int, col: int, rows: Sequence[Array]) -> Expected:  # noqa: ARG002 - one element
        """See `OpKind.check`."""
        middle = self.heads.dim >> 1
        place = col % self.heads.dim
        turns = rows[2][[place % middle, middle + place % middle]]
        turned = rotary_gradient_rows(np.concatenate(rows[:2])[None], turns[None])
        return Expected(col, turned[0, place // middle :][:1])
