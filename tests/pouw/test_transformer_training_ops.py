"""Each op of a transformer's training: cells and fast backends against its run, and against float twins."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pouw.arithmetic.cross_entropy import NATS
from pouw.arithmetic.gate_slopes import silu_slopes
from pouw.arithmetic.generator import random_bytes
from pouw.arithmetic.heads import Heads
from pouw.arithmetic.logarithms import logarithms
from pouw.arithmetic.tables import rotary_table, silu_table
from pouw.arithmetic.transformer_training_rows import (
    ERROR_LIMIT,
    norm_gradient_rows,
    parts,
    score_error_rows,
    token_gradient_rows,
    token_loss_rows,
)
from pouw.backends.backend import Backend, BackendError
from pouw.backends.known_answer import check_backend
from pouw.backends.known_transformer_training import (
    TRANSFORMER_TRAINING_ANSWER,
    transformer_training_digest,
)
from pouw.backends.reference import ReferenceBackend
from pouw.backends.reference_transformer_training import ReferenceTransformerTraining
from pouw.ops.attention_errors import AttentionErrors
from pouw.ops.attention_shares import AttentionShares
from pouw.ops.embedding_gradient import EmbeddingGradient
from pouw.ops.gate_gradient import GateGradient
from pouw.ops.heads_product import HeadsProduct
from pouw.ops.heads_turned import HeadsTurned, ScoresTurned
from pouw.ops.lion import Lion, Momentum
from pouw.ops.narrowed import Narrowed
from pouw.ops.next_token import TokenGradient, TokenLoss
from pouw.ops.norm_gradient import NormGradient
from pouw.ops.part_products import PartProducts
from pouw.ops.part_sums import PartSums
from pouw.ops.rotary_gradient import RotaryGradient
from pouw.ops.wide_linear import Chance, WideLinear
from pouw.tensors import Array, DType
from tests.pouw.plain import PlainBackend
from tests.pouw.test_transformer_ops import BACKENDS, agree
from tests.pouw.test_transformer_ops import one_thread as one_thread
from tests.pouw.world import REFERENCE, int8s

I8, I16, I32 = DType.INT8, DType.INT16, DType.INT32


def errors(name: str, rows: int, cols: int, *, value: int | None = None, less: int = 0) -> Array:
    """Errors of the whole range, or one extreme value."""
    if value is not None:
        return np.full((rows, cols), value, np.int16)
    noise = np.frombuffer(random_bytes(name.encode(), path=(), count=2 * rows * cols), "<i2")
    wide = noise.reshape(rows, cols).astype(np.int64) >> less
    return np.clip(wide, -ERROR_LIMIT, ERROR_LIMIT).astype(np.int16)


def int32s(name: str, rows: int, cols: int, less: int) -> Array:
    noise = np.frombuffer(random_bytes(name.encode(), path=(), count=4 * rows * cols), "<i4")
    return noise.reshape(rows, cols) >> less


values = st.sampled_from([None, ERROR_LIMIT, -ERROR_LIMIT, 0, 1])
layouts = st.builds(
    lambda sequences, tokens, heads, half: Heads(sequences, 0, tokens, heads, heads, 2 * half),
    st.integers(1, 3), st.integers(1, 7), st.integers(1, 3), st.sampled_from([1, 2, 8]),
)  # fmt: skip


@given(
    st.integers(1, 7), st.integers(1, 40) | st.sampled_from([499, 501, 1041]), st.integers(1, 7), values,
    st.sampled_from([0, 1, 8, 9, 24]), st.booleans(), st.booleans(), st.sampled_from([I16, I32]),
)  # fmt: skip
@settings(max_examples=60)
def test_wide_linear(
    m: int, k: int, n: int, x: int | None, shift: int, onto: bool, chance: bool, dtype: DType
) -> None:
    b = int8s("b", n, k) if x is None else np.full((n, k), -128, np.int8)
    operands = [errors("a", m, k, value=x), b]
    limit = ERROR_LIMIT if dtype is I16 else 1 << (29 if chance else 30)
    if onto:
        operands.append(np.clip(int32s("o", m, n, 0), dtype.low, dtype.high).astype(dtype.numpy))
    source = Chance(b"seed", 7, n) if chance else None
    agree(WideLinear(shift, limit, dtype, onto=onto, chance=source), operands)


@given(
    st.integers(1, 5), st.integers(1, 40), st.integers(1, 4), st.integers(1, 5), values,
    st.sampled_from([0, 1, 8, 9, 24]), st.booleans(), st.sampled_from([I8, I16]),
)  # fmt: skip
@settings(max_examples=40)
def test_parts_add_up_to_the_product_that_they_are_parts_of(
    m: int, stretch: int, parts: int, n: int, x: int | None, shift: int, chance: bool, dtype: DType
) -> None:
    k = stretch * parts
    a = errors("a", m, k, value=x) if dtype is I16 else int8s("a", m, k)
    b = int8s("b", n, k) if x is None else np.full((n, k), -128, np.int8)
    products = agree(PartProducts(stretch, parts), [a, b])
    source = Chance(b"seed", 7, n) if chance else None
    sums = agree(PartSums(parts, shift, 1 << 30, source), [products])
    assert np.array_equal(sums, agree(WideLinear(shift, 1 << 30, I32, chance=source), [a.astype("<i2"), b]))


def test_the_known_answer_of_transformer_training() -> None:
    backends: list[Backend] = [PlainBackend(), REFERENCE, *BACKENDS]
    digests = {transformer_training_digest(backend) for backend in backends}
    assert digests == {TRANSFORMER_TRAINING_ANSWER}


class Halved(ReferenceTransformerTraining):
    """A norm whose gradient forgets what runs along it."""

    def norm_gradient(
        self, x: Array, errors: Array, onto: Array | None, *, epsilon: int, shift: int
    ) -> Array:
        return super().norm_gradient(x, errors >> 1, onto, epsilon=epsilon, shift=shift)


class WrongBackend(ReferenceBackend):
    @property
    def transformer_training(self) -> ReferenceTransformerTraining:
        return Halved()


def test_a_backend_that_trains_wrongly_is_refused() -> None:
    with pytest.raises(BackendError, match="trains transformers wrongly on this machine"):
        check_backend(WrongBackend())


def test_a_wide_product_is_what_it_says() -> None:
    a, b = errors("a", 9, 300), int8s("b", 5, 300)
    high, low = parts(a)
    assert np.array_equal(high.astype(np.int64) * 256 + low, a)
    got = agree(WideLinear(12, (1 << 31) - 1, I32), [a, b])
    exact = a.astype(float) @ b.T.astype(float) / 4096
    assert np.abs(got - exact).max() <= 0.5
    drawn = [agree(WideLinear(12, 1 << 30, I32, chance=Chance(b"%d" % i, 0, 5)), [a, b]) for i in range(300)]
    assert np.abs(np.mean(drawn, axis=0) - exact).max() < 0.5 * 6 / np.sqrt(300)


@given(
    st.integers(1, 7), st.integers(1, 70), st.sampled_from(["<i2", "<i4"]), st.integers(0, 22),
    st.integers(1, 2**40), st.integers(0, 17), st.integers(0, 15), st.booleans(),
)  # fmt: skip
@settings(max_examples=60)
def test_norm_gradient(
    m: int, d: int, dtype: str, size: int, epsilon: int, shift: int, less: int, onto: bool
) -> None:
    x = int8s("x", m, d).astype(np.int64) << size >> 7
    x = np.clip(x, np.iinfo(dtype).min + 1, np.iinfo(dtype).max).astype(dtype)
    x[0] = 0
    operands = [x, int32s("e", m, d, 14 + less)]
    operands += [errors("o", m, d)] * onto
    agree(NormGradient(epsilon, shift, onto=onto), operands)


def test_norm_gradient_float_twin() -> None:
    """Rows of every size, down to a few units: the gradient's last bit is right."""
    x = int8s("x", 40, 64).astype("<i4") * (1 << np.arange(40, dtype="<i4") % 16)[:, None]
    e = int32s("e", 40, 64, 16)
    got = norm_gradient_rows(x, e, None, epsilon=5 << 10, shift=18)
    wide = x.astype(float)
    rms = np.sqrt((wide**2).mean(axis=1, keepdims=True) + (5 << 10) / 64)
    n = wide / rms
    real = (e - n * (n * e).mean(axis=1, keepdims=True)) / rms * 2.0**-18 * 2**24
    kept = np.abs(real) < ERROR_LIMIT
    assert kept.mean() > 0.5 and np.abs(real[kept]).max() > 1000
    assert (np.abs(got - real)[kept] <= 0.6 + 2e-4 * np.abs(real[kept])).all()


