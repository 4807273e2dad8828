"""Proofs of transformer work: honest answers pass, and a wrong cell of any op is convicted."""

from typing import Any

import numpy as np
import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from pouw.models.decoder import answer_input, answer_program, generate
from pouw.models.llama import COMMITTED_WIDTH, LlamaShape, Span, cache_names, llama_program
from pouw.models.token_sampling import Sampling
from pouw.program import Program, Weight
from pouw.proofs.commitment import CommitBuilder
from pouw.proofs.proof import Proof, ProofError, ProofReason
from pouw.proofs.verifier import Statement, WorkItem, check_proof
from pouw.tensors import Array, DType
from pouw.trace import Run, Trace
from pouw.weights import Weights
from tests.pouw.llama_world import MANIFEST, SHAPE, WEIGHTS, integer_llama, texts
from tests.pouw.world import CHAIN, MINER, REFERENCE, SEED

PROMPT = texts(1, 9, seed=5)
SAMPLING = Sampling((b"request",))
ITEM = blake3(b"request").digest()
WRITTEN = generate(MANIFEST, WEIGHTS, PROMPT, 6, REFERENCE, sampling=SAMPLING)
PROGRAM = answer_program(MANIFEST, prompt=9, count=6, sampling=SAMPLING)
INPUT = answer_input(PROMPT.T, WRITTEN.tokens.T)


def rerun(
    program: Program, inputs: Array, *, weights: Weights = WEIGHTS, spoilt: str = "", change: Any = None
) -> Trace:
    """A run in which one tensor is changed and everything after it follows honestly."""
    run = Run(program, {weight.name: weights.array(weight.name) for weight in program.weights}, inputs)
    for output in program.order:
        op = program.step_of(output).op
        out = REFERENCE.get(op.kind.run(REFERENCE, run.operands(output)))
        run.hold(output, change(out) if op.name == spoilt else out)
    return Trace(weights, tuple(run.tensors))


def verdict(
    trace: Trace,
    *,
    program: Program = PROGRAM,
    claimed: Program = PROGRAM,
    answer: Array | None = None,
    known: Array = INPUT,
    samples: int = 1024,
) -> ProofError | None:
    """What the verifier says of a trace."""
    builder = CommitBuilder(CHAIN, MINER)
    builder.add(ITEM, program, trace, answered=True)
    item = WorkItem(ITEM, claimed, known.__getitem__, trace.answer if answer is None else answer)
    statement = Statement(CHAIN, MINER, [item], builder.root, claimed.units)
    proof = builder.prove(SEED, samples).to_fields()
    try:
        check_proof(statement, Proof.from_fields(proof, max_bytes=1 << 24), seed=SEED, samples=samples)
    except ProofError as error:
        return error
    return None


def test_an_answer_written_step_by_step_is_proven() -> None:
    """The verifier knows the manifest, the prompt and the answer, nothing else."""
    assert PROGRAM.digest == WRITTEN.programs[0].digest
    assert verdict(WRITTEN.traces[0]) is None
    assert verdict(rerun(PROGRAM, INPUT)) is None


@given(seed=st.binary(max_size=64), samples=st.integers(1, 100))
@settings(max_examples=25)
def test_honest_work_is_accepted_for_any_seed(seed: bytes, samples: int) -> None:
    builder = CommitBuilder(CHAIN, MINER)
    builder.add(ITEM, PROGRAM, WRITTEN.traces[0], answered=True)
    item = WorkItem(ITEM, PROGRAM, INPUT.__getitem__, WRITTEN.traces[0].answer)
    statement = Statement(CHAIN, MINER, [item], builder.root, PROGRAM.units)
    fields = builder.prove(seed, samples).to_fields()
    check_proof(statement, Proof.from_fields(fields, max_bytes=1 << 24), seed=seed, samples=samples)


OPS = {step.op.name: number for number, step in enumerate(PROGRAM.steps, start=1)}


