"""`sample`: a token per row, drawn by a seed that the task fixes, so that nobody can choose the answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pouw.arithmetic.transformer_rows import TOP_P_ALL, draw_token
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
from pouw.tensors import MAX_COLS, Array, DType, TensorSpec, index_dtype

MAX_SEED_BYTES = 64


@dataclass(frozen=True, slots=True)
class Sample:
    """out[i,0] = a token drawn in proportion to 2^(logit * scale) from the likeliest.

    `transformer_rows.draw_token` says how. Backends leave it to that definition: a few rows are drawn at a
    time, and whoever writes text waits for the token on the host.

    Operand: logits, int8 to int32 [len(seeds) * rows, n]. Output in `index_dtype(n)`. A cell is the row.

    Args:
        multiplier: of a difference of logits, 1..2^30-1.
        shift: the product, shifted, is an exponent of two in 256ths; both hold scale and temperature.
        seeds: one per sequence, so that a request draws the same alone and in a batch.
        rows: of each sequence.
        first: position of the first row of each sequence.
        top_k: how many of the likeliest may be drawn, 0..2^20; 0 for all.
        top_p: of those, the fewest that together have this share of them, in 1024ths, 1..1024.
    """

    multiplier: int
    shift: int
    seeds: tuple[bytes, ...]
    rows: int
    first: int
    top_k: int = 0
    top_p: int = TOP_P_ALL

    def encode(self) -> bytes:
        """See `OpKind.encode`."""
        if self.top_k or self.top_p != TOP_P_ALL:
            likeliest = u32(self.top_k) + u32(self.top_p)
            return framed(b"sample likeliest", self._constants(), framed(*self.seeds), likeliest)
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
        require_constant("sample of top k", self.top_k, 0, MAX_COLS)
        require_constant("sample of top p", self.top_p, 1, TOP_P_ALL)
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
        logits = backend.get(operands[0])
        tokens = [self._draw(row, logits[row]) for row in range(len(logits))]
        return backend.put(np.array(tokens, index_dtype(logits.shape[1]).numpy).reshape(-1, 1))

    def _draw(self, row: int, logits: Array) -> int:
        sequence, place = divmod(row, self.rows)
        return draw_token(
            logits, multiplier=self.multiplier, shift=self.shift, seed=self.seeds[sequence],
            position=self.first + place, top_k=self.top_k, top_p=self.top_p,
        )  # fmt: skip

    def needs(self, row: int, col: int) -> tuple[Need, ...]:  # noqa: ARG002 - the whole row
        """See `OpKind.needs`."""
        return (Need(0, row),)

    def check(self, row: int, col: int, rows: Sequence[Array]) -> Expected:  # noqa: ARG002 - the whole row
        """See `OpKind.check`."""
        return Expected(0, np.array([self._draw(row, rows[0])], index_dtype(rows[0].size).numpy))