@given(layouts, values)
@settings(max_examples=40)
def test_rotary_gradient(heads: Heads, value: int | None) -> None:
    rows = heads.sequences * heads.tokens
    given_errors = errors("e", rows, heads.queries * heads.dim, value=value)
    agree(RotaryGradient(heads), [given_errors, rotary_table(9, heads.dim, 10000)])


def test_rotary_gradient_float_twin() -> None:
    e = errors("e", 20, 16, less=1)
    got = agree(RotaryGradient(Heads(1, 0, 20, 1, 1, 16)), [e, rotary_table(20, 16, 10000)])
    angles = np.arange(20)[:, None] * 10000.0 ** (-np.arange(8) / 8)
    pairs = (e[:, :8] + 1j * e[:, 8:]) * np.exp(-1j * angles)
    assert np.abs(np.hstack([pairs.real, pairs.imag]) - got).max() < 2.5


@given(layouts, st.sampled_from([None, 0, 1, 127]), values, st.integers(0, 30))
@settings(max_examples=60)
def test_attention_backward(heads: Heads, w: int | None, value: int | None, shift: int) -> None:
    rows, width = heads.sequences * heads.tokens, heads.queries * heads.dim
    weights = int8s("w", rows * heads.queries, heads.tokens) & 127 if w is None else None
    if weights is None:
        weights = np.full((rows * heads.queries, heads.tokens), w, np.int8)
    weights *= np.tile(np.tri(heads.tokens, dtype=np.int8), (heads.sequences * heads.queries, 1))
    by_channel, by_head = int8s("v", width, rows), int8s("v", rows * heads.queries, heads.dim)
    given_errors = errors("e", rows, width, value=value)
    agree(AttentionShares(heads), [weights])
    scores = agree(AttentionErrors(heads, shift), [weights, given_errors, by_head])
    agree(HeadsProduct(heads, 5793, 15 + shift % 9), [scores, by_channel])
    agree(HeadsProduct(heads, 1, 15), [scores, errors("c", width, rows, value=value)])
    agree(ScoresTurned(heads), [scores])
    turned = agree(HeadsTurned(heads), [by_channel])
    assert np.array_equal(agree(HeadsTurned(heads, to_channels=True), [turned]), by_channel)


