"""`first_rows`: the first row of each block: the token that stands for its sequence."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pouw.backends.backend import Backend
from pouw.hashing import framed, u32
from pouw.ops.kind import Bounded, Expected, Need
from pouw.ops.require import require, require_constant, require_count
from pouw.program_error import ProgramReason
from pouw.tensors import Array, TensorSpec


@dataclass(frozen=True, slots=True)
class FirstRows:
    """The first row of each of `blocks` blocks of `rows` rows. A cell is a row.

    Args:
        blocks: one per sequence.
        rows: of a block.
    """

    blocks: int
    rows: int

    def encode(self) -> bytes:
        """See `OpKind.encode`."""
        return framed(b"first_rows", u32(self.blocks) + u32(self.rows))

    def infer(self, operands: Sequence[Bounded]) -> Bounded:
        """See `OpKind.infer`."""
        require_count("first_rows", operands, 1)
        require_constant("first_rows of blocks of", self.rows, 1, 1 << 30)
        x = operands[0]
        require(
            x.spec.rows == self.blocks * self.rows,
            ProgramReason.SHAPE,
            f"first_rows of {x.spec.rows} rows in {self.blocks} blocks of {self.rows}",
        )
        return Bounded(TensorSpec(self.blocks, x.spec.cols, x.spec.dtype), x.low, x.high)

    def cost(self, operands: Sequence[TensorSpec]) -> int:  # noqa: ARG002 - a copy is no work
        """See `OpKind.cost`: the least there is."""
        return 1

    def run(self, backend: Backend, operands: Sequence[Any]) -> Any:
        """See `OpKind.run`."""
        return backend.encoder.first_rows(operands[0], blocks=self.blocks)

    def needs(self, row: int, col: int) -> tuple[Need, ...]:  # noqa: ARG002 - the whole row
        """See `OpKind.needs`."""
        return (Need(0, row * self.rows),)

    def check(self, row: int, col: int, rows: Sequence[Array]) -> Expected:  # noqa: ARG002 - the whole row
        """See `OpKind.check`."""
        return Expected(0, rows[0])
