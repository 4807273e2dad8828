"""Proofs of encoder work: honest answers pass, and a wrong cell of any op is convicted."""

import pytest

from pouw.models.bert import Pooling
from pouw.models.bert_program import Batch, bert_program
from pouw.program import Program
from pouw.proofs.commitment import CommitBuilder
from pouw.proofs.proof import Proof, ProofReason
from pouw.tensors import Array, DType
from pouw.trace import Trace
from pouw.weights import Weights
from tests.pouw.bert_world import MANIFEST, WEIGHTS, padded, sentences
from tests.pouw.test_llama_proofs import ITEM, rerun, verdict
from tests.pouw.world import CHAIN, MINER, SEED

BATCH = Batch(9, (9, 4), (5, 2))
INPUT = padded(BATCH, sentences(BATCH.lengths))
PROGRAMS = {pooling: bert_program(MANIFEST, BATCH, pooling=pooling) for pooling in Pooling}
MEAN = PROGRAMS[Pooling.MEAN]


def run(program: Program = MEAN, inputs: Array = INPUT, weights: Weights = WEIGHTS) -> Trace:
    return rerun(program, inputs, weights=weights)


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=[pooling.name for pooling in Pooling])
def test_honest_work_is_accepted(program: Program) -> None:
    trace = run(program)
    assert verdict(trace, program=program, claimed=program, known=INPUT, samples=300) is None


CASES = [
    (pooling, step.op.name)
    for pooling, program in PROGRAMS.items()
    for step in program.steps
    if pooling is Pooling.MEAN or "first" in step.op.name or "pool" in step.op.name
]


@pytest.mark.parametrize(("pooling", "name"), CASES, ids=[f"{p.name} {n}" for p, n in CASES])
def test_a_wrong_op_is_convicted(pooling: Pooling, name: str) -> None:
    """Every value of the op's output one off, and everything after it computed from that."""
    program = PROGRAMS[pooling]
    trace = rerun(program, INPUT, weights=WEIGHTS, spoilt=name, change=lambda out: out ^ out.dtype.type(1))
    error = verdict(trace, program=program, claimed=program, known=INPUT, samples=1024)
    assert error is not None
    assert error.reason is ProofReason.WRONG_CELL
    assert error.message.startswith(f"{name}[")


def test_a_look_at_the_padding_is_convicted() -> None:
    """The shorter text read as if what pads it belonged to it."""
    careless = bert_program(MANIFEST, Batch(9, (9, 9), (5, 2)))
    error = verdict(run(careless), program=MEAN, claimed=MEAN, known=INPUT)
    assert error is not None
    assert error.reason is ProofReason.WRONG_CELL
    error = verdict(run(careless), program=careless, claimed=MEAN, known=INPUT)
    assert error is not None
    assert error.reason is ProofReason.COMMIT_MISMATCH


def test_a_coarser_model_is_convicted() -> None:
    """Int4 passed off as int8."""
    arrays = {
        weight.name: WEIGHTS.array(weight.name) & (~15 if weight.spec.dtype is DType.INT8 else -1)
        for weight in MANIFEST.weights
    }
    trace = run(weights=Weights(arrays))
    error = verdict(trace, program=MEAN, claimed=MEAN, known=INPUT, samples=16)
    assert error is not None and error.reason is ProofReason.WEIGHT_NOT_IN_MODEL
    error = verdict(Trace(WEIGHTS, trace.tensors), program=MEAN, claimed=MEAN, known=INPUT, samples=16)
    assert error is not None and error.reason is ProofReason.WRONG_CELL


def test_a_skipped_layer_is_convicted() -> None:
    trace = run()
    names = {step.op.name: number for number, step in enumerate(MEAN.steps, start=1)}
    tensors = list(trace.tensors)
    tensors[names["x 2"]] = tensors[names["y 1"]] = tensors[names["x 1"]]
    error = verdict(Trace(WEIGHTS, tuple(tensors)), program=MEAN, claimed=MEAN, known=INPUT, samples=64)
    assert error is not None and error.reason is ProofReason.WRONG_CELL


def test_another_text_is_convicted() -> None:
    other = INPUT.copy()
    other[1] = (other[1] + 1) % 50
    error = verdict(run(inputs=other), program=MEAN, claimed=MEAN, known=INPUT)
    assert error is not None and error.reason is ProofReason.INPUT_MISMATCH


def test_a_proof_is_small() -> None:
    builder = CommitBuilder(CHAIN, MINER)
    builder.add(ITEM, MEAN, run(), answered=True)
    Proof.from_fields(builder.prove(SEED, 64).to_fields(), max_bytes=40 * 1024)
