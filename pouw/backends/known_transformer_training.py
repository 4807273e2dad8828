"""The part of the known-answer test that training transformers needs, with its own pinned answer."""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from pouw.arithmetic.gate_slopes import silu_slopes
from pouw.arithmetic.generator import random_bytes
from pouw.arithmetic.heads import Heads
from pouw.arithmetic.tables import rotary_table, silu_table
from pouw.arithmetic.transformer_training_rows import ERROR_LIMIT
from pouw.backends.answers import digest_of
from pouw.backends.backend import Backend
from pouw.tensors import Array, DType

TRANSFORMER_TRAINING_ANSWER: Final = "25ca138957b80c0034b02c05f1587062399c4c80645cd76e1bcb3be42b11ebf7"
"""BLAKE3 over all results below, from the reference backend; checked against plain Python integers in the
tests."""

_LAYOUTS: Final = (Heads(1, 0, 5, 2, 2, 8), Heads(2, 0, 7, 1, 1, 2), Heads(1, 0, 33, 1, 1, 64))
_ERRORS: Final = (None, ERROR_LIMIT, -ERROR_LIMIT)
_SHAPES: Final = ((1, 1, 1), (3, 64, 10), (4, 500, 8), (5, 1041, 3), (16, 24, 40))
"""(m, k, n): around the depths at which sums of errors outgrow int32."""

_SHIFTS: Final = (0, 7, 9, 24)
_MASTER_LIMIT: Final = (1 << 30) - 1


def transformer_training_digest(backend: Backend) -> str:
    """What a backend answers, in hex.

    Args:
        backend: the one that wants to serve.
    """
    parts = (*_products(backend), *_attention(backend), *_rows(backend), *_updates(backend))
    return digest_of(backend, parts)


def _products(backend: Backend) -> Iterator[Any]:
    ops = backend.transformer_training
    for case, (m, k, n) in enumerate(_SHAPES):
        noise = backend.put(_bytes(m, n, path=(case, 0)))
        onto = backend.put(_wide(m, n, less=2, path=(case, 1)))
        for fill in _ERRORS:
            a = backend.put(_errors(m, k, value=fill, path=(case, 2)))
            b = _bytes(n, k, path=(case, 3)) if fill is None else np.full((n, k), -128, np.int8)
            pair = a, backend.put(b)
            for shift in _SHIFTS:
                narrow = {"shift": shift, "limit": ERROR_LIMIT, "dtype": DType.INT16}
                wide = {"shift": shift, "limit": _MASTER_LIMIT, "dtype": DType.INT32}
                yield ops.wide_linear(*pair, None, None, **narrow)  # type: ignore[arg-type]
                yield ops.wide_linear(*pair, None, noise, **narrow)  # type: ignore[arg-type]
                yield ops.wide_linear(*pair, onto, None, **wide)  # type: ignore[arg-type]
        side_by_side = backend.put(_wide(m, 3 * n, less=0, path=(case, 8)))
        for shift in _SHIFTS:
            for chance in (None, noise):
                yield ops.part_sums(side_by_side, chance, parts=3, shift=shift, limit=_MASTER_LIMIT)


def _attention(backend: Backend) -> Iterator[Any]:
    ops = backend.transformer_training
    for case, heads in enumerate(_LAYOUTS):
        rows, width = heads.sequences * heads.tokens, heads.queries * heads.dim
        turns = backend.put(rotary_table(heads.tokens, heads.dim, 10000))
        seen = np.tile(np.tri(heads.tokens, dtype=np.int8), (heads.sequences * heads.queries, 1))
        for fill in _ERRORS:
            weights = _bytes(rows * heads.queries, heads.tokens, path=(case, 4)) & 127
            full = np.full_like(weights, 127)
            w = backend.put((weights if fill is None else full) * seen)
            errors = backend.put(_errors(rows, width, value=fill, path=(case, 5)))
            values = backend.put(_bytes(rows * heads.queries, heads.dim, path=(case, 6)))
            channels = backend.put(_errors(width, rows, value=fill, path=(case, 7)))
            yield ops.rotary_gradient(errors, turns, heads=heads)
            shares = ops.attention_shares(w, heads=heads)
            yield shares
            scores = ops.attention_errors(w, errors, values, heads=heads, shift=3 + 9 * case)
            yield scores
            yield ops.scores_turned(scores, heads=heads)
            by_channel = ops.heads_turned(values, heads=heads, to_channels=True)
            yield by_channel
            yield ops.heads_turned(by_channel, heads=heads, to_channels=False)
            yield ops.heads_product(scores, by_channel, heads=heads, multiplier=5793, shift=20)
            yield ops.heads_product(shares, channels, heads=heads, multiplier=1, shift=15)