def test_attention_backward_float_twin() -> None:
    """The gradient of sum(e * (p @ v)), p = softmax of scores, by the scores and by the values."""
    w = np.tri(30, dtype=np.int64) * (np.abs(int8s("w", 30, 30).astype(np.int64)) % 128)
    w[np.arange(30), np.arange(30)] = 127
    v, e = int8s("v", 30, 16).astype(np.int64), errors("e", 30, 16, less=4).astype(np.int64)
    p = w / w.sum(axis=1, keepdims=True)
    pulls = e @ v.T
    real = p * (pulls - (p * pulls).sum(axis=1, keepdims=True))
    got = score_error_rows(w, pulls, shift=9)
    assert np.abs(real / 512).max() > 100
    assert np.abs(np.clip(real / 512, -ERROR_LIMIT, ERROR_LIMIT) - got).max() < 0.51
    heads = Heads(1, 0, 30, 1, 1, 16)
    shares = agree(AttentionShares(heads), [w.astype(np.int8)])
    assert np.abs(shares - np.minimum(p.T * 2**15, 2**15 - 1)).max() < 0.51
    by_values = agree(HeadsProduct(heads, 1, 15), [shares, np.ascontiguousarray(e.T.astype(np.int16))])
    assert np.abs(by_values - p.T @ e).max() < 2


@given(st.integers(1, 7), st.integers(1, 90), values, st.sampled_from([0, 11, 18, 40]), st.booleans())
@settings(max_examples=30)
def test_gate_gradient(m: int, n: int, value: int | None, shift: int, times_up: bool) -> None:
    table = silu_slopes(1, 16, 1 << 14) if times_up else silu_table(1, 16, 1 << 11)
    operands = [errors("e", m, n, value=value), int8s("g", m, n)] + [int8s("u", m, n)] * times_up
    agree(GateGradient(table, shift, times_up), operands)


def test_gate_gradient_float_twin() -> None:
    e, g, u = errors("e", 20, 40, less=3), int8s("g", 20, 40), int8s("u", 20, 40)
    by_up = agree(GateGradient(silu_table(1, 16, 1 << 11), 11, times_up=False), [e, g])
    by_gate = agree(GateGradient(silu_slopes(1, 16, 1 << 14), 18, times_up=True), [e, g, u])
    x, step = g / 16, 1e-6
    silu = [y / (1 + np.exp(-y)) for y in (x - step, x, x + step)]
    size = np.abs(e.astype(float))
    assert (np.abs(np.clip(e * silu[1], -ERROR_LIMIT, ERROR_LIMIT) - by_up) < 0.6 + size * 2**-11).all()
    slope = (silu[2] - silu[0]) / (2 * step)
    real = np.clip(e * slope * u / 16, -ERROR_LIMIT, ERROR_LIMIT)
    assert (np.abs(real - by_gate) < 0.6 + size * 8 * 2**-14).all()


