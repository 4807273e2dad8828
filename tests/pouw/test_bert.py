"""Whole encoders: the same bits from every backend and in every batch, near the float twin."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pouw.backends.backend import Backend
from pouw.models.bert import BertManifest, BertShape, Pooling
from pouw.models.bert_float import ACTIVATIONS
from pouw.models.bert_program import Batch, bert_program
from pouw.models.bert_quantise import quantise_bert
from pouw.program_error import ProgramError, ProgramReason
from pouw.tensors import Array, DType
from pouw.trace import Trace, run_program
from pouw.weights import Weights
from tests.pouw.bert_world import MANIFEST, SHAPE, WEIGHTS, float_bert, integer_bert, padded, sentences
from tests.pouw.world import REFERENCE

torch = pytest.importorskip("torch", reason="the cpu backend needs torch")

from pouw.backends.cpu import CpuBackend, open_cpu  # noqa: E402 - only where torch is

CPU = open_cpu()
LENGTHS = (12, 5, 9)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def run(
    batch: Batch, words: list[Array], pooling: Pooling | None = None, *, backend: Backend = CPU, pad: int = 0
) -> Trace:
    program = bert_program(MANIFEST, batch, pooling=pooling)
    return run_program(program, WEIGHTS, padded(batch, words, pad=pad), backend)


@pytest.mark.parametrize("pooling", list(Pooling))
def test_backends_agree(pooling: Pooling) -> None:
    batch, words = Batch(12, LENGTHS, (12, 2, 0)), sentences(LENGTHS)
    expected = run(batch, words, pooling, backend=REFERENCE)
    for backend in (CPU, CpuBackend(fast=False)):
        for a, b in zip(run(batch, words, pooling, backend=backend).tensors, expected.tensors, strict=True):
            assert a.dtype == b.dtype
            assert np.array_equal(a, b)


def test_vectors() -> None:
    """Whoever builds another client must get these."""
    batch = Batch(12, LENGTHS, (12, 2, 9))
    assert MANIFEST.digest.hex() == "35f190957fb5dae8837df0eb807681fe3507c5d4f1409cad080acb75cfc00318"
    assert (
        bert_program(MANIFEST, batch).digest.hex()
        == "1a3afb17e401d34da249face1927971feb966313e8c9f9ae49656432e9485b18"
    )
    answer = run(batch, sentences(LENGTHS)).answer
    assert (answer.shape, answer.dtype) == ((3, 32), np.dtype("<i2"))
    assert answer[:, :6].tolist() == [
        [-1917, -2659, 261, 6915, -5731, -7071],
        [5214, 1867, 2840, -456, -7831, -6186],
        [-3503, -2077, -167, 6188, -6018, -5054],
    ]


@given(
    st.lists(st.integers(1, 16), min_size=1, max_size=8), st.integers(0, 8), st.sampled_from(list(Pooling)),
    st.integers(0, 49), st.booleans(), st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=25)
def test_a_text_gives_the_same_bits_alone_and_in_any_batch(
    lengths: list[int], more: int, pooling: Pooling, pad: int, reference: bool, seed: int
) -> None:
    """Whatever stands beside it, however far it is padded, and with what."""
    words = sentences(tuple(lengths), seed=seed)
    tokens = max(lengths) + more
    backend: Backend = REFERENCE if reference else CPU
    firsts = tuple(length // 2 for length in lengths)
    together = run(Batch(tokens, tuple(lengths), firsts), words, pooling, backend=backend, pad=pad).answer
    for i, length in enumerate(lengths):
        alone = run(Batch(length, (length,), (firsts[i],)), words[i : i + 1], pooling, backend=backend)
        rows = slice(i * tokens, i * tokens + length) if pooling is Pooling.STATES else slice(i, i + 1)
        assert np.array_equal(together[rows], alone.answer)


def test_a_batch_of_eight_is_eight_batches_of_one() -> None:
    """Every tensor of the trace, not the answer alone."""
    lengths = (9, 3, 12, 1, 7, 7, 5, 11)
    words = sentences(lengths)
    eight = bert_program(MANIFEST, Batch(12, lengths))
    whole = run_program(eight, WEIGHTS, padded(Batch(12, lengths), words), CPU)
    for i, length in enumerate(lengths):
        one = run(Batch(length, (length,)), words[i : i + 1])
        for number, (part, tensor) in enumerate(zip(one.tensors, whole.tensors, strict=True)):
            name = eight.name_of(number)
            assert np.array_equal(part, mine(name, tensor, i, length)), name


def mine(name: str, tensor: Array, sequence: int, length: int) -> Array:
    """What of a batch's tensor belongs to one of its eight sequences, padding left out."""
    if name in ("mean", "means"):
        return tensor[sequence : sequence + 1] if name == "mean" else tensor[:, sequence : sequence + 1]
    if name.startswith("values") or name == "across":
        return tensor.reshape(len(tensor), 8, -1)[:, sequence, :length]
    blocks = SHAPE.heads if name.startswith(("keys", "weights")) else 1
    part = tensor.reshape(8, blocks, -1, tensor.shape[1])[sequence, :, :length]
    if name.startswith("weights"):
        assert not part[:, :, length:].any()
        part = part[:, :, :length]
    return part.reshape(blocks * length, -1)


