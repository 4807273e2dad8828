"""`mean_pool`: the mean of each sequence's tokens, those that only pad it left out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pouw.arithmetic.encoder_rows import mean_of
from pouw.backends.backend import Backend
from pouw.hashing import framed, u32
from pouw.ops.kind import Bounded, Expected, Need
from pouw.ops.require import require, require_constant, require_count, require_dtype, require_wide, size_of
from pouw.program_error import ProgramReason
from pouw.tensors import Array, DType, TensorSpec


@dataclass(frozen=True, slots=True)
class MeanPool:
    """out[j,s] = the mean of X[j, s * tokens + t] over t < lengths[s], rounded half up.

    Operand: X of int8 to int32, [d, sequences * tokens]: transposed, so that a cell opens one row of it and
    not one per token. Output [d, sequences] of X's type. A cell is the whole row.

    Args:
        tokens: of each sequence, padding included.
        lengths: one per sequence: its own tokens, 1..tokens.
    """

    tokens: int
    lengths: tuple[int, ...]

    def encode(self) -> bytes:
        """See `OpKind.encode`."""
        return framed(b"mean_pool", b"".join(map(u32, (self.tokens, *self.lengths))))

    def infer(self, operands: Sequence[Bounded]) -> Bounded:
        """See `OpKind.infer`."""
        require_count("mean_pool", operands, 1)
        x = operands[0]
        require_dtype("mean_pool's X", x.spec, DType.INT8, DType.INT16, DType.INT32)
        require_constant("mean_pool of least", min(self.lengths, default=0), 1, self.tokens)
        require_constant("mean_pool of most", max(self.lengths, default=0), 1, self.tokens)
        require(
            x.spec.cols == len(self.lengths) * self.tokens,
            ProgramReason.SHAPE,
            f"mean_pool of {x.spec.cols} columns, of {len(self.lengths)} sequences of {self.tokens}",
        )
        require_wide("a sum of tokens", 2 * self.tokens * (size_of(x) + 1))
        return Bounded(TensorSpec(x.spec.rows, len(self.lengths), x.spec.dtype), x.low, x.high)

    def cost(self, operands: Sequence[TensorSpec]) -> int:
        """See `OpKind.cost`: one unit per value."""
        return operands[0].cols

    def run(self, backend: Backend, operands: Sequence[Any]) -> Any:
        """See `OpKind.run`."""
        return backend.encoder.mean_pool(operands[0], tokens=self.tokens, lengths=self.lengths)

    def needs(self, row: int, col: int) -> tuple[Need, ...]:  # noqa: ARG002 - the whole row
        """See `OpKind.needs`."""
        return (Need(0, row),)

    def check(self, row: int, col: int, rows: Sequence[Array]) -> Expected:  # noqa: ARG002 - the whole row
        """See `OpKind.check`."""
        x = rows[0].astype(np.int64).reshape(len(self.lengths), self.tokens)
        totals = [int(part[:length].sum()) for part, length in zip(x, self.lengths, strict=True)]
        means = mean_of(np.array(totals, np.int64), np.array(self.lengths, np.int64))
        return Expected(0, means.astype(rows[0].dtype))
