"""`attention_errors`: the gradient by the scores of attention."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from pouw.arithmetic.heads import Heads
from pouw.arithmetic.transformer_training_rows import ERROR_LIMIT, score_error_rows
from pouw.backends.backend import Backend
from pouw.hashing import framed, u32
from pouw.ops.kind import Bounded, Expected, Need
from pouw.ops.require import require, require_constant, require_spec, require_wide, size_of
from pouw.ops.square_heads import require_operands, require_scores
from pouw.program_error import ProgramReason
from pouw.tensors import Array, DType, TensorSpec

MAX_SCORE_SHIFT: Final = 30


@dataclass(frozen=True, slots=True)
class AttentionErrors:
    """out[r,j] = p[r,j] * (e[r] · v[j] - mean of that under p[r]) >> shift, p = weights / their sum, int16.

    Operands: weights int8 as `AttentionWeights` gives them; errors of the mix, int16 [sequences * tokens,
    queries * dim]; values int8 head by head, laid out as keys are. A cell is a row; it opens a row of
    weights, the errors of one head, and the values that it looked at, which lie side by side.

    Args:
        heads: the layout.
        shift: scales of errors and values together, less that of the result; 0..30.
    """

    heads: Heads
    shift: int

    def encode(self) -> bytes:
        """See `OpKind.encode`."""
        return framed(b"attention_errors", self.heads.encode(), u32(self.shift))

    def infer(self, operands: Sequence[Bounded]) -> Bounded:
        """See `OpKind.infer`."""
        heads = self.heads
        require_operands("attention_errors", operands, heads, count=3)
        require_constant("attention_errors by a shift of", self.shift, 0, MAX_SCORE_SHIFT)
        weights, errors, values = operands
        require_scores("the weights", weights, heads, DType.INT8)
        rows, cols = heads.sequences * heads.tokens, heads.queries * heads.dim
        require_spec("the errors", errors, rows, cols, DType.INT16)
        require_spec("the values", values, rows * heads.keys, heads.dim, DType.INT8)
        require(weights.low >= 0, ProgramReason.RANGE, f"weights from {weights.low}, below 0")
        pulls = heads.dim * size_of(errors) * size_of(values)
        total = heads.tokens * size_of(weights)
        require_wide("a weighted sum of pulls", 2 * pulls * total + total)
        require_wide("a weighted pull", 4 * pulls * size_of(weights) + (total << self.shift + 1))
        return Bounded(TensorSpec(weights.spec.rows, heads.tokens, DType.INT16), -ERROR_LIMIT, ERROR_LIMIT)

    def cost(self, operands: Sequence[TensorSpec]) -> int:  # noqa: ARG002 - the heads say it
        """See `OpKind.cost`: every pull, in 16 bits, and its error."""
        return self.heads.tokens * (2 * self.heads.dim + 2)

    def run(self, backend: Backend, operands: Sequence[Any]) -> Any:
        """See `OpKind.run`."""
        return backend.transformer_training.attention_errors(*operands, heads=self.heads, shift=self.shift)

    def needs(self, row: int, col: int) -> tuple[Need, ...]:  # noqa: ARG002 - the whole row
        """See `OpKind.needs`."""
        sequence, head, token = self.heads.query(row)
        first = self.heads.first_key(sequence, head)
        seen = (Need(2, value) for value in range(first, first + token + 1))
        along = range(head * self.heads.dim, (head + 1) * self.heads.dim)
        return (Need(0, row), Need(1, sequence * self.heads.tokens + token, cols=along), *seen)

    def check(self, row: int, col: int, rows: Sequence[Array]) -> Expected:  # noqa: ARG002 - the whole row
        """See `OpKind.check`."""
        heads = self.heads
        token, error = heads.query(row)[2], rows[1].astype(np.int64)
        out = np.zeros(heads.tokens, np.int16)
        # The weights of later keys are 0, which is for the cells of `attention_weights` to show.
        weights = rows[0][: token + 1].astype(np.int64)
        pulls = np.stack(rows[2:]).astype(np.int64) @ error
        out[: token + 1] = score_error_rows(weights, pulls, shift=self.shift)
        return Expected(0, out)
