"""`attention_shares`: how much of a mix came from each key, laid out key by key."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pouw.arithmetic.heads import Heads
from pouw.arithmetic.transformer_training_rows import SHARE, share_rows
from pouw.backends.backend import Backend
from pouw.hashing import framed
from pouw.ops.kind import Bounded, Expected, Need
from pouw.ops.require import require
from pouw.ops.square_heads import require_operands, require_scores
from pouw.program_error import ProgramReason
from pouw.tensors import Array, DType, TensorSpec


@dataclass(frozen=True, slots=True)
class AttentionShares:
    """out[b,j,i] = w[b,i,j] / sum_j w[b,i,j] at scale SHARE, int16, for each head b of each sequence.

    Operand: the weights of `AttentionWeights`. Output of the same shape, rows by key and columns by query, as
    the gradient of the values reads it. A cell is one element; it opens one row of weights.

    Args:
        heads: the layout.
    """

    heads: Heads

    def encode(self) -> bytes:
        """See `OpKind.encode`."""
        return framed(b"attention_shares", self.heads.encode())

    def infer(self, operands: Sequence[Bounded]) -> Bounded:
        """See `OpKind.infer`."""
        require_operands("attention_shares", operands, self.heads, count=1)
        require_scores("the weights", operands[0], self.heads, DType.INT8)
        low = operands[0].low
        require(low >= 0, ProgramReason.RANGE, f"weights from {low}, below 0")
        spec = operands[0].spec
        return Bounded(TensorSpec(spec.rows, spec.cols, DType.INT16), 0, (1 << SHARE) - 1)

    def cost(self, operands: Sequence[TensorSpec]) -> int:
        """See `OpKind.cost`: one unit per value."""
        return operands[0].cols

    def run(self, backend: Backend, operands: Sequence[Any]) -> Any:
        """See `OpKind.run`."""
        return backend.transformer_training.attention_shares(operands[0], heads=self.heads)

    def needs(self, row: int, col: int) -> tuple[Need, ...]:
        """See `OpKind.needs`."""
        return (Need(0, row - row % self.heads.tokens + col),)

    def check(self, row: int, col: int, rows: Sequence[Array]) -> Expected:
        """See `OpKind.check`."""
        key = row % self.heads.tokens
        return Expected(col, share_rows(rows[0])[key : key + 1])
