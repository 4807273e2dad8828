"""Miners that cheat at training, each convicted for its own reason; and how surely."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from pouw.models.mlp import weight_name
from pouw.ops.matmul import MatmulNT
from pouw.program import Program
from pouw.proofs.proof import Proof, ProofError, ProofReason
from pouw.proofs.verifier import check_proof
from pouw.tensors import Array
from pouw.trace import Trace, run_program
from pouw.training.checkpoint import kept_roots, next_name
from pouw.training.mlp_training import (
    LOSS,
    constants,
    error_name,
    gradient_name,
    master_weight_name,
    shard_gradients,
    speed_name,
    step_program,
    update_program,
    values_name,
)
from pouw.training.training_data import training_batch
from pouw.weights import Weights
from tests.pouw.chances import all_miss
from tests.pouw.training_world import (
    DATA,
    START,
    TRAINING,
    Unit,
    commit,
    gradient_unit,
    step,
    step_unit,
)
from tests.pouw.world import REFERENCE

R = ProofReason
HERE = step(START, 0)
BEFORE = START
MASTER_0 = master_weight_name(0)


def honest(unit: Unit, weights: Weights = HERE.weights) -> Trace:
    return run_program(unit.program, weights, unit.inputs, REFERENCE)


def verdicts(unit: Unit, trace: Trace, seeds: int = 30) -> list[ProofReason | None]:
    """What becomes of a commit under several seeds."""
    builder, statement = commit([(unit, trace)])
    found: list[ProofReason | None] = []
    for number in range(seeds):
        seed = b"seed %d" % number
        proof = Proof.from_fields(builder.prove(seed, 64).to_fields())
        try:
            check_proof(statement, proof, seed=seed, samples=64)
        except ProofError as error:
            found.append(error.reason)
        else:
            found.append(None)
    return found


def number_of(program: Program, name: str) -> int:
    return next(i for i in range(len(program.tensors)) if program.name_of(i) == name)


def consistent(
    unit: Unit, name: str, change: Callable[[Array], Array], weights: Weights = HERE.weights
) -> Trace:
    """A trace that is wrong in one tensor and honest in all that follows from it."""
    tensors: list[Array] = [unit.inputs]
    for number, step_ in enumerate(unit.program.steps, start=1):
        operands = [
            weights.array(unit.program.weights[s.index].name) if s.weight else tensors[s.index]
            for s in step_.sources
        ]
        out = REFERENCE.get(step_.op.kind.run(REFERENCE, operands))
        tensors.append(change(out.copy()) if unit.program.name_of(number) == name else out)
    return Trace(weights, tuple(tensors))


def test_honest_steps_are_never_refused() -> None:
    for unit in (step_unit(HERE, 1), gradient_unit(HERE, 1)):
        assert set(verdicts(unit, honest(unit))) == {None}


def doubled(values: Array) -> Array:
    result: Array = np.clip(2 * values.astype(np.int64) + 1, -127, 127).astype(values.dtype)
    return result


def one_row_more(values: Array) -> Array:
    values[3] += 1
    return values


def turned_round(values: Array) -> Array:
    return -values


LIES: dict[str, tuple[str, Callable[[Array], Array]]] = {
    "a gradient of the wrong sign": (gradient_name(MASTER_0), turned_round),
    "no gradient at all": (gradient_name(MASTER_0), np.zeros_like),
    "errors that push twice as hard": (error_name(0), doubled),
    "a loss that is none": (LOSS, np.zeros_like),
    "a layer that was skipped": (values_name(1), np.zeros_like),
    "an update that was not made": (next_name(MASTER_0), lambda _: HERE.weights.array(MASTER_0).copy()),
    "a speed without friction": (next_name(speed_name(MASTER_0)), lambda v: v + 64),
    "weights in use of another model": (next_name(weight_name(0)), turned_round),
    "a back door in one row": (next_name(weight_name(2)), one_row_more),
}
"""Tensor and change; whatever follows from the tensor is honest."""


def predicted(unit: Unit, trace: Trace, name: str) -> float:
    """How often 64 draws hit a cell that convicts, from the share of units and as one tensor of many."""
    number = number_of(unit.program, name)
    step_ = unit.program.steps[number - 1]
    operands = [
        trace.weights.array(unit.program.weights[s.index].name) if s.weight else trace.tensors[s.index]
        for s in step_.sources
    ]
    wrong = REFERENCE.get(step_.op.kind.run(REFERENCE, operands)) != trace.tensors[number]
    if not isinstance(step_.op.kind, MatmulNT):
        wrong = wrong.any(axis=1, keepdims=True)
    units = step_.units / unit.program.units * wrong.mean()
    right = [1 - float(wrong.mean()) * (other == number) for other in range(len(unit.program.tensors))]
    return float(1 - (1 - units) ** 32 * all_miss(right, 32))


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_a_wrong_cell_as_often_as_predicted(lie: str) -> None:
    name, change = LIES[lie]
    unit = step_unit(HERE, 1)
    trace = consistent(unit, name, change)
    found = verdicts(unit, trace, seeds=60)
    assert set(found) <= {R.WRONG_CELL, None}
    expected = predicted(unit, trace, name)
    deviation = np.sqrt(60 * expected * (1 - expected))
    assert abs(found.count(R.WRONG_CELL) - 60 * expected) <= 3 * deviation + 1, (found, expected)


def test_a_rate_of_its_own() -> None:
    """A miner that learns faster than the run allows, or rounds by chance as it likes."""
    unit = step_unit(HERE, 1)
    faster = step_program(replace(TRAINING, rate=10), HERE.checkpoint, b"noise 1")
    other_noise = step_program(TRAINING, HERE.checkpoint, b"noise of my own")
    for program in (faster, other_noise):
        trace = honest(Unit(program, 1, unit.inputs))
        assert verdicts(unit, trace).count(R.WRONG_CELL) >= 26


def test_another_checkpoint() -> None:
    """The step of yesterday's model, or of one with a few numbers changed: nobody needs the model to see."""
    unit = step_unit(HERE, 1)
    arrays = {tensor.name: HERE.weights.array(tensor.name).copy() for tensor in HERE.checkpoint.tensors}
    arrays[weight_name(0)][:, 3] += 1
    poisoned = Weights({**arrays, **constants(TRAINING)})
    for weights in (BEFORE.weights, poisoned):
        found = verdicts(unit, run_program(unit.program, weights, unit.inputs, REFERENCE))
        assert found.count(R.WEIGHT_NOT_IN_MODEL) >= 29, found


