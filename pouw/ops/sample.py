"""`sample`: a token per row, drawn by a seed that the task fixes, so that nobody can choose the answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pouw.backends.backend import Backend
from pouw.hashing import framed, u32, u64
from pouw.ops.kind import Bounded, Expected, Need
from pouw.ops.require import (
    MAX_CONSTANT_MULTIPLIER,
    MAX_CONSTANT_SHIFT,
    require,
    require_constant,
    require_count,
    require_dtype,
)
from pouw.program_error import ProgramReason
from pouw.tensors import Array, DType, TensorSpec, index_dtype
from pouw.transformer_rows import draw_token

MAX_SEED_BYTES = 64


@dataclass(frozen=True, slots=True)
class Sample:
    """out[i,0] = a token drawn in proportion to 2^(logit * scale); `transformer_rows.draw_token` says how.

    Operand: logits, int8 to int32 [len(seeds) * rows, n]. Output in `index_dtype(n)`. A cell is the row.

    Args:
        multiplier: of a difference of logits, 1..2^30-1.
        shift: the product, shifted, is an exponent of two in 256ths; both hold scale and temperature.
        seeds: one per sequence, so that a request draws the same alone and in a batch.
        rows: of each sequence.
        first: position of the first row of each sequence.
    """

    multiplier: int
    shift: int
    seeds: tuple[bytes, ...]
    rows: int
    first: int

    def encode(self) -> bytes:
        """See `OpKind.encode`."""
        return framed(b"sample", self._constants(), framed(*self.seeds))

    def _constants(self) -> bytes:
        return u32(self.multiplier) + u32(self.shift) + u32(self.rows) + u64(self.first)

    def infer(self, operands: Sequence[Bounded]) -> Bounded:
        """See `OpKind.infer`."""
        require_count("sample", operands, 1)
        require_constant("sample by a multiplier of", self.multiplier, 1, MAX_CONSTANT_MULTIPLIER)
        require_constant("sample by a shift of", self.shift, 0, MAX_CONSTANT_SHIFT - 1)
        require_constant("sample from position", self.first, 0, 1 << 31)
        require_constant("sample with a seed of", max(map(len, self.seeds), default=0), 0, MAX_SEED_BYTES)
        spec = operands[0].spec
        require_dtype("sample's logits", spec, DType.INT8, DType.INT16, DType.INT32)
        require(
            spec.rows == len(self.seeds) * self.rows and self.rows >= 1,
            ProgramReason.SHAPE,
            f"sample of {spec.rows} rows, of {len(self.seeds)} sequences of {self.rows}",
        )
        return Bounded(TensorSpec(spec.rows, 1, index_dtype(spec.cols)), 0, spec.cols - 1)

    def cost(self, operands: Sequence[TensorSpec]) -> int:
        """See `OpKind.cost`: one unit per value looked at."""
        return operands[0].cols

    def run(self, backend: Backend, operands: Sequence[Any]) -> Any:
        """See `OpKind.run`."""
        return backend.transformer.sample(
            operands[0], multiplier=self.multiplier, shift=self.shift, seeds=self.seeds, first=self.first
        )

    def needs(self, row: int, col: int) -> tuple[Need, ...]:  # noqa: ARG002 - the whole row
        """See `OpKind.needs`."""
        return (Need(0, row),)

    def check(self, row: int, col: int, rows: Sequence[Array]) -> Expected:  # noqa: ARG002 - the whole row
        """See `OpKind.check`."""
        sequence, place = divmod(row, self.rows)
        token = draw_token(
            rows[0], multiplier=self.multiplier, shift=self.shift,
            seed=self.seeds[sequence], position=self.first + place,
        )  # fmt: skip
        return Expected(0, np.array([token], index_dtype(rows[0].size).numpy))
