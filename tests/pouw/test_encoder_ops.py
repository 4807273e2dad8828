"""The ops of encoders: every backend gives the reference's bits, every cell is what its check says."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pouw.arithmetic.encoder_rows import layer_norm_rows
from pouw.arithmetic.heads import Heads
from pouw.backends.known_encoder import ENCODER_ANSWER, encoder_digest
from pouw.ops.affine import Affine
from pouw.ops.attention_weights import AttentionWeights
from pouw.ops.first_rows import FirstRows
from pouw.ops.kind import Bounded, OpKind
from pouw.ops.layer_norm import LayerNorm
from pouw.ops.mean_pool import MeanPool
from pouw.ops.positions import Positions
from pouw.ops.split_heads import SplitHeads
from pouw.program_error import ProgramError, ProgramReason
from pouw.tensors import DType, TensorSpec
from tests.pouw.llama_world import I8, I16, I32
from tests.pouw.plain import PlainBackend
from tests.pouw.test_transformer_ops import BACKENDS, B, agree, edges, fill, one_thread, shifts
from tests.pouw.world import REFERENCE, int8s

__all__ = ["one_thread"]

TABLE = bytes((11 * i + 7) & 255 for i in range(512))


def test_the_known_answer_is_plain_arithmetic() -> None:
    for backend in (REFERENCE, PlainBackend(), *BACKENDS):
        assert encoder_digest(backend) == ENCODER_ANSWER, backend.name


@given(
    st.integers(1, 9), st.integers(1, 50) | st.sampled_from([1025, 1041]), st.integers(1, 9), edges, edges,
    shifts, st.booleans(), st.booleans(), st.sampled_from([I8, I16, I32]),
)  # fmt: skip
@settings(max_examples=50)
def test_affine(
    m: int, k: int, n: int, x: int | None, y: int | None,
    shift: int, by_row: bool, residual: bool, dtype: DType,
) -> None:  # fmt: skip
    channels = m if by_row else n
    scale, bias = (int8s(name, channels, 1).astype("<i4") * 2**20 for name in ("scale", "bias"))
    operands = [fill(x, m, k, "x"), fill(y, n, k, "y"), scale, bias]
    if residual:
        rest = np.clip(int8s("r", m, n).astype(np.int64) << 23, dtype.low, dtype.high)
        operands.append(rest.astype(dtype.numpy))
    agree(Affine(shift, dtype.high - 1, dtype, by_row=by_row, residual=residual), operands)


@given(st.integers(1, 9), st.integers(1, 50), st.integers(1, 9), edges, shifts, st.booleans())
@settings(max_examples=30)
def test_affine_through_a_table(m: int, k: int, n: int, x: int | None, shift: int, by_row: bool) -> None:
    scale, bias = (int8s(name, m if by_row else n, 1).astype("<i4") * 2**12 for name in ("scale", "bias"))
    operands = [fill(x, m, k, "x"), fill(None, n, k, "y"), scale, bias]
    agree(Affine(shift, 255, table=TABLE, by_row=by_row), operands)


@given(
    st.integers(1, 9), st.integers(1, 70), st.sampled_from(["<i2", "<i4"]), st.integers(0, 22),
    st.integers(1, 2**40), st.sampled_from([0, 3, 21, 30]), st.integers(0, 20),
    st.sampled_from([I8, I16, I32]),
)  # fmt: skip
@settings(max_examples=60)
def test_layer_norm(
    m: int, d: int, kind: str, size: int, epsilon: int, shift: int, lift: int, dtype: DType
) -> None:
    x = int8s("x", m, d).astype(np.int64) << size >> 7
    x = np.clip(x, np.iinfo(kind).min + 1, np.iinfo(kind).max).astype(kind)
    x[0] = 0
    gain, bias = int8s("gain", 1, d).astype("<i4") << 14, int8s("bias", 1, d).astype("<i4") << 20
    agree(LayerNorm(epsilon, shift, lift, dtype.high - 1, dtype), [x, gain, bias])


layouts = st.builds(
    lambda lengths, more, keys, group, dim: (
        Heads(len(lengths), 0, max(lengths) + more, keys * group, keys, dim),
        tuple(lengths),
    ),
    st.lists(st.integers(1, 6), min_size=1, max_size=3), st.integers(0, 3), st.integers(1, 3),
    st.integers(1, 3), st.sampled_from([1, 3, 8, 33]),
)  # fmt: skip


@given(layouts, edges, edges, st.sampled_from([(1, 30), (1, 0), (2900, 15), (2**30 - 1, 40), (4000, 12)]))
@settings(max_examples=60)
def test_attention_both_ways(
    layout: tuple[Heads, tuple[int, ...]], x: int | None, y: int | None, scale: tuple[int, int]
) -> None:
    heads, lengths = layout
    queries = fill(x, heads.sequences * heads.tokens, heads.queries * heads.dim, "q")
    keys = fill(y, heads.sequences * heads.keys * heads.span, heads.dim, "k")
    out = agree(AttentionWeights(heads, *scale, lengths), [queries, keys])
    assert (out.max(axis=1) == 127).all()
    for row, weights in enumerate(out):
        assert not weights[lengths[heads.query(row)[0]] :].any()


def test_a_full_length_and_the_last_query_of_a_decoder_see_the_same() -> None:
    heads = Heads(1, 0, 7, 2, 2, 8)
    operands = [fill(None, 7, 16, "q"), fill(None, 14, 8, "k")]
    both, before = (
        AttentionWeights(heads, 2900, 12, lengths).run(REFERENCE, operands) for lengths in ((7,), ())
    )
    assert np.array_equal(both[6::7], before[6::7])
    assert not np.array_equal(both, before)


@given(layouts)
@settings(max_examples=20)
def test_split_heads(layout: tuple[Heads, tuple[int, ...]]) -> None:
    heads, _ = layout
    agree(SplitHeads(heads), [int8s("x", heads.sequences * heads.tokens, heads.queries * heads.dim)])


@given(st.lists(st.integers(0, 5), min_size=1, max_size=4), st.integers(0, 3), st.integers(1, 9))
@settings(max_examples=20)
def test_positions(firsts: list[int], more: int, d: int) -> None:
    tokens, count = 5, 5 + more
    x, table = int8s("x", len(firsts) * tokens, d).astype("<i4"), int8s("t", 2 * count, d).astype("<i2")
    out = agree(Positions(tokens, count, tuple(firsts), 3), [x, table])
    for s, first in enumerate(firsts):
        for t in range(tokens):
            row = table[t if t < first else count + t].astype(int) * 8 + x[s * tokens + t]
            assert np.array_equal(out[s * tokens + t], row)


@given(layouts, st.integers(1, 9), st.sampled_from([None, 127, -128]), st.sampled_from(["i1", "<i2", "<i4"]))
@settings(max_examples=30)
def test_mean_pool(layout: tuple[Heads, tuple[int, ...]], d: int, value: int | None, kind: str) -> None:
    heads, lengths = layout
    x = fill(value, d, heads.sequences * heads.tokens, "x").astype(kind)
    out = agree(MeanPool(heads.tokens, lengths), [x])
    for s, length in enumerate(lengths):
        real = x[:, s * heads.tokens :][:, :length].mean(axis=1)
        assert np.abs(out[:, s] - real).max() <= 0.5 + 1e-9


@given(st.integers(1, 4), st.integers(1, 5))
@settings(max_examples=15)
def test_first_rows(blocks: int, rows: int) -> None:
    x = int8s("x", blocks * rows, 3)
    assert np.array_equal(agree(FirstRows(blocks, rows), [x]), x[::rows])


def test_layer_norm_float_twin() -> None:
    """Whatever the size of a row and of its mean, its last bit is right."""
    sizes = (1 << np.arange(40, dtype="<i4") % 9)[:, None]
    x = int8s("x", 40, 64).astype("<i4") * 64 * sizes + 8000 * sizes
    gain, bias = int8s("g", 1, 64).astype("<i4") * 200, int8s("b", 1, 64).astype("<i4") * 16
    got = layer_norm_rows(x, gain, bias, epsilon=5, shift=24, lift=19, limit=127)
    away = x - x.mean(axis=1, keepdims=True)
    real = away / np.sqrt((away**2).mean(axis=1, keepdims=True) + 5 / 64) * gain / 256 + bias / 32
    assert np.abs(np.clip(real, -127, 127) - got).max() < 0.52


LAYOUT = Heads(1, 0, 3, 2, 2, 4)
PAST = Heads(1, 1, 2, 2, 2, 4)


@pytest.mark.parametrize(
    ("kind", "operands"),
    [
        (Affine(3, residual=True, dtype=I32), [(I8, 5), (I8, 5), (I32, 1), (I32, 1), (I32, 4)]),
        (Affine(3, 255, table=TABLE), [(I8, 5), (I8, 5), (I32, 1), (I32, 1)]),
        (LayerNorm(1, 16, 31, 2**31 - 1, I32), [(I32, 600), (I32, 600), (I32, 600)]),
        (AttentionWeights(LAYOUT, 2**30 - 1, 62, (3,)), [(I8, 4), (I8, 4), (I8, 4), (I8, 4)]),
        (SplitHeads(LAYOUT), [(I8, 8)]),
        (Positions(3, 3, (3,), 24), [(I32, 4), (I16, 4)]),
        (MeanPool(3, (2,)), [(I32, 3)]),
        (FirstRows(3, 3), [(I32, 3)]),
    ],
)
@pytest.mark.parametrize(
    "extreme", [lambda d: d.low, lambda d: d.high, lambda _: 0], ids=["low", "high", "0"]
)
def test_no_row_of_a_peer_makes_a_check_fail(kind: OpKind, operands: list[Any], extreme: Any) -> None:
    """Values that no honest run holds: the check gives some answer, and that is not what was committed."""
    kind.check(2, 0, [np.full(size, extreme(dtype), dtype.numpy) for dtype, size in operands])


@pytest.mark.parametrize(
    ("kind", "operands", "reason"),
    [
        (Affine(0), [(2, 3, I8), (4, 3, I8), (4, 1, I32)], ProgramReason.SHAPE),
        (Affine(0), [(2, 3, I8), (4, 5, I8), (4, 1, I32), (4, 1, I8)], ProgramReason.SHAPE),
        (Affine(0), [(2, 3, I8), (4, 3, I16), (4, 1, I32), (4, 1, I32)], ProgramReason.DTYPE),
        (Affine(0), [(2, 3, I8), (4, 3, I8), (2, 1, I32), (4, 1, I32)], ProgramReason.SHAPE),
        (Affine(0), [(2, 3, I8), (4, 3, I8), (4, 1, I32), (4, 1, I32)], ProgramReason.RANGE),
        (Affine(63), [(2, 3, I8), (4, 3, I8), (4, 1, I32), (4, 1, I16)], ProgramReason.CONSTANT),
        (Affine(0, 128), [(2, 3, I8), (4, 3, I8), (4, 1, I32), (4, 1, I16)], ProgramReason.CONSTANT),
        (Affine(0, 254, table=TABLE), [(2, 3, I8)] * 4, ProgramReason.CONSTANT),
        (Affine(0, 255, table=TABLE, residual=True), [(2, 3, I8)] * 5, ProgramReason.SHAPE),
        (Affine(0, 255, I16, table=TABLE), [(2, 3, I8)] * 4, ProgramReason.DTYPE),
        (Affine(0, 1 << 14, table=TABLE), [(2, 3, I8)] * 4, ProgramReason.CONSTANT),
        (LayerNorm(0, 16, 0), [(2, 8, I16), (1, 8, I32), (1, 8, I32)], ProgramReason.CONSTANT),
        (LayerNorm(1, 16, 32), [(2, 8, I16), (1, 8, I32), (1, 8, I32)], ProgramReason.CONSTANT),
        (LayerNorm(1, 16, 0), [(2, 8, I32), (1, 8, I32), (1, 8, I32)], ProgramReason.RANGE),
        (LayerNorm(1, 16, 0), [(2, 8, I16), (1, 8, I16), (1, 8, I32)], ProgramReason.DTYPE),
        (LayerNorm(1, 16, 0), [(2, 8, I16), (1, 8, I32), (2, 8, I32)], ProgramReason.SHAPE),
        (LayerNorm(1, 16, 0, 128), [(2, 8, I16), (1, 8, I32), (1, 8, I32)], ProgramReason.CONSTANT),
        (AttentionWeights(LAYOUT, 1, 3, (4,)), [(3, 8, I8), (6, 4, I8)], ProgramReason.CONSTANT),
        (AttentionWeights(LAYOUT, 1, 3, (0,)), [(3, 8, I8), (6, 4, I8)], ProgramReason.CONSTANT),
        (AttentionWeights(LAYOUT, 1, 3, (3, 3)), [(3, 8, I8), (6, 4, I8)], ProgramReason.CONSTANT),
        (AttentionWeights(PAST, 1, 3, (2,)), [(2, 8, I8), (6, 4, I8)], ProgramReason.CONSTANT),
        (SplitHeads(LAYOUT), [(3, 4, I8)], ProgramReason.SHAPE),
        (Positions(3, 3, (3,), 25), [(3, 4, I32), (3, 4, I16)], ProgramReason.CONSTANT),
        (Positions(3, 2, (3,)), [(3, 4, I32), (3, 4, I16)], ProgramReason.CONSTANT),
        (Positions(3, 3, (4,)), [(3, 4, I32), (3, 4, I16)], ProgramReason.SHAPE),
        (Positions(3, 3, (2,)), [(3, 4, I32), (3, 4, I16)], ProgramReason.SHAPE),
        (Positions(3, 3, (3,)), [(3, 4, I32), (3, 4, I16)], ProgramReason.RANGE),
        (Positions(3, 3, (3,)), [(3, 4, I8), (3, 4, I16)], ProgramReason.DTYPE),
        (MeanPool(3, (4,)), [(2, 3, I8)], ProgramReason.CONSTANT),
        (MeanPool(3, (0,)), [(2, 3, I8)], ProgramReason.CONSTANT),
        (MeanPool(3, ()), [(2, 3, I8)], ProgramReason.CONSTANT),
        (MeanPool(3, (3,)), [(2, 4, I8)], ProgramReason.SHAPE),
        (FirstRows(2, 3), [(5, 4, I8)], ProgramReason.SHAPE),
        (FirstRows(2, 0), [(5, 4, I8)], ProgramReason.CONSTANT),
    ],
)  # fmt: skip
def test_operands_that_do_not_fit(
    kind: OpKind, operands: list[tuple[int, int, DType]], reason: ProgramReason
) -> None:
    with pytest.raises(ProgramError) as caught:
        kind.infer([Bounded(TensorSpec(rows, cols, d), *B[d]) for rows, cols, d in operands])
    assert caught.value.reason is reason


def test_no_two_ops_are_encoded_alike() -> None:
    heads = Heads(1, 0, 3, 2, 2, 4)
    kinds: list[OpKind] = [
        Affine(3), Affine(4), Affine(3, 126), Affine(3, dtype=I16), Affine(3, by_row=True),
        Affine(3, residual=True), Affine(3, table=bytes(256)), LayerNorm(1, 2, 3), LayerNorm(2, 2, 3),
        LayerNorm(1, 3, 3), LayerNorm(1, 2, 4), LayerNorm(1, 2, 3, 126), LayerNorm(1, 2, 3, 127, I16),
        AttentionWeights(heads, 1, 1), AttentionWeights(heads, 1, 1, (3,)),
        AttentionWeights(heads, 1, 1, (2,)),
        SplitHeads(heads), Positions(3, 3, (3,)), Positions(3, 4, (3,)), Positions(3, 3, (2,)),
        Positions(3, 3, (3,), 1), MeanPool(3, (3,)), MeanPool(3, (2,)), MeanPool(3, (3, 3)), FirstRows(1, 3),
        FirstRows(3, 1),
    ]  # fmt: skip
    assert len({kind.encode() for kind in kinds}) == len(kinds)
