"""The part of the known-answer test that compiled loops need.

It reaches every type that they are compiled for, and shapes that are dealt out to threads; what torch alone
gives, which has passed the rest of the test, is the answer.
"""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from pouw.arithmetic.generator import random_bytes
from pouw.arithmetic.heads import Heads
from pouw.arithmetic.requant import Requant
from pouw.arithmetic.tables import rotary_table
from pouw.backends.backend import Backend, BackendError
from pouw.backends.cpu import CpuBackend
from pouw.tensors import Array, DType

_HEADS: Final = Heads(2, 3, 150, 4, 2, 16)
"""More queries than are scored at a time, and enough weights for four threads."""

_WIDE: Final = ((9, 40), (160, 1640))
"""Rows and columns of elementwise ops: on one thread, and on four."""

_PRODUCTS: Final = ((5, 17, 9), (130, 200, 700))
"""(m, k, n): on one thread, and on eight."""


def check_loops(backend: CpuBackend) -> None:
    """Run the test.

    Args:
        backend: the one that wants to serve.

    Raises:
        BackendError: if a single bit differs.
    """
    plain = CpuBackend(fast=backend.fast)
    for number, (got, expected) in enumerate(zip(_results(backend), _results(plain), strict=True)):
        if got.dtype != expected.dtype or not np.array_equal(got, expected):
            raise BackendError(f"{backend.name} computes otherwise than torch alone: result {number}")


def _results(backend: Backend) -> Iterator[Array]:
    for result in (
        *_products(backend), *_learning(backend), *_attention(backend), *_backward(backend),
    ):  # fmt: skip
        yield backend.get(result)


def _products(backend: Backend) -> Iterator[Any]:
    for m, k, n in _PRODUCTS:
        a, b = _noise(backend, m, k, DType.INT8), _noise(backend, n, k, DType.INT8)
        yield backend.matmul_nt(a, b, bias=None, requant=None)
        for bias in (None, _noise(backend, n, 1, DType.INT32, less=3)):
            yield backend.matmul_nt(a, b, bias=bias, requant=Requant(77, 20, low=-128))
        for by_row in (False, True):
            scale = _noise(backend, m if by_row else n, 1, DType.INT32, less=15)
            for dtype in (DType.INT8, DType.INT16, DType.INT32):
                for residual in (None, _noise(backend, m, n, dtype)):
                    yield backend.transformer.linear(
                        a, b, scale, residual, by_row=by_row, shift=21, limit=dtype.high, dtype=dtype
                    )


def _learning(backend: Backend) -> Iterator[Any]:
    ops = backend.training
    for m, n in _WIDE:
        wide, other = (_noise(backend, m, n, DType.INT32, less=less) for less in (2, 9))
        noise, gate = _noise(backend, m, n + 5, DType.INT8), _noise(backend, m, n, DType.INT8)
        yield ops.transpose(gate)
        yield ops.transpose(other)
        for a in (wide, _noise(backend, m, n, DType.INT16)):
            for shut in (None, gate):
                yield ops.stochastic(a, noise, gate=shut, start=5, shift=9)
        yield ops.rounded(wide, shift=23, low=-127, high=127, dtype=DType.INT8)
        yield ops.rounded(wide, shift=3, low=-(1 << 20), high=1 << 20, dtype=DType.INT32)
        yield ops.velocity(other, wide, gate, shift=6, friction=3, limit=1 << 24)
        yield ops.descend(wide, other, limit=1 << 29)
        yield ops.loss_gradient(other, noise, label=2, scale=14)
        yield from (backend.argmax(values) for values in (gate, other))


def _attention(backend: Backend) -> Iterator[Any]:
    ops, heads = backend.transformer, _HEADS
    rows, wide = heads.sequences * heads.tokens, heads.queries * heads.dim
    for m, n in _WIDE:
        for x in (DType.INT16, DType.INT32):
            for gain in (DType.INT16, DType.INT32):
                values = _noise(backend, m, n, x, less=8 if x is DType.INT32 else 0)
                gains = _noise(backend, 1, n, gain, less=16 if gain is DType.INT32 else 0)
                yield ops.row_norm(values, gains, epsilon=5, shift=20)
        pair = (_noise(backend, m, n, DType.INT8), _noise(backend, m, n, DType.INT8, less=1))
        yield ops.gate(*pair, table=random_bytes(b"loops", path=(), count=512), shift=14)
    turns = backend.put(rotary_table(heads.span, heads.dim, 10000))
    for by_head in (False, True):
        yield ops.rotary(
            _noise(backend, rows, wide, DType.INT16), turns, heads=heads, shift=20, by_head=by_head
        )
    queries = _noise(backend, rows, wide, DType.INT8, less=2)
    keys = _noise(backend, heads.sequences * heads.keys * heads.span, heads.dim, DType.INT8, less=2)
    values = _noise(backend, heads.keys * heads.dim, heads.sequences * heads.span, DType.INT8)
    weights = ops.attention_weights(queries, keys, heads=heads, multiplier=2900, shift=10)
    yield weights
    yield ops.attention_mix(weights, values, heads=heads, gain=900)


def _backward(backend: Backend) -> Iterator[Any]:
    ops = backend.transformer_training
    for m, k, n in _PRODUCTS:
        a, b = _noise(backend, m, k, DType.INT16, less=1), _noise(backend, n, k, DType.INT8)
        for dtype in (DType.INT16, DType.INT32):
            for onto in (None, _noise(backend, m, n, dtype)):
                yield ops.wide_linear(a, b, onto, None, shift=9, limit=dtype.high, dtype=dtype)
    for m, n in _WIDE:
        errors, other = (_noise(backend, m, n, DType.INT32, less=less) for less in (14, 2))
        for x in (_noise(backend, m, n, DType.INT16), _noise(backend, m, n, DType.INT32, less=8)):
            for onto in (None, _noise(backend, m, n, DType.INT16)):
                yield ops.norm_gradient(x, errors, onto, epsilon=5, shift=15)
        yield ops.lion(other, errors, other, rate=1 << 9, fade=20, keep=9, lift=4, limit=1 << 29)


def _noise(backend: Backend, rows: int, cols: int, dtype: DType, *, less: int = 0) -> Any:
    """Pseudo-random numbers of a type, `less` bits smaller than it allows."""
    stretch = random_bytes(b"known loops", path=(rows, cols, dtype), count=rows * cols * dtype.size)
    return backend.put(np.frombuffer(stretch, dtype.numpy).reshape(rows, cols) >> less)
