"""Whole models: the same bits from every backend and every way of cutting a text, near the float twin."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pouw.backends.backend import Backend
from pouw.models.decoder import answer_input, answer_program, generate
from pouw.models.llama import OPENED_KEYS, LlamaShape, Span, llama_program
from pouw.models.llama_quantise import quantise
from pouw.models.token_sampling import Sampling
from pouw.ops.gather import Gather
from pouw.ops.kind import Bounded
from pouw.program import INPUT, Op, build_program
from pouw.program_error import ProgramError, ProgramReason
from pouw.tensors import Array, DType, TensorSpec
from pouw.trace import Trace, run_program
from tests.pouw.llama_world import MANIFEST, SHAPE, WEIGHTS, float_llama, integer_llama, texts
from tests.pouw.world import REFERENCE

torch = pytest.importorskip("torch", reason="the cpu backend needs torch")

from pouw.backends.cpu import CpuBackend, open_cpu  # noqa: E402 - only where torch is

CPU = open_cpu()


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def run(span: Span, tokens: Array, backend: Backend = CPU, sampling: Sampling | None = None) -> Trace:
    program = llama_program(MANIFEST, span, sampling=sampling)
    return run_program(program, WEIGHTS, np.ascontiguousarray(tokens.reshape(-1, 1)), backend)


def assert_same(left: Trace, right: Trace) -> None:
    for a, b in zip(left.tensors, right.tensors, strict=True):
        assert a.dtype == b.dtype
        assert np.array_equal(a, b)


@pytest.mark.parametrize("backend", [CPU, CpuBackend(fast=False)], ids=["fast", "float"])
@pytest.mark.parametrize("sampling", [None, Sampling((b"a", b"b"))], ids=["greedy", "sampled"])
def test_backends_agree(backend: Backend, sampling: Sampling | None) -> None:
    span = Span(2, 0, 17, 5)
    assert_same(run(span, texts(2, 17), backend, sampling), run(span, texts(2, 17), REFERENCE, sampling))


def test_vectors() -> None:
    """Whoever builds another client must get these."""
    span = Span(1, 0, 24, 6)
    assert MANIFEST.digest.hex() == "46e64d2a9df51fbc17e277fdecce670e885e7bf696e2e2b8ae6e622ad3b109cb"
    assert llama_program(MANIFEST, span).digest.hex() == (
        "3aa8b14a272c3116fdc8775e913a6baf223ae2f6330136cfccb81286ef20bc1b"
    )
    assert run(span, texts(1, 24)).answer[:, 0].tolist() == [34, 17, 22, 10, 24, 17]
    sampled = run(span, texts(1, 24), sampling=Sampling((b"s",), 300))
    assert sampled.answer[:, 0].tolist() == [34, 37, 22, 33, 19, 34]


@given(
    st.integers(1, 3), st.integers(1, 9), st.integers(1, 7), st.booleans(), st.booleans(), st.integers(0, 99)
)
@settings(max_examples=15)
def test_prefill_then_decode_is_one_prefill(
    sequences: int, prompt: int, count: int, sampled: bool, reference: bool, seed: int
) -> None:
    """Every tensor of the trace, not the answer alone."""
    prompts = texts(sequences, prompt, seed=seed)
    sampling = Sampling(tuple(b"%d" % i for i in range(sequences))) if sampled else None
    backend: Backend = REFERENCE if reference else CPU
    written = generate(MANIFEST, WEIGHTS, prompts, count, backend, sampling=sampling)
    assert written.tokens.shape == (sequences, count)
    for i, (program, trace) in enumerate(zip(written.programs, written.traces, strict=True)):
        text = answer_input(prompts[i][:, None], written.tokens[i][:, None])
        assert_same(trace, run_program(program, WEIGHTS, text, CPU))


@pytest.mark.parametrize("count", [3, 9])
def test_attention_weights_are_committed_where_keys_are_many(count: int) -> None:
    """And what an answer commits to does not depend on the length of the steps that wrote it."""
    shape = LlamaShape(
        vocabulary=50, width=8, layers=1, heads=1, kv_heads=1, head_dim=1024, hidden=8, positions=80
    )
    manifest, weights = integer_llama(shape)
    prompts = texts(1, 60)
    written = generate(manifest, weights, prompts, count, CPU)
    program = written.programs[0]
    many = (60 + count - 1) * 1024 > OPENED_KEYS
    assert [step.op.name for step in program.steps if "weights" in step.op.name] == ["weights 0"] * many
    text = answer_input(prompts.T, written.tokens.T)
    assert_same(written.traces[0], run_program(program, weights, text, CPU))


@pytest.mark.parametrize("sampled", [False, True])
def test_a_batch_of_eight_is_eight_batches_of_one(sampled: bool) -> None:
    prompts = texts(8, 6)
    seeds = [b"%d" % i for i in range(8)]
    eight = generate(MANIFEST, WEIGHTS, prompts, 6, CPU, sampling=Sampling(tuple(seeds)) if sampled else None)
    for i in range(8):
        one_seed = Sampling((seeds[i],)) if sampled else None
        one = generate(MANIFEST, WEIGHTS, prompts[i : i + 1], 6, CPU, sampling=one_seed)
        assert np.array_equal(one.tokens[0], eight.tokens[i])
        assert one.programs[0].digest == eight.programs[i].digest
        assert_same(one.traces[0], eight.traces[i])
    assert len({tuple(row) for row in eight.tokens.tolist()}) == 8


def test_what_follows_changes_nothing_before() -> None:
    whole, part = run(Span(1, 0, 20, 20), texts(1, 20)), run(Span(1, 0, 12, 12), texts(1, 20)[:, :12])
    assert np.array_equal(whole.answer[:12], part.answer)


@pytest.mark.parametrize(
    "shape",
    [
        LlamaShape(
            vocabulary=64, width=64, layers=2, heads=4, kv_heads=2, head_dim=16, hidden=160, positions=64
        ),
        LlamaShape(
            vocabulary=90, width=96, layers=3, heads=3, kv_heads=3, head_dim=32, hidden=256, positions=64
        ),
    ],
    ids=["grouped", "plain"],
)
def test_float_twin_of_a_whole_model(shape: LlamaShape) -> None:
    """Exact is not correct: the logits of the integer model point where those of the float model do."""
    model = float_llama(shape, seed=3)
    samples = list(texts(4, 60, vocabulary=shape.vocabulary, seed=1))
    manifest, weights = quantise(model, samples, name="twin")
    tokens = texts(1, 48, vocabulary=shape.vocabulary, seed=2)[0]
    program = llama_program(manifest, Span(1, 0, 48, 48))
    weights.check(program)
    trace = run_program(program, weights, tokens[:, None], REFERENCE)
    real, got = model.logits(tokens), trace.tensors[-2].astype(float)
    cosine = (real * got).sum(axis=1) / np.linalg.norm(real, axis=1) / np.linalg.norm(got, axis=1)
    assert cosine.mean() > 0.998
    assert cosine.min() > 0.996
    assert (real.argmax(axis=1) == trace.answer[:, 0]).mean() > 0.85


def test_an_outlying_channel_is_smoothed() -> None:
    """One channel a hundred times the others: a common scale would leave these a single bit."""
    shape = replace(SHAPE, width=64, heads=4, head_dim=16, hidden=96)
    model = float_llama(shape, seed=4)
    weights = {name: value.copy() for name, value in model.weights.items()}
    for name in weights:
        if "norm" in name:
            weights[name][5] *= 100
        elif weights[name].shape[1] == 64 and name != "embedding" and not name.endswith(" o"):
            weights[name][:, 5] /= 100
    model = replace(model, weights=weights)
    manifest, integers = quantise(model, list(texts(4, 38)), name="outlier")
    tokens = texts(1, 30, seed=5)[0]
    trace = run_program(llama_program(manifest, Span(1, 0, 30, 30)), integers, tokens[:, None], REFERENCE)
    real, got = model.logits(tokens), trace.tensors[-2].astype(float)
    cosine = (real * got).sum(axis=1) / np.linalg.norm(real, axis=1) / np.linalg.norm(got, axis=1)
    assert cosine.mean() > 0.998


def test_the_manifest_digest_binds_everything() -> None:
    layer = MANIFEST.layers[0]
    before, weight, after = MANIFEST.weights[:3], MANIFEST.weights[3], MANIFEST.weights[4:]
    manifests = [
        MANIFEST,
        replace(MANIFEST, name="other"),
        replace(MANIFEST, epsilon=8),
        replace(MANIFEST, logit_multiplier=3),
        replace(MANIFEST, sample_shift=3),
        replace(MANIFEST, layers=(replace(layer, gate_shift=3), layer)),
        replace(MANIFEST, layers=(layer, replace(layer, gate_shift=3))),
        replace(MANIFEST, layers=(layer, replace(layer, gate_table=bytes(512)))),
        replace(MANIFEST, weights=(*before, replace(weight, low=-128, high=127), *after)),
        replace(MANIFEST, weights=(*before, replace(weight, root=bytes(32)), *after)),
        integer_llama(replace(SHAPE, positions=41))[0],
    ]  # fmt: skip
    assert len({manifest.digest for manifest in manifests}) == len(manifests)


def test_models_and_programs_that_cannot_be() -> None:
    for change, reason in [
        ({"layers": MANIFEST.layers[:1]}, ProgramReason.EMPTY),
        ({"weights": MANIFEST.weights[1:]}, ProgramReason.WEIGHT),
        ({"weights": MANIFEST.weights[:-1]}, ProgramReason.WEIGHT),
        (
            {"weights": (*MANIFEST.weights[:-1], replace(MANIFEST.weights[-1], root=b""))},
            ProgramReason.WEIGHT,
        ),
    ]:
        with pytest.raises(ProgramError) as caught:
            replace(MANIFEST, **change)  # type: ignore[arg-type]
        assert caught.value.reason is reason
    for span, sampling in [
        (Span(1, 0, 41, 1), None), (Span(1, 0, 4, 5), None), (Span(2, 0, 4, 1), Sampling((b"",))),
    ]:  # fmt: skip
        with pytest.raises(ProgramError):
            llama_program(MANIFEST, span, sampling=sampling)
    with pytest.raises(ProgramError):
        generate(MANIFEST, WEIGHTS, texts(1, 30), 12, CPU)
    with pytest.raises(ProgramError):
        generate(MANIFEST, WEIGHTS, texts(1, 30), 0, CPU)


def test_constants_that_could_overflow_are_refused() -> None:
    wide = replace(MANIFEST.weights[4], low=-(2**31), high=2**31 - 1)
    assert wide.name == "layer 0 q" or wide.spec.dtype is not DType.INT8
    manifest = replace(MANIFEST, layers=(replace(MANIFEST.layers[0], norm_shift=63), MANIFEST.layers[1]))
    with pytest.raises(ProgramError) as caught:
        answer_program(manifest, prompt=3, count=1)
    assert caught.value.reason is ProgramReason.CONSTANT


def test_only_the_input_chooses_rows() -> None:
    """Which row an opened cell needs must follow from what every checker knows."""
    spec = TensorSpec(4, 1, DType.INT8)
    table = Bounded(TensorSpec(9, 1, DType.INT8), -128, 127)
    weight = replace(MANIFEST.weights[0], name="table", spec=table.spec, low=-128, high=127)
    ops = [Op("one", Gather(9, 0, DType.INT8), (INPUT, "table"))]
    build_program(spec, [weight], ops)
    with pytest.raises(ProgramError, match="op two gathers by one, not by the input"):
        build_program(spec, [weight], [*ops, Op("two", Gather(9, 0, DType.INT8), ("one", "table"))])
