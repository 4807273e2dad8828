"""The part of the known-answer test that training needs, with its own pinned answer."""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from pouw.arithmetic.generator import random_bytes
from pouw.backends.backend import Backend
from pouw.tensors import DType

TRAINING_ANSWER: Final = "01e8130fe62194aae9fdb13632a3a42c8947c63067a161cd66f5a08207d2e493"
"""BLAKE3 over all results below, from the reference backend; checked against plain Python integers in the
tests."""

_SHAPES: Final = ((1, 1), (3, 10), (16, 32), (33, 7), (5, 129))
_SHIFTS: Final = (0, 1, 7, 8, 9, 14, 24)
_LIMIT: Final = 1 << 30


def training_digest(backend: Backend) -> str:
    """What a backend answers, in hex.

    Args:
        backend: the one that wants to serve.
    """
    digest = blake3()
    for result in _results(backend):
        digest.update(backend.get(result).tobytes())
    return digest.hexdigest()


def _results(backend: Backend) -> Iterator[Any]:
    ops = backend.training
    for case, (m, n) in enumerate(_SHAPES):
        # Two bits are left free, so that no sum that a program may ask for leaves int32; and all extremes.
        for fill in (None, -_LIMIT, _LIMIT):
            a, b = (backend.put(_fill(m, n, value=fill, path=(case, i))) for i in range(2))
            noise = backend.put(_bytes(m, n + 3, path=(case, 2)))
            gate = backend.put(_bytes(m, n, path=(case, 3)))
            start = case % 4
            yield ops.columns(noise, start=start, count=n)
            yield ops.transpose(a)
            yield ops.total([a, b] if fill is None else [a])
            yield ops.interleaved([a, b, a])
            yield ops.loss_gradient(a, noise, label=1, scale=10 + 4 * case)
            yield ops.descend(a, b, limit=_LIMIT - 1)
            aligned = ops.columns(noise, start=start, count=n)
            for shift in _SHIFTS:
                yield ops.rounded(a, shift=shift, low=-127, high=127, dtype=DType.INT8)
                yield ops.rounded(a, shift=shift, low=-_LIMIT, high=5, dtype=DType.INT32)
                yield ops.stochastic(a, noise, gate=None, start=start, shift=shift)
                yield ops.stochastic(a, noise, gate=gate, start=start, shift=shift)
                half = ops.rounded(b, shift=1, low=-_LIMIT, high=_LIMIT, dtype=DType.INT32)
                yield ops.velocity(half, a, aligned, shift=shift, friction=1 + shift % 5, limit=_LIMIT >> 1)


def _fill(rows: int, cols: int, *, value: int | None, path: tuple[int, ...]) -> NDArray[np.int32]:
    if value is not None:
        return np.full((rows, cols), value, np.int32)
    noise = random_bytes(b"known training", path=path, count=4 * rows * cols)
    # Of every size from a few units to the whole range.
    words = np.frombuffer(noise, np.dtype("<i4")).reshape(rows, cols) >> 1
    return words >> (np.arange(rows * cols, dtype=np.int32).reshape(rows, cols) % 29)


def _bytes(rows: int, cols: int, *, path: tuple[int, ...]) -> NDArray[np.int8]:
    return np.frombuffer(random_bytes(b"known training", path=path, count=rows * cols), np.int8).reshape(
        rows, cols
    )
