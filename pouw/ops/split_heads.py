"""`split_heads`: values laid out by token, laid out head by head, as keys must lie."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pouw.arithmetic.heads import Heads
from pouw.backends.backend import Backend
from pouw.hashing import framed
from pouw.ops.kind import Bounded, Expected, Need
from pouw.ops.require import require_count, require_spec
from pouw.tensors import Array, TensorSpec


@dataclass(frozen=True, slots=True)
class SplitHeads:
    """out[(s * queries + h) * tokens + t] = X[s * tokens + t, h * dim ...].

    Operand: X [sequences * tokens, queries * dim] of any type. A cell is a row. Rotary models need none of
    it: `Rotary` lays its keys out on the way.

    Args:
        heads: `queries` are the heads of X, whether they are queries or keys.
    """

    heads: Heads

    def encode(self) -> bytes:
        """See `OpKind.encode`."""
        return framed(b"split_heads", self.heads.encode())

    def infer(self, operands: Sequence[Bounded]) -> Bounded:
        """See `OpKind.infer`."""
        require_count("split_heads", operands, 1)
        heads, x = self.heads, operands[0]
        rows = heads.sequences * heads.tokens
        require_spec("split_heads' X", x, rows, heads.queries * heads.dim, x.spec.dtype)
        return Bounded(TensorSpec(rows * heads.queries, heads.dim, x.spec.dtype), x.low, x.high)

    def cost(self, operands: Sequence[TensorSpec]) -> int:  # noqa: ARG002 - a copy is no work
        """See `OpKind.cost`: the least there is."""
        return 1

    def run(self, backend: Backend, operands: Sequence[Any]) -> Any:
        """See `OpKind.run`."""
        return backend.encoder.split_heads(operands[0], heads=self.heads)

    def needs(self, row: int, col: int) -> tuple[Need, ...]:  # noqa: ARG002 - the whole row
        """See `OpKind.needs`."""
        sequence, _, token = self.heads.query(row)
        return (Need(0, sequence * self.heads.tokens + token),)

    def check(self, row: int, col: int, rows: Sequence[Array]) -> Expected:  # noqa: ARG002 - the whole row
        """See `OpKind.check`."""
        first = self.heads.query(row)[1] * self.heads.dim
        return Expected(0, rows[0][first : first + self.heads.dim])