@pytest.mark.parametrize("name", [name for name in OPS if name[-1] not in "1"])
def test_a_wrong_op_is_convicted(name: str) -> None:
    """Every value of the op's output one off, and everything after it computed from that."""
    trace = rerun(PROGRAM, INPUT, spoilt=name, change=lambda out: out ^ out.dtype.type(1))
    error = verdict(trace)
    assert error is not None
    assert error.reason is ProofReason.WRONG_CELL
    assert error.message.startswith(f"{name}[")


WIDE_SHAPE = LlamaShape(
    vocabulary=50, width=COMMITTED_WIDTH + 32, layers=1, heads=4, kv_heads=2, head_dim=8, hidden=48,
    positions=16,
)  # fmt: skip
WIDE, WIDE_WEIGHTS = integer_llama(WIDE_SHAPE)
WIDE_PROGRAM = llama_program(WIDE, Span(1, 0, len(INPUT), 6))


@pytest.mark.parametrize("name", [step.op.name for step in WIDE_PROGRAM.inlines])
def test_a_wrong_op_that_is_not_committed_is_convicted(name: str) -> None:
    """By whatever reads it: an embedding, a norm, a product whose only trace is what was made of it."""
    program = WIDE_PROGRAM
    readers = [s.op.name for s in (*program.steps, *program.inlines) if name in s.op.operands]
    trace = rerun(
        program, INPUT, weights=WIDE_WEIGHTS, spoilt=name, change=lambda out: out ^ out.dtype.type(64)
    )
    assert verdict(rerun(program, INPUT, weights=WIDE_WEIGHTS), program=program, claimed=program) is None
    error = verdict(trace, program=program, claimed=program)
    assert readers and error is not None
    assert error.reason is ProofReason.WRONG_CELL


def test_weights_of_later_keys_are_convicted() -> None:
    """A model that looks ahead."""

    def peek(out: Array) -> Array:
        return np.maximum(out, 1)

    error = verdict(rerun(PROGRAM, INPUT, spoilt="weights 0", change=peek))
    assert error is not None
    assert error.message.startswith("mix 0[")


def test_another_answer_is_refused() -> None:
    """The customer was given a token that the model did not choose."""
    other = WRITTEN.traces[0].answer.copy()
    other[2] = (other[2] + 1) % SHAPE.vocabulary
    known = answer_input(PROMPT.T, other)
    error = verdict(WRITTEN.traces[0], answer=other, known=known)
    assert error is not None
    assert error.reason in (ProofReason.ANSWER_MISMATCH, ProofReason.INPUT_MISMATCH)
    # Run on the text that was given out, the model itself contradicts it.
    error = verdict(rerun(PROGRAM, known), answer=other, known=known)
    assert error is not None
    assert error.reason is ProofReason.ANSWER_MISMATCH


def test_choosing_otherwise_than_the_seed_is_convicted() -> None:
    greedy = answer_program(MANIFEST, prompt=9, count=6)
    assert greedy.digest != PROGRAM.digest
    chosen = rerun(greedy, INPUT).answer
    assert not np.array_equal(chosen, WRITTEN.traces[0].answer)
    trace = Trace(WEIGHTS, (*WRITTEN.traces[0].tensors[:-1], chosen))
    error = verdict(trace)
    assert error is not None
    assert error.message.startswith("choice[")
    assert verdict(trace, program=greedy, claimed=PROGRAM) is not None


def test_choosing_beyond_the_likeliest_is_convicted() -> None:
    """The customer paid for a narrow choice; the miner drew from all tokens, with the same seed."""
    narrow = answer_program(MANIFEST, prompt=9, count=6, sampling=Sampling((b"request",), 512, 2, 900))
    wide = answer_program(MANIFEST, prompt=9, count=6, sampling=Sampling((b"request",), 512))
    assert len({narrow.digest, wide.digest, PROGRAM.digest}) == 3
    honest = rerun(narrow, INPUT)
    assert verdict(honest, program=narrow, claimed=narrow) is None
    chosen = rerun(wide, INPUT).answer
    assert not np.array_equal(chosen, honest.answer)
    error = verdict(Trace(WEIGHTS, (*honest.tensors[:-1], chosen)), program=narrow, claimed=narrow)
    assert error is not None
    assert error.message.startswith("choice[")


