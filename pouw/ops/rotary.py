"""`rotary`: queries or keys turned by the angles of their positions, and laid out head by head."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pouw.backends.backend import Backend
from pouw.hashing import framed, u32
from pouw.heads import Heads
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
from pouw.tables import TURN_BITS
from pouw.tensors import Array, DType, TensorSpec
from pouw.transformer_rows import rotary_rows


@dataclass(frozen=True, slots=True)
class Rotary:
    """out[(s * h + g) * tokens + t] = turn(X[s * tokens + t, g * dim : (g + 1) * dim], past + t), int8.

    Operands: X int16 [sequences * tokens, queries * dim], turns int16 [positions, dim] as
    `pouw.tables.rotary_table` gives them. Output [sequences * queries * tokens, dim]. A cell is a row.

    Args:
        heads: `queries` are the heads of X, whether they are queries or keys; `dim` is even.
        shift: 14 and what the result is narrower than X.
    """

    heads: Heads
    shift: int

    def encode(self) -> bytes:
        """See `OpKind.encode`."""
        return framed(b"rotary", self.heads.encode(), u32(self.shift))

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
        spec = TensorSpec(rows * heads.queries, heads.dim, DType.INT8)
        return Bounded(spec, -127, 127)

    def cost(self, operands: Sequence[TensorSpec]) -> int:  # noqa: ARG002 - the heads say it
        """See `OpKind.cost`: two multiply-accumulates per value."""
        return 2 * self.heads.dim

    def run(self, backend: Backend, operands: Sequence[Any]) -> Any:
        """See `OpKind.run`."""
        return backend.transformer.rotary(*operands, heads=self.heads, shift=self.shift)

    def needs(self, row: int, col: int) -> tuple[Need, ...]:  # noqa: ARG002 - the whole row
        """See `OpKind.needs`."""
        sequence, _, token = self.heads.query(row)
        return (Need(0, sequence * self.heads.tokens + token), Need(1, self.heads.past + token))

    def check(self, row: int, col: int, rows: Sequence[Array]) -> Expected:  # noqa: ARG002 - the whole row
        """See `OpKind.check`."""
        _, head, _ = self.heads.query(row)
        x = rows[0][head * self.heads.dim : (head + 1) * self.heads.dim]
        return Expected(0, rotary_rows(x[None], rows[1][None], shift=self.shift)[0])
