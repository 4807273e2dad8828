"""`part_sums`: what `part_products` left side by side, added up and brought to the scale of gradients."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pouw.arithmetic.stochastic import MAX_STOCHASTIC_SHIFT
from pouw.arithmetic.transformer_training_rows import wide_rows
from pouw.backends.backend import Backend
from pouw.hashing import framed, i64, u32
from pouw.ops.kind import Bounded, Expected, Need
from pouw.ops.require import (
    MAX_CONSTANT_SHIFT,
    require,
    require_constant,
    require_count,
    require_dtype,
    require_wide,
    size_of,
)
from pouw.ops.wide_linear import MAX_SEED, Chance
from pouw.program_error import ProgramReason
from pouw.tensors import MAX_COLS, Array, DType, TensorSpec


@dataclass(frozen=True, slots=True)
class PartSums:
    """out[i,j] = clamp(sum over p of A[i, j * parts + p] >> shift), rounded half up, or by chance.

    Operand: A int32 [m, n * parts]. Output int32 [m,n]. A cell is one element; it opens its parts. The bits
    are those of `WideLinear` on what the parts were made of.

    Args:
        parts: of every element, side by side.
        shift: 0..62; 0..24 with chance.
        limit: results lie in -limit..limit.
        chance: of the rounding, see `pouw.arithmetic.stochastic`; None rounds half up.
    """

    parts: int
    shift: int
    limit: int
    chance: Chance | None = None

    def encode(self) -> bytes:
        """See `OpKind.encode`."""
        chance = b"" if self.chance is None else self.chance.encode()
        return framed(b"part_sums", u32(self.parts) + u32(self.shift) + i64(self.limit), chance)

    def infer(self, operands: Sequence[Bounded]) -> Bounded:
        """See `OpKind.infer`."""
        require_count("part_sums", operands, 1)
        require_constant("part_sums of so many parts as", self.parts, 1, MAX_COLS)
        most = MAX_CONSTANT_SHIFT if self.chance is None else MAX_STOCHASTIC_SHIFT
        require_constant("part_sums by a shift of", self.shift, 0, most)
        require_constant("part_sums to a limit of", self.limit, 1, DType.INT32.high)
        spec = operands[0].spec
        require_dtype("part_sums' operand", spec, DType.INT32)
        cols, rest = divmod(spec.cols, self.parts)
        require(not rest, ProgramReason.SHAPE, f"part_sums of {spec.cols} columns in {self.parts} parts")
        if self.chance is not None:
            require_constant("part_sums by a seed of", len(self.chance.seed), 0, MAX_SEED)
            require_constant("noise of as many columns as", self.chance.cols, cols, cols)
        require_wide("a sum", self.parts * size_of(operands[0]) + (1 << self.shift))
        return Bounded(TensorSpec(spec.rows, cols, DType.INT32), -self.limit, self.limit)

    def cost(self, operands: Sequence[TensorSpec]) -> int:
        """See `OpKind.cost`: one unit per part."""
        return operands[0].cols

    def run(self, backend: Backend, operands: Sequence[Any]) -> Any:
        """See `OpKind.run`."""
        noise = None
        if self.chance is not None:
            noise = backend.put(self.chance.noise(range(operands[0].shape[0])))
        return backend.transformer_training.part_sums(
            operands[0], noise, parts=self.parts, shift=self.shift, limit=self.limit
        )

    def needs(self, row: int, col: int) -> tuple[Need, ...]:
        """See `OpKind.needs`."""
        return (Need(0, row, cols=range(col * self.parts, (col + 1) * self.parts)),)

    def check(self, row: int, col: int, rows: Sequence[Array]) -> Expected:
        """See `OpKind.check`."""
        total = rows[0].astype(np.int64).sum(keepdims=True)
        added = None if self.chance is None else self.chance.added(row, col, shift=self.shift)
        value = wide_rows(total, None, added, shift=self.shift, limit=self.limit)
        return Expected(col, value.astype(np.int32))
