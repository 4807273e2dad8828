"""`last_rows`: the last tokens of each sequence, the only ones whose logits are wanted."""

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
class LastRows:
    """The last `keep` rows of each of `blocks` blocks of `rows` rows. A cell is a row.

    Args:
        blocks: one per sequence.
        rows: of a block.
        keep: 1..rows.
    """

    blocks: int
    rows: int
    keep: int

    def encode(self) -> bytes:
        """See `OpKind.encode`."""
        return framed(b"last_rows", u32(self.blocks) + u32(self.rows) + u32(self.keep))

    def infer(self, operands: Sequence[Bounded]) -> Bounded:
        """See `OpKind.infer`."""
        require_count("last_rows", operands, 1)
        require_constant("last_rows of blocks of", self.rows, 1, 1 << 30)
        require_constant("last_rows that keep", self.keep, 1, self.rows)
        spec = operands[0].spec
        require(
            spec.rows == self.blocks * self.rows,
            ProgramReason.SHAPE,
            f"last_rows of {spec.rows} rows in {self.blocks} blocks of {self.rows}",
        )
        kept = TensorSpec(self.blocks * self.keep, spec.cols, spec.dtype)
        return Bounded(kept, operands[0].low, operands[0].high)

    def cost(self, operands: Sequence[TensorSpec]) -> int:  # noqa: ARG002 - a copy is no work
        """See `OpKind.cost`: the least there is."""
        return 1

    def run(self, backend: Backend, operands: Sequence[Any]) -> Any:
        """See `OpKind.run`."""
        return backend.transformer.last_rows(operands[0], blocks=self.blocks, keep=self.keep)

    def needs(self, row: int, col: int) -> tuple[Need, ...]:  # noqa: ARG002 - the whole row
        """See `OpKind.needs`."""
        block, place = divmod(row, self.keep)
        return (Need(0, block * self.rows + self.rows - self.keep + place),)

    def check(self, row: int, col: int, rows: Sequence[Array]) -> Expected:  # noqa: ARG002 - the whole row
        """See `OpKind.check`."""
        return Expected(0, rows[0])