SMALL = BertShape(vocabulary=64, width=64, layers=3, heads=4, hidden=160, positions=64)
TWO = BertShape(vocabulary=90, width=96, layers=2, heads=3, hidden=384, positions=64, segments=2, pooler=True)


def near(real: Any, got: Array) -> float:
    """The least cosine of any row."""
    lengths = np.linalg.norm(real, axis=1) * np.linalg.norm(got.astype(float), axis=1)
    return float(((real * got).sum(axis=1) / lengths).min())


@pytest.mark.parametrize(("shape", "activation"), [(SMALL, "gelu"), (TWO, "gelu_new"), (SMALL, "relu")])
def test_float_twin_of_a_whole_model(shape: BertShape, activation: str) -> None:
    """Exact is not correct: the states of the integer model point where those of the float model do."""
    model = float_bert(shape, 3, activation)
    samples = sentences((60, 50, 40, 60, 60, 60), vocabulary=shape.vocabulary, seed=1)
    manifest, weights = quantise_bert(model, samples, name="twin")
    lengths = (48, 30, 20)
    words, batch = sentences(lengths, vocabulary=shape.vocabulary, seed=50), Batch(48, lengths)
    inputs = padded(batch, words, shape.vocabulary)
    weights.check(bert_program(manifest, batch))
    real = [model.states(text) for text in words]

    def answer(pooling: Pooling) -> Array:
        return run_program(bert_program(manifest, batch, pooling=pooling), weights, inputs, REFERENCE).answer

    assert near(np.stack([states.mean(axis=0) for states in real]), answer(Pooling.MEAN)) > 0.9995
    assert near(np.stack([states[0] for states in real]), answer(Pooling.FIRST)) > 0.999
    states = answer(Pooling.STATES).reshape(3, 48, -1)
    assert near(np.concatenate(real), np.concatenate([states[i, :n] for i, n in enumerate(lengths)])) > 0.97
    unit = manifest.unit / (1 << 40)
    assert np.abs(states[0] * unit - real[0]).mean() < 0.05 * np.abs(real[0]).mean()
    if shape.pooler:
        assert near(np.stack([model.pooled(part[0]) for part in real]), answer(Pooling.POOLER)) > 0.999


def test_activations_are_what_they_are_called() -> None:
    x = torch.linspace(-6, 6, 121, dtype=torch.float64)
    exact, approximate = (torch.nn.functional.gelu(x, approximate=kind) for kind in ("none", "tanh"))
    for name, expected in [("gelu", exact), ("gelu_new", approximate), ("relu", torch.relu(x))]:
        assert np.abs(ACTIVATIONS[name](x.numpy()) - expected.numpy()).max() < 1e-6


def test_a_stream_with_far_outliers_takes_24_bits() -> None:
    """One channel three thousand times the others: 16 bits would leave these a few units."""
    model = float_bert(SMALL, 5)
    weights = {name: value.copy() for name, value in model.weights.items()}
    weights["layer 2 fed bias"][5] += 3000
    model = replace(model, weights=weights)
    manifest, integers = quantise_bert(model, sentences((60,) * 4, vocabulary=64, seed=1), name="far")
    assert manifest.residual is DType.INT32
    text = sentences((40,), vocabulary=64, seed=9)
    batch = Batch(40, (40,))
    program = bert_program(manifest, batch, pooling=Pooling.STATES)
    got = run_program(program, integers, padded(batch, text, 64), REFERENCE).answer
    others = [i for i in range(64) if i != 5]
    assert near(model.states(text[0])[:, others], got[:, others]) > 0.97


