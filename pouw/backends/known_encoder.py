"""The part of the known-answer test that encoders need, with its own pinned answer."""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pouw.arithmetic.heads import Heads
from pouw.backends.answers import digest_of, filled
from pouw.backends.backend import Backend
from pouw.tensors import DType

ENCODER_ANSWER: Final = "f8bba5bebace1523c3156f23df2827d377249492ec30d035f4e4ac678f48f3c7"
"""BLAKE3 over all results below, from the reference backend; checked against plain Python integers in the
tests."""

_LAYOUTS: Final = (
    (Heads(1, 0, 5, 2, 2, 8), (5,)),
    (Heads(2, 0, 4, 4, 2, 6), (1, 4)),
    (Heads(1, 0, 33, 1, 1, 64), (30,)),
    (Heads(3, 0, 2, 3, 3, 1024), (2, 1, 2)),
)
_FILLS: Final = (None, 127, -128, 0)
_SCALES: Final = ((2900, 15), (1, 0), ((1 << 30) - 1, 40), (4000, 12))
"""Multiplier and shift of scores: usual ones, and those around the bounds of int32."""

_SHAPES: Final = ((1, 1, 1), (3, 64, 10), (17, 1041, 5), (33, 24, 40))

_TABLE: Final = bytes((7 * i + 3) & 255 for i in range(1024))


def encoder_digest(backend: Backend) -> str:
    """What a backend answers, in hex.

    Args:
        backend: the one that wants to serve.
    """
    return digest_of(backend, (*_attention(backend), *_rows(backend)))


def _attention(backend: Backend) -> Iterator[Any]:
    ops = backend.encoder
    for case, (heads, lengths) in enumerate(_LAYOUTS):
        tokens, wide = heads.sequences * heads.tokens, heads.queries * heads.dim
        multiplier, shift = _SCALES[case]
        for fill in _FILLS:
            queries = backend.put(_fill(tokens, wide, value=fill, path=(case, 0)))
            keys = _fill(heads.sequences * heads.keys * heads.span, heads.dim, value=fill, path=(case, 1))
            yield ops.attention_weights(
                queries, backend.put(keys), heads=heads, lengths=lengths, multiplier=multiplier, shift=shift
            )
            yield ops.split_heads(queries, heads=heads)


def _rows(backend: Backend) -> Iterator[Any]:
    ops = backend.encoder
    for case, (m, k, n) in enumerate(_SHAPES):
        places = tuple((7 * i) % n for i in range(m))
        lengths = tuple(1 + i % m for i in range(2))
        for fill in _FILLS:
            yield from _affine(backend, case, fill)
            x = (_fill(m, k, value=fill, path=(case, 3)).astype("<i4") << (5 * case)) + 100 * case
            gain = _fill(1, k, value=None, path=(case, 7)).astype("<i4") << (4 * case)
            bias = _fill(1, k, value=None, path=(case, 8)).astype("<i4") << 8
            for limit, dtype in ((127, DType.INT8), (30000, DType.INT16), (1 << 22, DType.INT32)):
                yield ops.layer_norm(
                    backend.put(x), backend.put(gain), backend.put(bias),
                    epsilon=1 + case, shift=16 + case, lift=case, limit=limit, dtype=dtype,
                )  # fmt: skip
            table = backend.put(_fill(n, k, value=fill, path=(case, 9)).astype("<i2") << 7)
            yield ops.positions(backend.put(x), table, places=places, lift=case)
            pooled = np.ascontiguousarray(np.concatenate([x, -x]).T)
            yield ops.mean_pool(backend.put(pooled), tokens=m, lengths=lengths)
            yield ops.first_rows(backend.put(np.concatenate([x, -x])), blocks=2)


def _affine(backend: Backend, case: int, fill: int | None) -> Iterator[Any]:
    ops, (m, k, n) = backend.encoder, _SHAPES[case]
    a, b = _fill(m, k, value=fill, path=(case, 3)), _fill(n, k, value=fill, path=(case, 4))
    pair = backend.put(a), backend.put(b)
    channels = [
        (
            backend.put(_fill(r, 1, value=None, path=(case, 6)).astype("<i4") << 20),
            backend.put(_fill(r, 1, value=None, path=(case, 5)).astype("<i4") << 14),
        )
        for r in (m, n)
    ]
    rest = backend.put(_fill(m, n, value=None, path=(case, 2)).astype("<i4") << 15)
    yield ops.affine(
        *pair, *channels[1], None, by_row=False, shift=30, limit=127, dtype=DType.INT8, table=b""
    )
    yield ops.affine(
        *pair, *channels[1], None, by_row=False, shift=28, limit=511, dtype=DType.INT8, table=_TABLE
    )
    yield ops.affine(
        *pair, *channels[0], rest, by_row=True, shift=20, limit=1 << 23, dtype=DType.INT32, table=b""
    )


def _fill(rows: int, cols: int, *, value: int | None, path: tuple[int, ...]) -> NDArray[np.int8]:
    return filled(b"known encoder", rows, cols, value=value, path=path)
