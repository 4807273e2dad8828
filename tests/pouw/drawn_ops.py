"""Ops with operands of shapes and values that hypothesis draws."""

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pouw.arithmetic.generator import random_bytes
from pouw.arithmetic.heads import Heads
from pouw.arithmetic.requant import MAX_MULTIPLIER, Requant
from pouw.arithmetic.tables import rotary_table, silu_table
from pouw.backends.backend import Backend
from pouw.ops.argmax import Argmax
from pouw.ops.attention_mix import AttentionMix
from pouw.ops.attention_weights import AttentionWeights
from pouw.ops.gate import Gate
from pouw.ops.kind import Bounded, OpKind
from pouw.ops.linear import Linear
from pouw.ops.lion import Lion
from pouw.ops.loss_gradient import LossGradient
from pouw.ops.matmul import MatmulNT
from pouw.ops.norm_gradient import MAX_NORM_SHIFT, NormGradient
from pouw.ops.optimiser import Descend, Velocity
from pouw.ops.rotary import Rotary
from pouw.ops.rounded import Rounded
from pouw.ops.row_norm import RowNorm
from pouw.ops.stochastic_requant import StochasticRequant
from pouw.ops.transpose import Transpose
from pouw.ops.wide_linear import WideLinear
from pouw.tensors import Array, DType, TensorSpec

Drawn = tuple[OpKind, list[Array]]

_SHIFTS = (0, 1, 9, 20, 31, 40, 62)
_LAYOUTS = st.builds(
    lambda sequences, past, tokens, keys, group, half: Heads(
        sequences, past, tokens, keys * group, keys, 2 * half
    ),
    st.integers(1, 3), st.integers(0, 6), st.integers(1, 40), st.integers(1, 3), st.integers(1, 3),
    st.sampled_from([1, 2, 8, 33]),
)  # fmt: skip


@st.composite
def tensors(draw: st.DrawFn, rows: int, cols: int, dtype: DType, less: int = 0) -> Array:
    """One extreme value everywhere, or pseudo-random ones; `less` bits smaller than the type allows."""
    value = draw(st.sampled_from([None, None, dtype.low + 1, dtype.high, 0, 1, -1]))
    if value is None:
        noise = random_bytes(b"drawn", path=(draw(st.integers(0, 99)),), count=rows * cols * dtype.size)
        flat = np.frombuffer(noise, dtype.numpy).reshape(rows, cols)
        return np.maximum(flat, dtype.low + 1).astype(dtype.numpy) >> less
    return np.full((rows, cols), value >> less, dtype.numpy)


@st.composite
def products(draw: st.DrawFn) -> Drawn:
    """`matmul_nt` and `linear`, around what fast paths fill up and cut."""
    m, n = (draw(st.integers(1, 40) | st.sampled_from([64, 130])) for _ in range(2))
    k = draw(st.integers(1, 70) | st.sampled_from([1024, 1025, 1041]))
    pair = [draw(tensors(m, k, DType.INT8)), draw(tensors(n, k, DType.INT8))]
    if draw(st.booleans()):
        low = draw(st.sampled_from([-128, 0]))
        table = draw(st.sampled_from([None, bytes((11 * i + 7) & 255 for i in range(256))]))
        multiplier = draw(st.sampled_from([1, 3, 255, MAX_MULTIPLIER]))
        requant = draw(
            st.sampled_from([None, Requant(multiplier, draw(st.sampled_from(_SHIFTS)), low, 127, table)])
        )
        bias = [draw(tensors(n, 1, DType.INT32, 1))] if draw(st.booleans()) else []
        return MatmulNT(requant, bias=bool(bias)), pair + bias
    by_row, residual = draw(st.booleans()), draw(st.booleans())
    dtype = draw(st.sampled_from([DType.INT8, DType.INT16, DType.INT32]))
    operands = [*pair, draw(tensors(m if by_row else n, 1, DType.INT32, 2))]
    operands += [draw(tensors(m, n, dtype))] if residual else []
    return Linear(draw(st.sampled_from(_SHIFTS)), dtype.high, dtype, by_row, residual), operands


@st.composite
def rows(draw: st.DrawFn) -> Drawn:
    """Ops that treat each row by itself."""
    m, n = draw(st.integers(1, 20)), draw(st.integers(1, 80) | st.sampled_from([1024, 1500]))
    dtype = draw(st.sampled_from([DType.INT16, DType.INT32]))
    x = draw(tensors(m, n, dtype, 8 if dtype is DType.INT32 else 0))
    narrow = [draw(tensors(m, n, DType.INT8)) for _ in range(2)]
    shift = draw(st.sampled_from(_SHIFTS))
    return draw(
        st.sampled_from(
            [
                (RowNorm(draw(st.integers(1, 2**40)), min(shift, 40)), [x, draw(tensors(1, n, DType.INT16))]),
                (Gate(silu_table(1, 16, 4000), shift), narrow),
                (Argmax(), [x]),
                (Transpose(), [narrow[0]]),
            ]
        )
    )


