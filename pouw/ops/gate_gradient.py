"""`gate_gradient`: back through SwiGLU, to either of its branches."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pouw.arithmetic.transformer_training_rows import ERROR_LIMIT, gate_gradient_rows
from pouw.backends.backend import Backend
from pouw.hashing import framed, u32
from pouw.ops.elementwise import block_of, same_block
from pouw.ops.kind import Bounded, Expected, Need
from pouw.ops.require import MAX_CONSTANT_SHIFT, require, require_constant, require_count, require_spec
from pouw.program_error import ProgramReason
from pouw.tensors import Array, DType, TensorSpec


@dataclass(frozen=True, slots=True)
class GateGradient:
    """out[i,j] = clamp(E[i,j] * table[G[i,j]] * U[i,j] >> shift), int16; U only if asked.

    Operands: errors E int16 [m,n], G int8 [m,n] and U int8 [m,n] as `Gate` read them. With the table of the
    gate and without U this is the error of U; with the table of its slopes and with U, that of G. A cell is
    a block of columns.

    Args:
        table: 256 int16 values, little endian, for -128..127.
        shift: 0..62.
        times_up: whether there is a U.
    """

    table: bytes
    shift: int
    times_up: bool

    def encode(self) -> bytes:
        """See `OpKind.encode`."""
        return framed(b"gate_gradient", self.table, u32(self.shift) + bytes([self.times_up]))

    def infer(self, operands: Sequence[Bounded]) -> Bounded:
        """See `OpKind.infer`."""
        require_count("gate_gradient", operands, 2 + self.times_up)
        require_constant("gate_gradient by a shift of", self.shift, 0, MAX_CONSTANT_SHIFT)
        require(
            len(self.table) == 512, ProgramReason.CONSTANT, f"a table of {len(self.table)} bytes, not 512"
        )
        spec = operands[0].spec
        require_spec("gate_gradient's errors", operands[0], spec.rows, spec.cols, DType.INT16)
        for operand in operands[1:]:
            require_spec("gate_gradient's branch", operand, spec.rows, spec.cols, DType.INT8)
        return Bounded(TensorSpec(spec.rows, spec.cols, DType.INT16), -ERROR_LIMIT, ERROR_LIMIT)

    def cost(self, operands: Sequence[TensorSpec]) -> int:
        """See `OpKind.cost`: two units per value."""
        return 2 * operands[0].cols

    def run(self, backend: Backend, operands: Sequence[Any]) -> Any:
        """See `OpKind.run`."""
        return backend.transformer_training.gate_gradient(
            operands[0],
            operands[1],
            operands[2] if self.times_up else None,
            table=self.table,
            shift=self.shift,
        )

    def needs(self, row: int, col: int) -> tuple[Need, ...]:
        """See `OpKind.needs`."""
        return same_block(row, col, operands=2 + self.times_up)

    def check(self, row: int, col: int, rows: Sequence[Array]) -> Expected:  # noqa: ARG002 - of one block
        """See `OpKind.check`."""
        up = rows[2] if self.times_up else None
        values = gate_gradient_rows(rows[0], rows[1], up, table=self.table, shift=self.shift)
        return Expected(block_of(col).start, values)
