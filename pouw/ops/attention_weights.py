"""`attention_weights`: how much each query looks at each key that it may see."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pouw.arithmetic.heads import Heads
from pouw.arithmetic.transformer_rows import weight_row
from pouw.backends.backend import Backend
from pouw.hashing import framed, u32
from pouw.ops.kind import Bounded, Expected, Need
from pouw.ops.require import (
    MAX_CONSTANT_MULTIPLIER,
    MAX_CONSTANT_SHIFT,
    require_constant,
    require_count,
    require_spec,
)
from pouw.tensors import Array, DType, TensorSpec


@dataclass(frozen=True, slots=True)
class AttentionWeights:
    """out[r,j] = round(127 * 2^((s[r,j] - max s[r]) * scale)) for keys j that the query may see, else 0.

    A decoder's query sees the keys at or before it, an encoder's all keys of its sequence. Operands: queries
    and keys, int8, as `Heads` lays them out. Scores are never committed: they would be most of what is
    hashed. A cell is a row; it opens its head of the query, and the keys that it may look at, which lie side
    by side.

    Args:
        heads: the layout.
        multiplier: of a difference of scores, 1..2^30-1.
        shift: the product, shifted, is an exponent of two in 256ths.
        lengths: empty for a decoder; for an encoder, how many tokens of each sequence are its own, 1..tokens:
            those behind them are padding, which nobody sees.
    """

    heads: Heads
    multiplier: int
    shift: int
    lengths: tuple[int, ...] = ()

    def encode(self) -> bytes:
        """See `OpKind.encode`."""
        scale = u32(self.multiplier) + u32(self.shift)
        if self.lengths:
            lengths = b"".join(map(u32, self.lengths))
            return framed(b"attention_weights both ways", self.heads.encode(), scale, lengths)
        return framed(b"attention_weights", self.heads.encode(), scale)

    def infer(self, operands: Sequence[Bounded]) -> Bounded:
        """See `OpKind.infer`."""
        require_count("attention_weights", operands, 2)
        require_constant("attention_weights by a multiplier of", self.multiplier, 1, MAX_CONSTANT_MULTIPLIER)
        require_constant("attention_weights by a shift of", self.shift, 0, MAX_CONSTANT_SHIFT)
        heads = self.heads
        if self.lengths:
            require_constant("attention both ways after a past of", heads.past, 0, 0)
            require_constant("attention over a sequence of", min(self.lengths), 1, heads.tokens)
            require_constant("attention over a sequence of", max(self.lengths), 1, heads.tokens)
            require_constant("attention lengths", len(self.lengths), heads.sequences, heads.sequences)
        rows = heads.sequences * heads.queries * heads.tokens
        shape = (heads.sequences * heads.tokens, heads.queries * heads.dim)
        require_spec("the queries", operands[0], *shape, DType.INT8)
        require_spec(
            "the keys", operands[1], heads.sequences * heads.keys * heads.span, heads.dim, DType.INT8
        )
        # Scores differ by at most 2^15 * 1024 = 2^25, times 2^30.
        return Bounded(TensorSpec(rows, heads.span, DType.INT8), 0, 127)

    def cost(self, operands: Sequence[TensorSpec]) -> int:  # noqa: ARG002 - the heads say it
        """See `OpKind.cost`: every score and its weight, those of unseen keys included."""
        return self.heads.span * (self.heads.dim + 1)

    def run(self, backend: Backend, operands: Sequence[Any]) -> Any:
        """See `OpKind.run`."""
        if self.lengths:
            return backend.encoder.attention_weights(
                *operands,
                heads=self.heads,
                lengths=self.lengths,
                multiplier=self.multiplier,
                shift=self.shift,
            )
        return backend.transformer.attention_weights(
            *operands, heads=self.heads, multiplier=self.multiplier, shift=self.shift
        )

    def needs(self, row: int, col: int) -> tuple[Need, ...]:  # noqa: ARG002 - the whole row
        """See `OpKind.needs`."""
        sequence, head, token = self.heads.query(row)
        first = self.heads.first_key(sequence, head)
        count = self.lengths[sequence] if self.lengths else self.heads.past + token + 1
        of_head = range(head * self.heads.dim, (head + 1) * self.heads.dim)
        return (Need(0, sequence * self.heads.tokens + token, cols=of_head), Need(1, first, count))

    def check(self, row: int, col: int, rows: Sequence[Array]) -> Expected:  # noqa: ARG002 - the whole row
        """See `OpKind.check`."""
        weights = np.zeros(self.heads.span, np.int8)
        weights[: len(rows) - 1] = weight_row(
            rows[0], np.stack(rows[1:]), multiplier=self.multiplier, shift=self.shift
        )
        return Expected(0, weights)