def _rows(backend: Backend) -> Iterator[Any]:
    ops = backend.transformer_training
    for case, (m, n, _) in enumerate(_SHAPES):
        gate, up = (backend.put(_bytes(m, n, path=(case, 8 + i))) for i in range(2))
        length = next(length for length in (2, 3, 5, 7, 1) if m % length == 0)
        tokens = backend.put(_bytes(m, 1, path=(case, 10)).astype("<i2") >> 1)
        x = _wide(m, n, less=10, path=(case, 11)) >> (np.arange(m) % 20).reshape(-1, 1)
        wide = backend.put(x.astype(np.int32))
        for fill in _ERRORS:
            errors = backend.put(_errors(m, n, value=fill, path=(case, 12)))
            given = backend.put(_wide(m, n, less=14, path=(case, 13)))
            yield ops.norm_gradient(wide, given, errors, epsilon=1 + case, shift=10)
            yield ops.norm_gradient(wide, given, None, epsilon=1 << 20, shift=17)
            yield ops.gate_gradient(errors, gate, None, table=silu_table(1, 16, 1 << 11), shift=11)
            yield ops.gate_gradient(errors, gate, up, table=silu_slopes(1, 16, 1 << 14), shift=18)
            yield ops.token_gradient(errors, tokens, length=length)
            yield ops.token_loss(errors, tokens, length=length)
            turned = backend.put(_errors(n, m, value=fill, path=(case, 14)))
            yield ops.embedding_gradient(tokens, turned, rows=30, limit=40000)


def _updates(backend: Backend) -> Iterator[Any]:
    ops = backend.transformer_training
    for case, (m, n, _) in enumerate(_SHAPES):
        master, momentum, gradient = (
            backend.put(_wide(m, n, less=2 + case, path=(case, 15 + i))) for i in range(3)
        )
        yield ops.momentum(momentum, gradient, decay=1 + 3 * case, limit=1 << 29)
        yield ops.lion(
            master, momentum, gradient,
            rate=1 << 5 * case, fade=20 + 4 * case, keep=7, lift=3 * case, limit=_MASTER_LIMIT,
        )  # fmt: skip
        yield ops.narrowed(master, shift=4 * case, limit=127, dtype=DType.INT8)
        yield ops.narrowed(master, shift=31, limit=32767, dtype=DType.INT16)


def _errors(rows: int, cols: int, *, value: int | None, path: tuple[int, ...]) -> Array:
    if value is not None:
        return np.full((rows, cols), value, np.int16)
    noise = random_bytes(b"known transformer training", path=path, count=2 * rows * cols)
    words = np.frombuffer(noise, np.dtype("<i2")).reshape(rows, cols)
    return np.clip(words, -ERROR_LIMIT, ERROR_LIMIT) >> (np.arange(cols, dtype=np.int16) % 13)


def _wide(rows: int, cols: int, *, less: int, path: tuple[int, ...]) -> Array:
    noise = random_bytes(b"known transformer training", path=path, count=4 * rows * cols)
    return np.frombuffer(noise, np.dtype("<i4")).reshape(rows, cols) >> np.int32(less)


def _bytes(rows: int, cols: int, *, path: tuple[int, ...]) -> Array:
    noise = random_bytes(b"known transformer training", path=path, count=rows * cols)
    return np.frombuffer(noise, np.int8).reshape(rows, cols)