@st.composite
def attention(draw: st.DrawFn) -> Drawn:
    """Rotary, weights and averages of any layout."""
    heads = draw(_LAYOUTS)
    tokens, wide = heads.sequences * heads.tokens, heads.queries * heads.dim
    turns = rotary_table(heads.span, heads.dim, 10000)
    x = draw(tensors(tokens, wide, DType.INT16))
    queries = draw(tensors(tokens, wide, DType.INT8))
    keys = draw(tensors(heads.sequences * heads.keys * heads.span, heads.dim, DType.INT8))
    weights = draw(tensors(heads.sequences * heads.queries * heads.tokens, heads.span, DType.INT8)) & 127
    values = draw(tensors(heads.keys * heads.dim, heads.sequences * heads.span, DType.INT8))
    scale = draw(st.sampled_from([(1, 30), (1, 0), (2900, 15), (2**30 - 1, 40), (4000, 12)]))
    by_head, gain = draw(st.booleans()), draw(st.sampled_from([1, 256, 65535]))
    return draw(
        st.sampled_from(
            [
                (Rotary(heads, draw(st.sampled_from([0, 14, 21, 40])), by_head), [x, turns]),
                (AttentionWeights(heads, *scale), [queries, keys]),
                (AttentionMix(heads, gain), [weights, values]),
            ]
        )
    )


@st.composite
def learning(draw: st.DrawFn) -> Drawn:
    """What training does beside its products."""
    m, n = draw(st.integers(1, 20)), draw(st.integers(1, 80) | st.sampled_from([1024, 1100]))
    wide = [draw(tensors(m, n, DType.INT32, draw(st.integers(2, 23)))) for _ in range(2)]
    start, shift = draw(st.integers(0, 3)), draw(st.integers(0, 24))
    noise, gate = draw(tensors(m, n + start, DType.INT8)), draw(tensors(m, n, DType.INT8))
    dtype = draw(st.sampled_from([DType.INT8, DType.INT32]))
    label = draw(tensors(m, 2, DType.INT8))
    return draw(
        st.sampled_from(
            [
                (StochasticRequant(shift, start), [wide[0], noise]),
                (StochasticRequant(shift, start, gated=True), [wide[0], noise, gate]),
                (StochasticRequant(shift, start), [draw(tensors(m, n, DType.INT16)), noise]),
                (Rounded(shift, -127, 100, dtype), [wide[0]]),
                (LossGradient(1, draw(st.integers(10, 30))), [wide[0], label]),
                (Velocity(b"s", 3, shift, draw(st.integers(1, 16)), 1 << 29), wide),
                (Descend(1 << 28), wide),
            ]
        )
    )


@st.composite
def backward(draw: st.DrawFn) -> Drawn:
    """What transformers learn by: products of errors, gradients of norms, the optimiser."""
    m, n = draw(st.integers(1, 20)), draw(st.integers(1, 80) | st.sampled_from([1024, 1100]))
    k = draw(st.integers(1, 70) | st.sampled_from([511, 513]))
    errors, numbers = draw(tensors(m, k, DType.INT16, 1)), draw(tensors(n, k, DType.INT8))
    to = draw(st.sampled_from([DType.INT16, DType.INT32]))
    wide = [draw(tensors(m, n, DType.INT32, draw(st.integers(0, 20)))) for _ in range(3)]
    x = draw(st.sampled_from([draw(tensors(m, n, DType.INT16)), wide[0]]))
    epsilon, shift = draw(st.integers(1, 1 << 40)), draw(st.integers(0, MAX_NORM_SHIFT))
    limit = draw(st.sampled_from([1, 127, to.high]))
    product = draw(st.sampled_from(_SHIFTS))
    return draw(
        st.sampled_from(
            [
                (WideLinear(product, limit, to), [errors, numbers]),
                (WideLinear(product, limit, to, onto=True), [errors, numbers, draw(tensors(m, n, to))]),
                (NormGradient(epsilon, shift), [x, wide[1], draw(tensors(m, n, DType.INT16, 1))]),
                (NormGradient(epsilon, shift, onto=False), [x, wide[1]]),
                (Lion(draw(st.integers(1, 1 << 20)), 20, 9, 4, 1 << 30), wide),
            ]
        )
    )


def possible(kind: OpKind, operands: list[Array]) -> bool:
    """Whether a program could be built with these operands: what it refuses need not be exact."""
    try:
        kind.infer([_bounded(operand) for operand in operands])
    except ValueError:
        return False
    return True


def for_drawn(examples: int, each: Callable[[OpKind, list[Array]], None]) -> None:
    """Call `each` with drawn ops that programs can hold, the same wherever the same modules are loaded.

    Args:
        examples: draws of each of the five families.
        each: takes an op and its operands.
    """
    for family in (products(), rows(), attention(), learning(), backward()):

        @settings(
            max_examples=examples, derandomize=True, database=None, deadline=None,
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(family)
        def one(drawn: Drawn) -> None:
            if possible(*drawn):
                each(*drawn)

        one()


def result(backend: Backend, kind: OpKind, operands: list[Array]) -> Array:
    """What a backend makes of an op, on the host."""
    placed: list[Any] = [backend.put(operand) for operand in operands]
    return backend.get(kind.run(backend, placed))


def _bounded(array: Array) -> Bounded:
    dtype = next(dtype for dtype in DType if dtype.numpy == array.dtype)
    return Bounded(TensorSpec(len(array), array.shape[1], dtype), int(array.min()), int(array.max()))
