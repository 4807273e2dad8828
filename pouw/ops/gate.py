"""`gate`: one tensor through a table, times another: the heart of SwiGLU."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pouw.arithmetic.transformer_rows import gate_rows
from pouw.backends.backend import Backend
from pouw.hashing import framed, u32
from pouw.ops.kind import Bounded, Expected, Need
from pouw.ops.require import MAX_CONSTANT_SHIFT, require, require_constant, require_count, require_spec
from pouw.program_error import ProgramReason
from pouw.tensors import Array, DType, TensorSpec


@dataclass(frozen=True, slots=True)
class Gate:
    """out[i,j] = clamp(table[G[i,j]] * U[i,j] >> shift), int8.

    Operands: G and U, int8 [m,n]. A cell is one element.

    Args:
        table: 256 int16 values, little endian, for -128..127.
        shift: 0..62.
    """

    table: bytes
    shift: int

    def encode(self) -> bytes:
        """See `OpKind.encode`."""
        return framed(b"gate", self.table, u32(self.shift))

    def infer(self, operands: Sequence[Bounded]) -> Bounded:
        """See `OpKind.infer`."""
        require_count("gate", operands, 2)
        require_constant("gate by a shift of", self.shift, 0, MAX_CONSTANT_SHIFT)
        require(
            len(self.table) == 512, ProgramReason.CONSTANT, f"a table of {len(self.table)} bytes, not 512"
        )
        spec = operands[0].spec
        require_spec("gate's G", operands[0], spec.rows, spec.cols, DType.INT8)
        require_spec("gate's U", operands[1], spec.rows, spec.cols, DType.INT8)
        return Bounded(spec, -127, 127)

    def cost(self, operands: Sequence[TensorSpec]) -> int:
        """See `OpKind.cost`: one unit per value."""
        return operands[0].cols

    def run(self, backend: Backend, operands: Sequence[Any]) -> Any:
        """See `OpKind.run`."""
        return backend.transformer.gate(*operands, table=self.table, shift=self.shift)

    def needs(self, row: int, col: int) -> tuple[Need, ...]:
        """See `OpKind.needs`."""
        return tuple(Need(operand, row, cols=range(col, col + 1)) for operand in (0, 1))

    def check(self, row: int, col: int, rows: Sequence[Array]) -> Expected:  # noqa: ARG002 - one element
        """See `OpKind.check`."""
        return Expected(col, gate_rows(rows[0], rows[1], table=self.table, shift=self.shift))
