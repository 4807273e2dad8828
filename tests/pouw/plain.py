"""A backend in plain Python integers: nothing to wrap, round or vectorise. The reference is tested against
it."""

from operator import mul
from typing import Any

import numpy as np

from pouw.arithmetic.requant import Requant
from pouw.tensors import Array, index_dtype
from tests.pouw.plain_encoder import PlainEncoder
from tests.pouw.plain_training import PlainTraining
from tests.pouw.plain_transformer import PlainTransformer
from tests.pouw.plain_transformer_training import PlainTransformerTraining


class PlainBackend:
    """Lists of lists of int, with the number of columns' type kept beside them."""

    @property
    def name(self) -> str:
        return "plain Python"

    @property
    def training(self) -> PlainTraining:
        return PlainTraining()

    @property
    def transformer(self) -> PlainTransformer:
        return PlainTransformer()

    @property
    def transformer_training(self) -> PlainTransformerTraining:
        return PlainTransformerTraining()

    @property
    def encoder(self) -> PlainEncoder:
        return PlainEncoder()

    @property
    def rows(self) -> None: ...

    def put(self, array: Array) -> Any:
        return array.tolist(), array.dtype

    def get(self, tensor: Any) -> Array:
        rows, dtype = tensor
        array: Array = np.array(rows, np.int64)
        assert array.tolist() == array.astype(dtype).tolist(), "a value left its type"
        return array.astype(dtype)

    def matmul_nt(self, a: Any, b: Any, *, bias: Any | None, requant: Requant | None) -> Any:
        extra = [0] * len(b[0]) if bias is None else [value for (value,) in bias[0]]
        rows = [[sum(map(mul, x, y)) + z for y, z in zip(b[0], extra, strict=True)] for x in a[0]]
        if requant is None:
            return rows, np.dtype("<i4")
        return [[self._requant(value, requant) for value in row] for row in rows], np.dtype("i1")

    def argmax(self, a: Any) -> Any:
        return [[row.index(max(row))] for row in a[0]], index_dtype(len(a[0][0])).numpy

    def _requant(self, value: int, requant: Requant) -> int:
        half = 2 ** (requant.shift - 1) if requant.shift else 0
        scaled = (value * requant.multiplier + half) // 2**requant.shift
        clamped = sorted((requant.low, scaled, requant.high))[1]
        if requant.table is None:
            return clamped
        entry = requant.table[clamped + 128]
        return entry - 256 if entry > 127 else entry