def test_the_manifest_digest_binds_everything() -> None:
    layer, norm = MANIFEST.layers[0], MANIFEST.embedded
    before, weight, after = MANIFEST.weights[:3], MANIFEST.weights[3], MANIFEST.weights[4:]
    assert MANIFEST.pooler is not None
    manifests = [
        MANIFEST,
        replace(MANIFEST, name="other"),
        replace(MANIFEST, pooling=Pooling.FIRST),
        replace(MANIFEST, epsilon=8),
        replace(MANIFEST, first_epsilon=8),
        replace(MANIFEST, residual=DType.INT32),
        replace(MANIFEST, unit=3),
        replace(MANIFEST, embedded=replace(norm, narrow_lift=3)),
        replace(MANIFEST, pooler=replace(MANIFEST.pooler, shift=3)),
        replace(MANIFEST, pooler=replace(MANIFEST.pooler, table=bytes(1024))),
        replace(MANIFEST, layers=(replace(layer, mix_gain=3), layer)),
        replace(MANIFEST, layers=(layer, replace(layer, mix_gain=3))),
        replace(MANIFEST, layers=(layer, replace(layer, table=bytes(1024)))),
        replace(MANIFEST, layers=(layer, replace(layer, fed=replace(norm, stream_shift=3)))),
        replace(MANIFEST, layers=(layer, replace(layer, attended=replace(norm, stream_shift=3)))),
        replace(MANIFEST, weights=(*before, replace(weight, low=-1, high=1), *after)),
        replace(MANIFEST, weights=(*before, replace(weight, root=bytes(32)), *after)),
        integer_bert(replace(SHAPE, positions=25))[0],
        integer_bert(replace(SHAPE, segments=1))[0],
        integer_bert(replace(SHAPE, pooler=False))[0],
    ]
    assert len({manifest.digest for manifest in manifests}) == len(manifests)


ROOTLESS = replace(MANIFEST.weights[-1], root=b"")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"layers": MANIFEST.layers[:1]}, ProgramReason.EMPTY),
        ({"weights": MANIFEST.weights[1:]}, ProgramReason.WEIGHT),
        (
            {"weights": (*MANIFEST.weights[:-1], replace(MANIFEST.weights[-1], root=b""))},
            ProgramReason.WEIGHT,
        ),
        ({"pooler": None}, ProgramReason.SHAPE),
        ({"residual": DType.INT8}, ProgramReason.DTYPE),
        ({"shape": replace(SHAPE, heads=5)}, ProgramReason.SHAPE),
        ({"shape": replace(SHAPE, heads=0)}, ProgramReason.SHAPE),
        ({"shape": replace(SHAPE, segments=3)}, ProgramReason.SHAPE),
    ],
)
def test_models_that_cannot_be(change: dict[str, Any], reason: ProgramReason) -> None:
    with pytest.raises(ProgramError) as caught:
        replace(MANIFEST, **change)
    assert caught.value.reason is reason


@pytest.mark.parametrize(
    "batch",
    [
        Batch(25, (3,)), Batch(0, (1,)), Batch(4, ()), Batch(4, (5,)), Batch(4, (0,)),
        Batch(4, (3,), (1, 2)), Batch(4, (3,), (5,)), Batch(4, (3,), (-1,)),
    ],
)  # fmt: skip
def test_batches_that_cannot_be(batch: Batch) -> None:
    with pytest.raises(ProgramError):
        bert_program(MANIFEST, batch)


def without_pooler() -> tuple[BertManifest, Weights]:
    return integer_bert(replace(SHAPE, segments=1, pooler=False))


def test_what_a_model_lacks_cannot_be_asked_for() -> None:
    manifest, _ = without_pooler()
    bert_program(manifest, Batch(4, (3,)))
    with pytest.raises(ProgramError, match="integers has no pooler"):
        bert_program(manifest, Batch(4, (3,)), pooling=Pooling.POOLER)
    with pytest.raises(ProgramError, match="positions of"):
        bert_program(manifest, Batch(4, (3,), (2,)))


def test_constants_that_could_overflow_are_refused() -> None:
    norm = replace(MANIFEST.embedded, stream_lift=31)
    for manifest in (
        replace(MANIFEST, embedded=replace(norm, stream_shift=63)),
        replace(MANIFEST, embedded=replace(norm, stream_lift=32)),
        replace(MANIFEST, layers=(replace(MANIFEST.layers[0], score_shift=63), MANIFEST.layers[1])),
        replace(MANIFEST, layers=(replace(MANIFEST.layers[0], table=bytes(3)), MANIFEST.layers[1])),
    ):
        with pytest.raises(ProgramError):
            bert_program(manifest, Batch(4, (3,)))