def test_a_checkpoint_that_was_not_committed() -> None:
    """What is claimed to have come of it is compared with what was committed, whatever is drawn."""
    unit = step_unit(HERE, 1)
    trace = honest(unit)
    roots = list(kept_roots(unit.program, trace))
    roots[4] = bytes(32)
    assert set(verdicts(replace(unit, claimed=tuple(roots)), trace)) == {R.ANSWER_MISMATCH}


@pytest.mark.parametrize("column", [5, 64, 70])
def test_other_data(column: int) -> None:
    """One pixel, one label, one byte of luck in rounding."""
    unit = step_unit(HERE, 1)
    inputs = unit.inputs.copy()
    inputs[2, column] = (inputs[2, column] + 1) % 10
    assert set(verdicts(unit, honest(replace(unit, inputs=inputs)))) == {R.INPUT_MISMATCH}


def test_an_easier_shard() -> None:
    inputs = training_batch(DATA, seed=b"data", index=2, batch=16, noise=TRAINING.noise)
    unit = step_unit(HERE, 1)
    assert set(verdicts(unit, honest(replace(unit, inputs=inputs)))) == {R.INPUT_MISMATCH}


def test_a_gradient_slipped_into_the_update() -> None:
    """The update names the committed gradients; another one in their place does not lead to their roots."""
    shard = gradient_unit(HERE, 1)
    trace = honest(shard)
    roots = kept_roots(shard.program, trace)
    program = update_program(TRAINING, HERE.checkpoint, b"round", [roots])
    unit = Unit(program, 1, np.zeros((1, 1), np.int8))

    def weights(gradients: tuple[Array, ...]) -> Weights:
        arrays = {tensor.name: HERE.weights.array(tensor.name) for tensor in HERE.checkpoint.tensors}
        return Weights({**arrays, **shard_gradients(TRAINING, [gradients])})

    true = tuple(trace.tensors[number] for number in shard.program.kept)
    assert set(verdicts(unit, honest(unit, weights(true)))) == {None}
    false = tuple(-gradient for gradient in true)
    assert set(verdicts(unit, honest(unit, weights(false)))) == {R.WEIGHT_NOT_IN_MODEL}
