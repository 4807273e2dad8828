"""`attention_mix`: the values of the keys, averaged by their weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pouw.arithmetic.heads import Heads
from pouw.arithmetic.transformer_rows import mix_values
from pouw.backends.backend import Backend
from pouw.hashing import framed, u32
from pouw.ops.kind import Bounded, Expected, Need
from pouw.ops.matmul import MAX_DEPTH
from pouw.ops.require import require, require_constant, require_count, require_spec
from pouw.program_error import ProgramReason
from pouw.tensors import Array, DType, TensorSpec

MAX_GAIN = (1 << 16) - 1


@dataclass(frozen=True, slots=True)
class AttentionMix:
    """out[i,c] = clamp(sum_j w[j] v[j] / sum_j w[j] * gain / 256), int8.

    Operands: weights and values, int8, as `Heads` lays them out. Output [sequences * tokens, queries * dim].
    A cell is one element; it opens a row of weights, and of a row of values what is of the same sequence.

    Args:
        heads: the layout.
        gain: 1..65535; 256 gives the average as it is, more uses the whole of int8 where averages are small.
    """

    heads: Heads
    gain: int = 256

    def encode(self) -> bytes:
        """See `OpKind.encode`."""
        return framed(b"attention_mix", self.heads.encode(), u32(self.gain))

    def infer(self, operands: Sequence[Bounded]) -> Bounded:
        """See `OpKind.infer`."""
        require_count("attention_mix", operands, 2)
        require_constant("attention_mix with a gain of", self.gain, 1, MAX_GAIN)
        heads = self.heads
        rows = heads.sequences * heads.queries * heads.tokens
        require_spec("the weights", operands[0], rows, heads.span, DType.INT8)
        require_spec(
            "the values", operands[1], heads.keys * heads.dim, heads.sequences * heads.span, DType.INT8
        )
        require(operands[0].low >= 0, ProgramReason.RANGE, f"weights from {operands[0].low}, below 0")
        require(
            heads.span <= MAX_DEPTH, ProgramReason.RANGE, f"sums of {heads.span}, exact up to {MAX_DEPTH}"
        )
        return Bounded(
            TensorSpec(heads.sequences * heads.tokens, heads.queries * heads.dim, DType.INT8), -127, 127
        )

    def cost(self, operands: Sequence[TensorSpec]) -> int:  # noqa: ARG002 - the heads say it
        """See `OpKind.cost`: every key of every element."""
        return self.heads.queries * self.heads.dim * self.heads.span

    def run(self, backend: Backend, operands: Sequence[Any]) -> Any:
        """See `OpKind.run`."""
        return backend.transformer.attention_mix(*operands, heads=self.heads, gain=self.gain)

    def needs(self, row: int, col: int) -> tuple[Need, ...]:
        """See `OpKind.needs`."""
        heads = self.heads
        sequence, token = divmod(row, heads.tokens)
        head, channel = divmod(col, heads.dim)
        weights = (sequence * heads.queries + head) * heads.tokens + token
        first = sequence * heads.span
        along = range(first, first + heads.span)
        return (Need(0, weights), Need(1, head // heads.group * heads.dim + channel, cols=along))

    def check(self, row: int, col: int, rows: Sequence[Array]) -> Expected:  # noqa: ARG002 - one element
        """See `OpKind.check`."""
        weights, values = (line.astype(np.int64) for line in rows)
        total, weight = (weights * values).sum(keepdims=True), weights.sum(keepdims=True)
        return Expected(col, mix_values(total, weight, gain=self.gain))