def coarse(weights: Weights) -> Weights:
    """Int4 passed off as int8."""
    arrays = {
        weight.name: weights.array(weight.name) & ~15
        if weight.spec.dtype is DType.INT8
        else weights.array(weight.name)
        for weight in MANIFEST.weights
    }
    return Weights(arrays)


def test_another_model_is_convicted() -> None:
    """With its weights it does not fit the manifest; with the manifest's weights its cells are wrong."""
    trace = rerun(PROGRAM, INPUT, weights=coarse(WEIGHTS))
    error = verdict(trace, samples=8)
    assert error is not None and error.reason is ProofReason.WEIGHT_NOT_IN_MODEL
    error = verdict(Trace(WEIGHTS, trace.tensors), samples=8)
    assert error is not None and error.reason is ProofReason.WRONG_CELL


def test_a_skipped_layer_is_convicted() -> None:
    """The second layer hands on what it was given."""
    skipped = rerun(PROGRAM, INPUT)
    tensors = list(skipped.tensors)
    tensors[OPS["x 2"]] = tensors[OPS["y 1"]] = tensors[OPS["x 1"]]
    error = verdict(Trace(WEIGHTS, tuple(tensors)), samples=64)
    assert error is not None and error.reason is ProofReason.WRONG_CELL


def test_another_prompt_is_convicted() -> None:
    other = INPUT.copy()
    other[1] = (other[1] + 1) % SHAPE.vocabulary
    error = verdict(rerun(PROGRAM, other), known=INPUT)
    assert error is not None
    assert error.reason is ProofReason.INPUT_MISMATCH


def test_a_step_names_the_cache_that_an_earlier_run_kept() -> None:
    """A decoding step alone is provable too: its cache is a weight whose root the run before committed."""
    first = llama_program(MANIFEST, Span(1, 0, 8, 1), keep=True)
    before = rerun(first, np.ascontiguousarray(INPUT[:8]))
    names = cache_names(SHAPE.layers)
    numbers = {step.op.name: i for i, step in enumerate(first.steps, start=1)}
    assert [first.name_of(number) for number in first.kept] == names
    arrays = {f"cached {name}": before.tensors[numbers[name]] for name in names}
    weights = Weights({**{w.name: WEIGHTS.array(w.name) for w in MANIFEST.weights}, **arrays})
    cache = [
        Weight(f"cached {name}", first.tensors[numbers[name]], weights.tree(f"cached {name}").root, -127, 127)
        for name in names
    ]
    step = llama_program(MANIFEST, Span(1, 8, 1, 1), cache=cache)
    trace = rerun(step, np.ascontiguousarray(INPUT[8:9]), weights=weights)
    assert verdict(trace, program=step, claimed=step, known=INPUT[8:9], samples=200) is None
    whole = rerun(llama_program(MANIFEST, Span(1, 0, 9, 1)), np.ascontiguousarray(INPUT[:9]))
    assert np.array_equal(trace.answer, whole.answer)
    spoilt = Trace(weights, tuple(t ^ (i == 5) for i, t in enumerate(trace.tensors)))
    assert verdict(spoilt, program=step, claimed=step, known=INPUT[8:9], samples=200) is not None


def test_a_proof_at_the_size_of_a_testnet_is_small() -> None:
    """Width 128, 64 tokens, 64 samples."""
    shape = LlamaShape(
        vocabulary=256, width=128, layers=1, heads=4, kv_heads=2, head_dim=32, hidden=344, positions=64
    )
    manifest, weights = integer_llama(shape)
    program = llama_program(manifest, Span(1, 0, 64, 16))
    inputs = texts(64, 1).astype("<i2")
    trace = rerun(program, inputs, weights=weights)
    builder = CommitBuilder(CHAIN, MINER)
    builder.add(ITEM, program, trace)
    fields = builder.prove(SEED, 64).to_fields()
    Proof.from_fields(fields, max_bytes=72 * 1024)
