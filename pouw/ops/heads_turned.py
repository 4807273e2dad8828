"""`heads_turned`, `scores_turned`: what attention left behind, laid out as its gradients read it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pouw.arithmetic.heads import Heads
from pouw.backends.backend import Backend
from pouw.hashing import framed
from pouw.ops.kind import Bounded, Expected, Need
from pouw.ops.require import require_dtype, require_spec
from pouw.ops.square_heads import require_operands, require_scores
from pouw.tensors import Array, DType, TensorSpec


@dataclass(frozen=True, slots=True)
class HeadsTurned:
    """From [queries * dim, sequences * tokens] to [sequences * queries * tokens, dim], or back.

    Operand: int8. A cell is one element; it opens one.

    Args:
        heads: the layout.
        to_channels: from heads to channels.
    """

    heads: Heads
    to_channels: bool = False

    def encode(self) -> bytes:
        """See `OpKind.encode`."""
        return framed(b"heads_turned", self.heads.encode(), bytes([self.to_channels]))

    def infer(self, operands: Sequence[Bounded]) -> Bounded:
        """See `OpKind.infer`."""
        heads = self.heads
        require_operands("heads_turned", operands, heads, count=1)
        by_head = (heads.sequences * heads.queries * heads.tokens, heads.dim)
        by_channel = (heads.queries * heads.dim, heads.sequences * heads.tokens)
        before, after = (by_head, by_channel) if self.to_channels else (by_channel, by_head)
        require_spec("heads_turned's operand", operands[0], *before, DType.INT8)
        return Bounded(TensorSpec(*after, DType.INT8), operands[0].low, operands[0].high)

    def cost(self, operands: Sequence[TensorSpec]) -> int:  # noqa: ARG002 - the heads say it
        """See `OpKind.cost`: one unit per value moved."""
        heads = self.heads
        return heads.sequences * heads.tokens if self.to_channels else heads.dim

    def run(self, backend: Backend, operands: Sequence[Any]) -> Any:
        """See `OpKind.run`."""
        return backend.transformer_training.heads_turned(
            operands[0], heads=self.heads, to_channels=self.to_channels
        )

    def needs(self, row: int, col: int) -> tuple[Need, ...]:
        """See `OpKind.needs`."""
        heads = self.heads
        if self.to_channels:
            (head, place), (sequence, token) = divmod(row, heads.dim), divmod(col, heads.tokens)
            line = (sequence * heads.queries + head) * heads.tokens + token
        else:
            sequence, head, token = heads.query(row)
            line, place = head * heads.dim + col, sequence * heads.tokens + token
        return (Need(0, line, cols=range(place, place + 1)),)

    def check(self, row: int, col: int, rows: Sequence[Array]) -> Expected:  # noqa: ARG002 - one element
        """See `OpKind.check`."""
        return Expected(col, rows[0])


@dataclass(frozen=True, slots=True)
class ScoresTurned:
    """out[b,j,i] = A[b,i,j] for each head b of each sequence: rows by query become rows by key.

    Operand: int8 or int16 [sequences * queries * tokens, tokens]. A cell is one element; it opens one.

    Args:
        heads: the layout.
    """

    heads: Heads

    def encode(self) -> bytes:
        """See `OpKind.encode`."""
        return framed(b"scores_turned", self.heads.encode())

    def infer(self, operands: Sequence[Bounded]) -> Bounded:
        """See `OpKind.infer`."""
        require_operands("scores_turned", operands, self.heads, count=1)
        require_dtype("scores_turned's operand", operands[0].spec, DType.INT8, DType.INT16)
        require_scores("scores_turned's operand", operands[0], self.heads, operands[0].spec.dtype)
        return operands[0]

    def cost(self, operands: Sequence[TensorSpec]) -> int:
        """See `OpKind.cost`: one unit per value moved."""
        return operands[0].cols

    def run(self, backend: Backend, operands: Sequence[Any]) -> Any:
        """See `OpKind.run`."""
        return backend.transformer_training.scores_turned(operands[0], heads=self.heads)

    def needs(self, row: int, col: int) -> tuple[Need, ...]:
        """See `OpKind.needs`."""
        place = row % self.heads.tokens
        return (Need(0, row - place + col, cols=range(place, place + 1)),)

    def check(self, row: int, col: int, rows: Sequence[Array]) -> Expected:  # noqa: ARG002 - one element
        """See `OpKind.check`."""
        return Expected(col, rows[0])