@given(st.integers(1, 3), st.integers(2, 5), st.integers(1, 30), st.integers(0, 15), st.integers(0, 9))
@settings(max_examples=40)
def test_next_token(sequences: int, length: int, n: int, less: int, draw: int) -> None:
    """Tokens that are no column included: nothing may raise."""
    logits = errors(f"l {draw}", sequences * length, n, less=less)
    tokens = (int8s(f"t {draw}", sequences * length, 1) // 5).astype("<i2")
    out = agree(TokenGradient(length), [logits, tokens])
    losses = agree(TokenLoss(length), [logits, tokens])
    assert not out[length - 1 :: length].any() and not losses[length - 1 :: length].any()


def test_next_token_float_twin() -> None:
    logits, labels = errors("l", 200, 50, less=3), np.abs(int8s("t", 200).astype(np.int64)) % 50
    wide = logits / 1024
    real = np.exp(wide - wide.max(axis=1, keepdims=True))
    chances = real / real.sum(axis=1, keepdims=True)
    got = token_gradient_rows(logits, labels)
    expected = np.clip((chances - np.eye(50)[labels]) * 2**15, -ERROR_LIMIT, ERROR_LIMIT)
    assert np.abs(got - expected).max() < 1
    losses = token_loss_rows(logits, labels)[:, 0] / 2**NATS
    true = -np.log(chances[np.arange(200), labels])
    assert true.max() > 5 and np.abs(losses - true).max() < 2**-11
    assert logarithms()[-1] == round(np.log(2) * 2**NATS)


@given(st.integers(1, 20), st.integers(1, 9), st.integers(1, 6), values, st.sampled_from([7, 1 << 20]))
@settings(max_examples=40)
def test_embedding_gradient(m: int, rows: int, d: int, value: int | None, limit: int) -> None:
    tokens = (int8s("t", m, 1) // 16).astype("<i2")
    e = errors("e", d, m, value=value)
    out = agree(EmbeddingGradient(rows, m, limit), [tokens, e])
    exact = [[int(e[c][tokens[:, 0] == v].astype(np.int64).sum()) for c in range(d)] for v in range(rows)]
    assert np.array_equal(out, np.clip(exact, -limit, limit))


@given(st.integers(1, 5), st.integers(1, 9), st.integers(1, 20), st.integers(1, 16), st.integers(1, 1 << 20))
@settings(max_examples=40)
def test_update(m: int, n: int, less: int, decay: int, rate: int) -> None:
    master, momentum, gradient = (int32s(name, m, n, 1 + less) for name in "wmg")
    agree(Momentum(decay, 1 << 29), [momentum, gradient])
    agree(Lion(rate, 1 + less, 7, decay, (1 << 30) - 1), [master, momentum, gradient])
    agree(Narrowed(less, 127, I8), [master])
    agree(Narrowed(less, 32767, I16), [master])


def test_update_float_twin() -> None:
    """A hundred steps of Lion on a slope that changes, against the same in float64."""
    start = int32s("w", 20, 30, 6) >> 2
    master, momentum = start, np.zeros((20, 30), np.int32)
    real, mean = start / 2**24, np.zeros((20, 30))
    for step in range(100):
        slope = int32s(f"slope {step % 7}", 20, 30, 14)
        turned = Lion(1 << 13, 27, 7, 5, (1 << 30) - 1)
        moved = agree(turned, [master, momentum, slope]) if step < 2 else None
        after = turned.check(0, 0, [master, momentum, slope]).values
        assert moved is None or np.array_equal(moved, after)
        real -= 2.0**-11 * (np.sign(7 * mean + slope) + real / 8)
        mean += (slope - mean) / 32
        momentum = Momentum(5, 1 << 29).check(0, 0, [momentum, slope]).values
        master = after
    assert np.abs(momentum / 32 - mean).max() < 1
    same = np.abs(master / 2**24 - real) < 100 * 2**-24
    assert same.mean() > 0.99, "signs differ only where a mean is all but zero"
