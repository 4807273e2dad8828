"""Each op of a transformer: its cells and the fast backends against its run, over shapes and extremes."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pouw.arithmetic.heads import Heads
from pouw.arithmetic.tables import rotary_table, silu_table
from pouw.arithmetic.transformer_rows import draw_token, norm_rows, of_likeliest
from pouw.backends.backend import Backend
from pouw.ops.append import Append
from pouw.ops.attention_mix import AttentionMix
from pouw.ops.attention_weights import AttentionWeights
from pouw.ops.gate import Gate
from pouw.ops.gather import Gather
from pouw.ops.kind import Bounded, OpKind
from pouw.ops.last_rows import LastRows
from pouw.ops.linear import Linear
from pouw.ops.rotary import Rotary
from pouw.ops.row_norm import RowNorm
from pouw.ops.sample import Sample
from pouw.program_error import ProgramError, ProgramReason
from pouw.tensors import Array, DType, TensorSpec
from tests.pouw.llama_world import I8, I16, I32
from tests.pouw.world import REFERENCE, int8s

torch = pytest.importorskip("torch", reason="the cpu backend needs torch")

from pouw.backends.cpu import CpuBackend, open_cpu  # noqa: E402 - only where torch is

BACKENDS: list[Backend] = [open_cpu(), CpuBackend(fast=False)]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def agree(kind: OpKind, operands: list[Array]) -> Array:
    """The output, the same from every backend and from every cell, within the range that was inferred."""
    out = REFERENCE.get(kind.run(REFERENCE, operands))
    inferred = kind.infer([bounded(operand) for operand in operands])
    assert inferred.spec.holds(out)
    assert inferred.low <= int(out.min()) <= int(out.max()) <= inferred.high
    assert kind.cost([bounded(operand).spec for operand in operands]) >= 1
    for backend in BACKENDS:
        got = backend.get(kind.run(backend, [backend.put(operand) for operand in operands]))
        assert inferred.spec.holds(got)
        assert np.array_equal(got, out), backend.name
    cells = [(row, col) for row in range(out.shape[0]) for col in {0, out.shape[1] // 2, out.shape[1] - 1}]
    for row, col in cells[:: max(1, len(cells) // 60)]:
        needs = list(kind.needs(row, col))
        if isinstance(kind, Gather):
            needs.append(kind.follow(int(operands[0][row, 0])))
        rows = [part for need in needs for part in need.read(operands[need.operand])]
        expected = kind.check(row, col, rows)
        covered = slice(expected.start, expected.start + expected.values.size)
        assert expected.start <= col < covered.stop
        assert expected.values.dtype == out.dtype
        assert np.array_equal(out[row][covered], expected.values)
    return out


def bounded(array: Array) -> Bounded:
    dtype = next(dtype for dtype in DType if dtype.numpy == array.dtype)
    return Bounded(TensorSpec(len(array), array.shape[1], dtype), int(array.min()), int(array.max()))


def fill(value: int | None, rows: int, cols: int, name: str = "fill") -> Array:
    """One value everywhere, or int8 of the full range."""
    return int8s(name, rows, cols) if value is None else np.full((rows, cols), value, np.int8)


edges = st.sampled_from([None, 127, -128, 0, 1])
shifts = st.sampled_from([0, 1, 9, 20, 31, 40])


@given(
    st.integers(1, 9), st.integers(1, 50) | st.sampled_from([1025, 1041]), st.integers(1, 9), edges, edges,
    shifts, st.booleans(), st.booleans(), st.sampled_from([I8, I16, I32]),
)  # fmt: skip
@settings(max_examples=60)
def test_linear(
    m: int, k: int, n: int, x: int | None, y: int | None,
    shift: int, by_row: bool, residual: bool, dtype: DType,
) -> None:  # fmt: skip
    scale = int8s("scale", m if by_row else n, 1).astype("<i4") * 2**20
    operands = [fill(x, m, k, "x"), fill(y, n, k, "y"), scale]
    if residual:
        operands.append(np.clip(int8s("r", m, n).astype(np.int64) << 23, dtype.low, dtype.high))
        operands[-1] = operands[-1].astype(dtype.numpy)
    agree(Linear(shift, dtype.high - 1, dtype, by_row=by_row, residual=residual), operands)


@given(
    st.integers(1, 9), st.integers(1, 70), st.sampled_from(["<i2", "<i4"]),
    st.integers(0, 22), st.integers(1, 2**40), st.sampled_from([0, 3, 21, 30]),
)  # fmt: skip
@settings(max_examples=60)
def test_row_norm(m: int, d: int, dtype: str, size: int, epsilon: int, shift: int) -> None:
    x = int8s("x", m, d).astype(np.int64) << size >> 7
    x = np.clip(x, np.iinfo(dtype).min + 1, np.iinfo(dtype).max).astype(dtype)
    x[0] = 0
    agree(RowNorm(epsilon, shift), [x, int8s("gain", 1, d).astype("<i2") * 200])


heads = st.builds(
    lambda sequences, past, tokens, keys, group, half: Heads(
        sequences, past, tokens, keys * group, keys, 2 * half
    ),
    st.integers(1, 3), st.integers(0, 6), st.integers(1, 7), st.integers(1, 3), st.integers(1, 3),
    st.sampled_from([1, 2, 8, 33]),
)  # fmt: skip


@given(heads, st.sampled_from([None, 127, -128]), st.sampled_from([0, 14, 21, 40]))
@settings(max_examples=50)
def test_rotary(layout: Heads, value: int | None, shift: int) -> None:
    x = fill(value, layout.sequences * layout.tokens, layout.queries * layout.dim).astype("<i2") * 256
    turns = rotary_table(14, layout.dim, 10000)
    tokenwise, headwise = (
        agree(Rotary(layout, shift, by_head=by_head), [x, turns]) for by_head in (False, True)
    )
    split = tokenwise.reshape(layout.sequences, layout.tokens, layout.queries, layout.dim)
    assert np.array_equal(split.swapaxes(1, 2).reshape(headwise.shape), headwise)


@given(heads, edges, edges, st.sampled_from([(1, 30), (1, 0), (2900, 15), (2**30 - 1, 40), (4000, 12)]))
@settings(max_examples=60)
def test_attention_weights(layout: Heads, x: int | None, y: int | None, scale: tuple[int, int]) -> None:
    queries = fill(x, layout.sequences * layout.tokens, layout.queries * layout.dim, "q")
    keys = fill(y, layout.sequences * layout.keys * layout.span, layout.dim, "k")
    out = agree(AttentionWeights(layout, *scale), [queries, keys])
    assert (out.max(axis=1) == 127).all()
    for row, weights in enumerate(out):
        assert not weights[layout.past + layout.query(row)[2] + 1 :].any()


@given(heads, st.sampled_from([None, 0, 1, 127]), edges, st.sampled_from([1, 256, 65535]))
@settings(max_examples=60)
def test_attention_mix(layout: Heads, x: int | None, y: int | None, gain: int) -> None:
    weights = fill(x, layout.sequences * layout.queries * layout.tokens, layout.span) & 127
    values = fill(y, layout.keys * layout.dim, layout.sequences * layout.span, "v")
    agree(AttentionMix(layout, gain), [weights, values])


def test_a_long_mix_is_exact() -> None:
    layout = Heads(1, 2499, 1, 1, 1, 2)
    operands = [np.full((1, 2500), 127, np.int8), fill(127, 2, 2500)]
    operands[1][1] = int8s("v", 2500)
    assert agree(AttentionMix(layout), operands)[0, 0] == 127


@given(st.integers(1, 9), st.integers(1, 300), edges, edges, st.sampled_from([0, 12, 40]))
@settings(max_examples=30)
def test_gate(m: int, n: int, x: int | None, y: int | None, shift: int) -> None:
    agree(Gate(silu_table(1, 16, 4000), shift), [fill(x, m, n, "g"), fill(y, m, n, "u")])


@given(st.integers(1, 9), st.integers(1, 40), st.integers(1, 9), st.sampled_from([0, 5]))
@settings(max_examples=30)
def test_gather(m: int, rows: int, d: int, lift: int) -> None:
    """Indices outside the table name its ends."""
    index = int8s("i", m, 1).astype("<i2")
    out = agree(Gather(rows, lift, I32), [index, int8s("t", rows, d).astype("<i2") * 256])
    assert out.shape == (m, d)


@given(st.integers(1, 4), st.integers(1, 5), st.integers(1, 5), st.integers(1, 4), st.booleans())
@settings(max_examples=30)
def test_append(blocks: int, old: int, new: int, across: int, by_col: bool) -> None:
    first, second = int8s("old", blocks * old, across), int8s("new", blocks * new, across)
    pair = [np.ascontiguousarray(part.T) for part in (first, second)] if by_col else [first, second]
    out = agree(Append(blocks, old, new, by_col=by_col), pair)
    out = out.T if by_col else out
    assert np.array_equal(out[:old], first[:old])
    assert np.array_equal(out[old : old + new], second[:new])


@given(st.integers(1, 4), st.integers(1, 6), st.data())
@settings(max_examples=30)
def test_last_rows(blocks: int, rows: int, data: Any) -> None:
    keep = data.draw(st.integers(1, rows))
    x = int8s("x", blocks * rows, 3)
    assert np.array_equal(agree(LastRows(blocks, rows, keep), [x])[-keep:], x[-keep:])


@given(
    st.integers(1, 3), st.integers(1, 3), st.integers(1, 300), st.sampled_from(["i1", "<i2", "<i4"]),
    st.sampled_from([(1, 0), (2**30 - 1, 0), (300, 5), (1, 40)]), st.integers(0, 2**31),
    st.sampled_from([0, 1, 3, 2**20]), st.sampled_from([1, 512, 1023, 1024]),
)  # fmt: skip
@settings(max_examples=60)
def test_sample(
    sequences: int, rows: int, n: int, dtype: str, scale: tuple[int, int], first: int, top_k: int, top_p: int
) -> None:
    size = np.iinfo(dtype)
    logits = np.clip(int8s("l", sequences * rows, n).astype(np.int64) << 24, size.min, size.max)
    seeds = tuple(b"%d" % i for i in range(sequences))
    agree(Sample(*scale, seeds, rows, first, top_k, top_p), [logits.astype(dtype)])


def likeliest(logits: list[int], top_k: int, top_p: int) -> list[int]:
    """Which tokens may be drawn, written from the text, at 256 of a logit to the power of two."""
    shares = [2 ** (30 - (max(logits) - logit) // 256) for logit in logits]
    order = sorted(range(len(logits)), key=lambda token: (-logits[token], token))
    order = order[: top_k or len(order)]
    count = 1
    while 1024 * sum(shares[t] for t in order[:count]) < top_p * sum(shares[t] for t in order):
        count += 1
    return sorted(order[:count])


@given(
    st.lists(st.integers(-6, 6), min_size=1, max_size=12), st.integers(0, 13), st.integers(1, 1024),
)  # fmt: skip
@settings(max_examples=60)
def test_only_the_likeliest_are_drawn_and_all_of_them(powers: list[int], top_k: int, top_p: int) -> None:
    logits = np.array(powers, np.int16) * 256
    allowed = likeliest(logits.tolist(), top_k, top_p)
    # What is likely by a factor of 4,096 less is not drawn in 60 times: the shares themselves are looked at.
    drawn = {
        draw_token(logits, multiplier=1, shift=0, seed=b"s", position=i, top_k=top_k, top_p=top_p)
        for i in range(60)
    }
    assert drawn <= set(allowed)
    kept = of_likeliest(logits.astype(np.int64), 1 << (30 - (logits.max() - logits.astype(np.int64)) // 256),
                         top_k=top_k, top_p=top_p)  # fmt: skip
    assert np.flatnonzero(kept).tolist() == allowed


def test_equals_are_taken_from_the_lowest_number_on() -> None:
    logits = np.array([0, 512, 512, 512, 0], np.int16)
    for top_k, top_p, allowed in [(2, 1024, {1, 2}), (0, 512, {1, 2}), (0, 1, {1}), (1, 1024, {1})]:
        drawn = {
            draw_token(logits, multiplier=1, shift=0, seed=b"s", position=i, top_k=top_k, top_p=top_p)
            for i in range(60)
        }
        assert drawn == allowed


def test_norm_float_twin() -> None:
    """Whatever the size of a row, its last bit is right: tiny rows and those near the limit alike."""
    x = int8s("x", 40, 64).astype("<i4") * (1 << np.arange(40, dtype="<i4") % 17)[:, None]
    gain = int8s("g", 1, 64).astype("<i2") * 200
    got = norm_rows(x, gain, epsilon=5, shift=24)
    real = x / np.sqrt((x.astype(float) ** 2).sum(axis=1, keepdims=True) / 64 + 5 / 64) * gain / 256
    assert np.abs(np.clip(real, -127, 127) - got).max() < 0.51


def test_attention_float_twin() -> None:
    layout = Heads(1, 0, 30, 2, 1, 16)
    queries, keys, values = int8s("q", 30, 32) // 4, int8s("k", 30, 16) // 4, int8s("v", 16, 30)
    weights = AttentionWeights(layout, 2900, 12).run(REFERENCE, [queries, keys])
    got = AttentionMix(layout).run(REFERENCE, [weights, values])
    scores = np.vstack([queries[:, :16], queries[:, 16:]]) @ keys.T.astype(float) * 2900 / 4096 / 256
    scores[np.tile(np.arange(30), 2)[:, None] < np.arange(30)] = -np.inf
    shares = 2.0 ** (scores - scores.max(axis=1, keepdims=True))
    assert np.abs(weights - 127 * shares).max() < 0.8
    mixed = (shares / shares.sum(axis=1, keepdims=True)) @ values.T
    assert np.abs(got - np.hstack([mixed[:30], mixed[30:]])).max() < 2.5


def test_rotary_and_gate_float_twins() -> None:
    x = int8s("x", 20, 16).astype("<i2") * 128
    got = Rotary(Heads(1, 0, 20, 1, 1, 16), 21).run(REFERENCE, [x, rotary_table(20, 16, 10000)])
    angles = np.arange(20)[:, None] * 10000.0 ** (-np.arange(8) / 8)
    pairs = (x[:, :8] + 1j * x[:, 8:]) * np.exp(1j * angles) / 128
    assert np.abs(np.clip(np.hstack([pairs.real, pairs.imag]), -127, 127) - got).max() < 0.51
    gate, up = int8s("g", 20, 30), int8s("u", 20, 30)
    got = Gate(silu_table(1, 16, 2048), 14).run(REFERENCE, [gate, up])
    real = gate / 16 / (1 + np.exp(gate / -16)) * up / 8
    assert np.abs(np.clip(real, -127, 127) - got).max() < 0.51


def test_samples_follow_the_distribution() -> None:
    logits = np.array([0, 256, 512, -4000], np.int16)
    drawn = [draw_token(logits, multiplier=1, shift=0, seed=b"s", position=i) for i in range(4000)]
    shares = np.bincount(drawn, minlength=4) / 4000
    assert np.abs(shares - np.array([1, 2, 4, 0]) / 7).max() < 0.025
    assert drawn[:5] == [draw_token(logits, multiplier=1, shift=0, seed=b"s", position=i) for i in range(5)]


LAYOUT = Heads(1, 0, 3, 2, 1, 4)


@pytest.mark.parametrize(
    ("kind", "operands"),
    [
        (Linear(3, residual=True, dtype=I32), [(I8, 5), (I8, 5), (I32, 1), (I32, 1)]),
        (RowNorm(1, 16), [(I32, 600), (I16, 600)]),
        (Rotary(LAYOUT, 14), [(I16, 1), (I16, 1), (I16, 4)]),
        (AttentionWeights(LAYOUT, 2**30 - 1, 62), [(I8, 4), (I8, 4), (I8, 4), (I8, 4)]),
        (AttentionMix(LAYOUT, 65535), [(I8, 3), (I8, 3)]),
        (Gate(bytes(512), 0), [(I8, 1), (I8, 1)]),
        (Gather(9, 24, I32), [(I16, 1), (I32, 9)]),
        (Append(1, 3, 2, by_col=True), [(I8, 3), (I8, 2)]),
        (Sample(2**30 - 1, 61, (b"",), 3, 0), [(I32, 300)]),
    ],
)
@pytest.mark.parametrize(
    "extreme", [lambda d: d.low, lambda d: d.high, lambda _: 0], ids=["low", "high", "0"]
)
def test_no_row_of_a_peer_makes_a_check_fail(kind: OpKind, operands: list[Any], extreme: Any) -> None:
    """Values that no honest run holds: the check gives some answer, and that is not what was committed."""
    rows = [np.full(size, extreme(dtype), dtype.numpy) for dtype, size in operands]
    kind.check(2, 0, rows)


B = {dtype: (dtype.low, dtype.high) for dtype in DType}


@pytest.mark.parametrize(
    ("kind", "operands", "reason"),
    [
        (Linear(0), [(2, 3, I8), (4, 3, I8)], ProgramReason.SHAPE),
        (Linear(0), [(2, 3, I8), (4, 5, I8), (4, 1, I32)], ProgramReason.SHAPE),
        (Linear(0), [(2, 3, I8), (4, 3, I16), (4, 1, I32)], ProgramReason.DTYPE),
        (Linear(0), [(2, 3, I8), (4, 3, I8), (2, 1, I32)], ProgramReason.SHAPE),
        (Linear(63), [(2, 3, I8), (4, 3, I8), (4, 1, I32)], ProgramReason.CONSTANT),
        (Linear(0, 128), [(2, 3, I8), (4, 3, I8), (4, 1, I32)], ProgramReason.CONSTANT),
        (Linear(0), [(2, 131072, I8), (4, 131072, I8), (4, 1, I32)], ProgramReason.RANGE),
        (RowNorm(0, 16), [(2, 8, I32), (1, 8, I16)], ProgramReason.CONSTANT),
        (RowNorm(1, 16), [(2, 8, I32), (1, 8, I16)], ProgramReason.RANGE),
        (RowNorm(1, 16), [(2, 8, I16), (2, 8, I16)], ProgramReason.SHAPE),
        (Rotary(LAYOUT, 14), [(3, 8, I16), (2, 4, I16)], ProgramReason.SHAPE),
        (Rotary(LAYOUT, 14), [(3, 8, I16), (3, 4, I16)], ProgramReason.RANGE),
        (AttentionWeights(LAYOUT, 0, 3), [(3, 8, I8), (3, 4, I8)], ProgramReason.CONSTANT),
        (AttentionWeights(LAYOUT, 1, 3), [(3, 8, I8), (4, 4, I8)], ProgramReason.SHAPE),
        (AttentionMix(LAYOUT), [(6, 3, I8), (4, 3, I8)], ProgramReason.RANGE),
        (Gate(bytes(4), 1), [(6, 3, I8), (6, 3, I8)], ProgramReason.CONSTANT),
        (Gate(bytes(512), 1), [(6, 3, I8), (6, 4, I8)], ProgramReason.SHAPE),
        (Gather(9, 0, I8), [(6, 1, I8), (9, 4, I16)], ProgramReason.RANGE),
        (Gather(8, 0, I16), [(6, 1, I8), (9, 4, I16)], ProgramReason.SHAPE),
        (Append(2, 3, 1), [(6, 4, I8), (3, 4, I8)], ProgramReason.SHAPE),
        (Append(2, 3, 1), [(6, 4, I8), (2, 4, I16)], ProgramReason.DTYPE),
        (LastRows(2, 3, 4), [(6, 4, I8)], ProgramReason.CONSTANT),
        (Sample(1, 0, (b"",), 2, 0), [(3, 4, I8)], ProgramReason.SHAPE),
        (Sample(1, 0, (bytes(65),), 3, 0), [(3, 4, I8)], ProgramReason.CONSTANT),
        (Sample(1, 0, (b"",), 3, 0, -1), [(3, 4, I8)], ProgramReason.CONSTANT),
        (Sample(1, 0, (b"",), 3, 0, 0, 0), [(3, 4, I8)], ProgramReason.CONSTANT),
        (Sample(1, 0, (b"",), 3, 0, 0, 1025), [(3, 4, I8)], ProgramReason.CONSTANT),
    ],
)
def test_operands_that_do_not_fit(
    kind: OpKind, operands: list[tuple[int, int, DType]], reason: ProgramReason
) -> None:
    with pytest.raises(ProgramError) as caught:
        kind.infer([Bounded(TensorSpec(rows, cols, d), *B[d]) for rows, cols, d in operands])
    assert caught.value.reason is reason


def test_heads_that_do_not_divide() -> None:
    for numbers in [(1, 0, 1, 3, 2, 4), (0, 0, 1, 2, 2, 4), (1, 0, 1, 2, 2, 2048), (1, -1, 1, 2, 2, 4)]:
        with pytest.raises(ProgramError):
            Heads(*numbers)
