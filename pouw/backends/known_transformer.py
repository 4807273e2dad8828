"""The part of the known-answer test that transformers need, with its own pinned answer."""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pouw.arithmetic.heads import Heads
from pouw.arithmetic.tables import rotary_table, silu_table
from pouw.arithmetic.transformer_rows import draw_token
from pouw.backends.answers import digest_of, filled
from pouw.backends.backend import Backend
from pouw.tensors import Array, DType, index_dtype

TRANSFORMER_ANSWER: Final = "c19cf09499059857b884dd257fdf76c8562004b677d4bd38c1bb62ef1ce47abd"
"""BLAKE3 over all results below, from the reference backend; checked against plain Python integers in the
tests."""

_LAYOUTS: Final = (
    Heads(1, 0, 5, 2, 1, 8),
    Heads(2, 3, 4, 4, 2, 6),
    Heads(1, 0, 33, 1, 1, 64),
    Heads(1, 1040, 1, 2, 2, 2),
    Heads(3, 1, 2, 3, 3, 16),
)
_FILLS: Final = (None, 127, -128, 0)
_SCALES: Final = ((2900, 15), (1, 0), ((1 << 30) - 1, 40), (4000, 12), (1, 30))
"""Multiplier and shift of scores and logits: usual ones, and those around the bounds of int32."""

_SHAPES: Final = ((1, 1, 1), (3, 64, 10), (17, 1041, 5), (33, 24, 40))


def transformer_digest(backend: Backend) -> str:
    """What a backend answers, in hex.

    Args:
        backend: the one that wants to serve.
    """
    return digest_of(backend, (*_attention(backend), *_rows(backend)))


def _attention(backend: Backend) -> Iterator[Any]:
    ops = backend.transformer
    for case, heads in enumerate(_LAYOUTS):
        turns = backend.put(rotary_table(heads.span, heads.dim, 10000))
        tokens, wide = heads.sequences * heads.tokens, heads.queries * heads.dim
        for fill in _FILLS:
            queries = _fill(tokens, wide, value=fill, path=(case, 0))
            keys = _fill(heads.sequences * heads.keys * heads.span, heads.dim, value=fill, path=(case, 1))
            values = _fill(heads.keys * heads.dim, heads.sequences * heads.span, value=fill, path=(case, 2))
            fine = backend.put(queries.astype("<i2") * np.int16(256) + queries)
            for by_head in (False, True):
                yield ops.rotary(fine, turns, heads=heads, shift=14 + 7 * (case % 2), by_head=by_head)
            multiplier, shift = _SCALES[case]
            pair = backend.put(queries), backend.put(keys)
            weights = ops.attention_weights(*pair, heads=heads, multiplier=multiplier, shift=shift)
            yield weights
            yield ops.attention_mix(weights, backend.put(values), heads=heads, gain=256 + 99 * case)


def _rows(backend: Backend) -> Iterator[Any]:
    ops = backend.transformer
    table = silu_table(1, 16, 4000)
    for case, (m, k, n) in enumerate(_SHAPES):
        index = backend.put((_fill(m, 1, value=None, path=(case, 9)) & 15).astype("<i2"))
        for fill in _FILLS:
            a, b = _fill(m, k, value=fill, path=(case, 3)), _fill(n, k, value=fill, path=(case, 4))
            pair = backend.put(a), backend.put(b)
            rest = _fill(m, n, value=None, path=(case, 5)).astype("<i4")
            scales = [
                backend.put(_fill(r, 1, value=None, path=(case, 6)).astype("<i4") << 20) for r in (m, n)
            ]
            yield ops.linear(*pair, scales[1], None, by_row=False, shift=30, limit=127, dtype=DType.INT8)
            yield ops.linear(
                *pair,
                scales[0],
                backend.put(rest << 15),
                by_row=True,
                shift=20,
                limit=1 << 23,
                dtype=DType.INT32,
            )
            x, gain = a.astype("<i4") << (7 * case), _fill(1, k, value=None, path=(case, 7)).astype("<i2")
            yield ops.row_norm(backend.put(x), backend.put(gain), epsilon=1 + case, shift=18)
            yield ops.gate(pair[0], backend.put(a[::-1].copy()), table=table, shift=12)
            yield ops.gather(index, backend.put(b.astype("<i2")), lift=case, dtype=DType.INT32)
            yield ops.last_rows(pair[0], blocks=1, keep=1 + m // 2)
            for by_col in (False, True):
                yield ops.append(pair[0], pair[0], blocks=1, by_col=by_col)
            multiplier, shift = _SCALES[case]
            logits = backend.get(backend.put(a.astype("<i2") << 7))
            yield backend.put(_drawn(logits, multiplier=multiplier, shift=shift, first=case))


def _drawn(logits: NDArray[np.int16], *, multiplier: int, shift: int, first: int) -> Array:
    """Tokens are drawn on the host, by the definition: what counts is that logits come back as they went."""
    tokens = [
        draw_token(row, multiplier=multiplier, shift=shift, seed=b"seed", position=first + place)
        for place, row in enumerate(logits)
    ]
    return np.array(tokens, index_dtype(logits.shape[1]).numpy).reshape(-1, 1)


def _fill(rows: int, cols: int, *, value: int | None, path: tuple[int, ...]) -> NDArray[np.int8]:
    return filled(b"known transformer", rows, cols, value=value, path=path)
