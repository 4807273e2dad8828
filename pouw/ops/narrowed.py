"""`narrowed`: an int32 tensor in fewer bits, such as the weights in use of a master copy."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pouw.arithmetic.fixed import clamped, rounded
from pouw.backends.backend import Backend
from pouw.hashing import framed, i64, u32
from pouw.ops.elementwise import block_of, same_block
from pouw.ops.kind import Bounded, Expected, Need
from pouw.ops.require import require, require_constant, require_count, require_dtype
from pouw.program_error import ProgramReason
from pouw.tensors import Array, DType, TensorSpec


@dataclass(frozen=True, slots=True)
class Narrowed:
    """out = clamp(A >> shift, -limit, limit), rounded half up.

    Operand: A int32 [m,n]. Output [m,n] of type `dtype`. A cell is a block of columns.

    Args:
        shift: 0..31.
        limit: 1 to what the type holds.
        dtype: INT8 or INT16.
    """

    shift: int
    limit: int
    dtype: DType

    def encode(self) -> bytes:
        """See `OpKind.encode`."""
        return framed(b"narrowed", u32(self.shift) + i64(self.limit) + bytes([self.dtype]))

    def infer(self, operands: Sequence[Bounded]) -> Bounded:
        """See `OpKind.infer`."""
        require_count("narrowed", operands, 1)
        require_constant("narrowed by a shift of", self.shift, 0, 31)
        require(
            self.dtype in (DType.INT8, DType.INT16),
            ProgramReason.DTYPE,
            f"narrowed to {self.dtype.name}, it must be INT8 or INT16",
        )
        require_constant("narrowed to a limit of", self.limit, 1, self.dtype.high)
        spec = operands[0].spec
        require_dtype("narrowed's operand", spec, DType.INT32)
        return Bounded(TensorSpec(spec.rows, spec.cols, self.dtype), -self.limit, self.limit)

    def cost(self, operands: Sequence[TensorSpec]) -> int:
        """See `OpKind.cost`: one unit per value."""
        return operands[0].cols

    def run(self, backend: Backend, operands: Sequence[Any]) -> Any:
        """See `OpKind.run`."""
        return backend.transformer_training.narrowed(
            operands[0], shift=self.shift, limit=self.limit, dtype=self.dtype
        )

    def needs(self, row: int, col: int) -> tuple[Need, ...]:
        """See `OpKind.needs`."""
        return same_block(row, col, operands=1)

    def check(self, row: int, col: int, rows: Sequence[Array]) -> Expected:  # noqa: ARG002 - of one block
        """See `OpKind.check`."""
        value = clamped(rounded(rows[0].astype(np.int64), self.shift), self.limit)
        return Expected(block_of(col).start, value.astype(self.dtype.numpy))
