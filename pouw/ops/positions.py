"""`positions`: the learned vector of each token's place and segment, added to the token's own."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pouw.backends.backend import Backend
from pouw.hashing import framed, u32
from pouw.ops.kind import Bounded, Expected, Need
from pouw.ops.require import require, require_constant, require_count, require_dtype
from pouw.program_error import ProgramReason
from pouw.tensors import Array, DType, TensorSpec


@dataclass(frozen=True, slots=True)
class Positions:
    """out[s * tokens + t] = X[s * tokens + t] + (table[t + count * (t >= firsts[s])] << lift).

    Operands: X int16 or int32, the table int16 [count or 2 * count, d]: the places of the first segment, then
    those of the second. Which row a cell opens follows from the program's shape. A cell is a row.

    Args:
        tokens: of each sequence.
        count: places of a segment, at least `tokens`.
        firsts: one per sequence: tokens of its first segment, 0..tokens.
        lift: 0..24.
    """

    tokens: int
    count: int
    firsts: tuple[int, ...]
    lift: int = 0

    def encode(self) -> bytes:
        """See `OpKind.encode`."""
        numbers = (self.tokens, self.count, self.lift, *self.firsts)
        return framed(b"positions", b"".join(map(u32, numbers)))

    def infer(self, operands: Sequence[Bounded]) -> Bounded:
        """See `OpKind.infer`."""
        require_count("positions", operands, 2)
        require_constant("positions by a lift of", self.lift, 0, 24)
        require_constant("positions of sequences of", self.tokens, 1, self.count)
        x, table = operands
        require_dtype("positions' X", x.spec, DType.INT16, DType.INT32)
        require_dtype("positions' table", table.spec, DType.INT16)
        least = min(self.firsts, default=0)
        require(
            least >= 0 and max(self.firsts, default=0) <= self.tokens,
            ProgramReason.SHAPE,
            f"first segments of {self.firsts[:8]} in sequences of {self.tokens}",
        )
        segments = 1 if least == self.tokens else 2
        require(
            x.spec.rows == len(self.firsts) * self.tokens
            and table.spec.rows >= segments * self.count
            and table.spec.cols == x.spec.cols,
            ProgramReason.SHAPE,
            f"positions of {x.spec} by {table.spec} in {len(self.firsts)} sequences of {self.tokens}",
        )
        low, high = x.low + (table.low << self.lift), x.high + (table.high << self.lift)
        dtype = x.spec.dtype
        require(
            dtype.low <= low and high <= dtype.high,
            ProgramReason.RANGE,
            f"sums of {low}..{high} in {dtype.name}",
        )
        return Bounded(x.spec, low, high)

    def cost(self, operands: Sequence[TensorSpec]) -> int:
        """See `OpKind.cost`: one unit per value."""
        return operands[0].cols

    def run(self, backend: Backend, operands: Sequence[Any]) -> Any:
        """See `OpKind.run`."""
        rows = len(self.firsts) * self.tokens
        places = tuple(self._place(row) for row in range(rows))
        return backend.encoder.positions(*operands, places=places, lift=self.lift)

    def needs(self, row: int, col: int) -> tuple[Need, ...]:  # noqa: ARG002 - the whole row
        """See `OpKind.needs`."""
        return (Need(0, row), Need(1, self._place(row)))

    def _place(self, row: int) -> int:
        sequence, token = divmod(row, self.tokens)
        return token + self.count * (token >= self.firsts[sequence])

    def check(self, row: int, col: int, rows: Sequence[Array]) -> Expected:  # noqa: ARG002 - the whole row
        """See `OpKind.check`."""
        x, table = rows
        return Expected(0, (x.astype(np.int64) + (table.astype(np.int64) << self.lift)).astype(x.dtype))
