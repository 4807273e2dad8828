"""Proofs of a transformer's training: honest steps pass, and a lie in any op is a wrong cell."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from pouw.fields import measure
from pouw.proofs.openings import reads_of
from pouw.proofs.proof import MAX_PROOF_BYTES, Proof, ProofError, ProofReason
from pouw.proofs.verifier import check_proof
from pouw.tensors import Array
from pouw.trace import Trace, run_program
from pouw.training.checkpoint import advance, kept_roots, next_name
from pouw.training.training_text import text_batch
from pouw.training.transformer_backward import LOSS, STRETCH, error_name
from pouw.training.transformer_training import (
    ERROR,
    GRADIENT,
    NORMED,
    fixed_arrays,
    gradient_name,
    master_name,
    momentum_name,
)
from pouw.training.transformer_training_programs import shard_gradients, step_program, update_program
from pouw.weights import Weights
from tests.pouw.text_world import (
    SHAPE,
    START,
    TEXT,
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
UNIT = step_unit(HERE, 1)


def honest(unit: Unit, weights: Weights = HERE.weights) -> Trace:
    return run_program(unit.program, weights, unit.inputs, REFERENCE)


TRACE = honest(UNIT)


def verdict(unit: Unit, trace: Trace, *, samples: int = 64, seed: bytes = b"seed") -> ProofError | None:
    """What the verifier says of a commit."""
    builder, statement = commit([(unit, trace)])
    proof = Proof.from_fields(builder.prove(seed, samples).to_fields(), max_bytes=1 << 24)
    try:
        check_proof(statement, proof, seed=seed, samples=samples)
    except ProofError as error:
        return error
    return None


def convicted(unit: Unit, trace: Trace) -> ProofError:
    """What the verifier says under the first seed that finds anything: one in two or three does."""
    found = (verdict(unit, trace, samples=400, seed=b"%d" % seed) for seed in range(20))
    return next(error for error in found if error is not None)


def test_gradients_over_many_tokens_are_proven_part_by_part() -> None:
    """The same bits as in one piece, and a lie in a part convicts as one in the sum does."""
    many = replace(TRAINING, sequences=2 * STRETCH // 8, tokens=12)
    assert many.rows == 3 * STRETCH
    unit = step_unit(HERE, 1, many)
    names = [unit.program.name_of(number) for number in range(len(unit.program.tensors))]
    trace, name = honest(unit), gradient_name("layer 0 gate")
    assert verdict(unit, trace) is None
    tensors = dict(zip(names, trace.tensors, strict=True))
    errors, read = (tensors[f"{of} turned"].astype(np.int64) for of in (error_name("gate 0"), "b 0"))
    shift = ERROR + NORMED - GRADIENT
    assert np.array_equal(tensors[name], (errors @ read.T + (1 << shift >> 1)) >> shift)
    for changed in (name, f"{name} in parts"):
        number = names.index(changed)
        lie = (array ^ (place == number) for place, array in enumerate(trace.tensors))
        error = convicted(unit, Trace(trace.weights, tuple(lie)))
        assert error.reason is R.WRONG_CELL


def test_a_weight_of_one_value_is_known_and_not_opened() -> None:
    weights = UNIT.program.weights
    constant = {number for number, weight in enumerate(weights) if weight.is_constant}
    assert {"final norm", "layer 0 q scale"} <= {weights[number].name for number in constant}
    read = [
        (source.index, step_.op.name)
        for step_ in UNIT.program.steps
        for source, _ in reads_of(UNIT.program, step_, 0, 0, input_row=UNIT.inputs.__getitem__)
        if source.weight
    ]
    assert read
    assert not [name for number, name in read if number in constant]


def test_every_step_can_be_proven() -> None:
    state = START
    for index in range(3):
        unit = step_unit(state, index)
        trace = run_program(unit.program, state.weights, unit.inputs, REFERENCE)
        builder, statement = commit([(unit, trace)])
        proof = builder.prove(b"seed", 64)
        fields = proof.to_fields()
        check_proof(statement, Proof.from_fields(fields), seed=b"seed", samples=64)
        assert measure(fields, limit=MAX_PROOF_BYTES) < 128 * 1024
        state = advance(state.checkpoint, unit.program, trace, constants=fixed_arrays(SHAPE))
        # What the commit shows is what the next step's program names.
        assert statement.items[0].kept == tuple(tensor.root for tensor in state.checkpoint.tensors)


def test_honest_steps_and_shards_are_never_refused() -> None:
    shard = gradient_unit(HERE, 1)
    for seed in range(12):
        assert verdict(UNIT, TRACE, seed=b"%d" % seed) is None
        assert verdict(shard, honest(shard), seed=b"%d" % seed) is None
    chance = replace(TRAINING, chance=True)
    unit = replace(UNIT, program=step_program(chance, HERE.checkpoint, b"luck"))
    assert verdict(unit, honest(unit), samples=600) is None


NUMBERS = {UNIT.program.name_of(number): number for number in range(1, len(UNIT.program.tensors))}


@cache
def spoilt(name: str, change: Callable[[Array], Array]) -> Trace:
    """A trace that is wrong in one tensor and honest in all that follows from it."""
    tensors: list[Array] = [UNIT.inputs]
    for number, step_ in enumerate(UNIT.program.steps, start=1):
        operands = [
            HERE.weights.array(UNIT.program.weights[s.index].name) if s.weight else tensors[s.index]
            for s in step_.sources
        ]
        out = REFERENCE.get(step_.op.kind.run(REFERENCE, operands))
        tensors.append(change(out.copy()) if number == NUMBERS[name] else out)
    return Trace(HERE.weights, tuple(tensors))


def one_off(values: Array) -> Array:
    """Zeros stay: those of attention to later keys are read nowhere, and cells that skip them would show."""
    result: Array = values ^ (values != 0).astype(values.dtype)
    return result


def first_of_each_kind() -> list[str]:
    """One op of every kind that a step has, and of every way in which it is set."""
    seen: dict[tuple[object, ...], str] = {}
    for step_ in UNIT.program.steps:
        kind = step_.op.kind
        flags = [
            getattr(kind, flag, None) for flag in ("onto", "times_up", "to_channels", "dtype", "residual")
        ]
        seen.setdefault((type(kind), *flags), step_.op.name)
    return list(seen.values())


@pytest.mark.parametrize("name", first_of_each_kind())
def test_a_wrong_op_is_convicted(name: str) -> None:
    """Every value of the op's output one off, and everything after it computed from that."""
    error = convicted(UNIT, spoilt(name, one_off))
    assert error.reason is R.WRONG_CELL
    assert error.message.startswith(f"{name}["), error.message


LIES: dict[str, tuple[str, Callable[[Array], Array]]] = {
    "a gradient of the wrong sign": (gradient_name("layer 0 gate"), np.negative),
    "no gradient at all": (gradient_name("head"), np.zeros_like),
    "a loss that is none": (error_name("logits"), np.zeros_like),
    "a loss that looks better": (LOSS, lambda loss: loss // 2),
    "an update that was not made": (
        next_name(master_name("head")),
        lambda _: HERE.weights.array(master_name("head")).copy(),
    ),
    "a memory that was wiped": (next_name(momentum_name("layer 1 up")), np.zeros_like),
    "weights in use of another model": (next_name("layer 0 down"), np.negative),
}
"""Tensor and change; whatever follows from the tensor is honest."""


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_a_wrong_cell(lie: str) -> None:
    name, change = LIES[lie]
    error = convicted(UNIT, spoilt(name, change))
    assert error.reason is R.WRONG_CELL
    assert error.message.startswith(f"{name}[")


def test_a_rate_of_its_own() -> None:
    faster = step_program(replace(TRAINING, rate=1 << 14), HERE.checkpoint, b"noise 1")
    error = verdict(UNIT, honest(replace(UNIT, program=faster)), samples=600)
    assert error is not None and error.reason is R.WRONG_CELL
    assert error.message.startswith("next master")


def test_luck_of_its_own() -> None:
    """Errors that are rounded by another seed than the step's."""
    chance = replace(TRAINING, chance=True)
    unit = replace(UNIT, program=step_program(chance, HERE.checkpoint, b"the step's"))
    mine = replace(UNIT, program=step_program(chance, HERE.checkpoint, b"my own"))
    error = verdict(unit, honest(mine), samples=300)
    assert error is not None and error.reason is R.WRONG_CELL


def test_another_checkpoint() -> None:
    arrays = {tensor.name: HERE.weights.array(tensor.name).copy() for tensor in HERE.checkpoint.tensors}
    arrays["layer 1 o"][:, 3] += 1
    poisoned = Weights({**arrays, **fixed_arrays(SHAPE)})
    for weights in (START.weights, poisoned):
        error = verdict(UNIT, honest(UNIT, weights), samples=300)
        assert error is not None and error.reason is R.WEIGHT_NOT_IN_MODEL


def test_a_checkpoint_that_was_not_committed() -> None:
    roots = list(kept_roots(UNIT.program, TRACE))
    roots[4] = bytes(32)
    error = verdict(replace(UNIT, claimed=tuple(roots)), TRACE)
    assert error is not None and error.reason is R.ANSWER_MISMATCH


def test_another_text() -> None:
    """One letter, or a shard that was asked of somebody else."""
    letter = UNIT.inputs.copy()
    letter[5] = (letter[5] + 1) % 40
    easier = text_batch(TEXT, seed=b"data", index=2, sequences=4, tokens=12)
    for inputs in (letter, easier):
        error = verdict(UNIT, honest(replace(UNIT, inputs=inputs)))
        assert error is not None and error.reason is R.INPUT_MISMATCH


def test_a_gradient_slipped_into_the_update() -> None:
    shard = gradient_unit(HERE, 1)
    trace = honest(shard)
    program = update_program(TRAINING, HERE.checkpoint, [kept_roots(shard.program, trace)])
    unit = Unit(program, 1, np.zeros((1, 1), np.int8))
    true = tuple(trace.tensors[number] for number in shard.program.kept)
    arrays = {tensor.name: HERE.weights.array(tensor.name) for tensor in HERE.checkpoint.tensors}
    for gradients, expected in ((true, None), (tuple(-g for g in true), R.WEIGHT_NOT_IN_MODEL)):
        weights = Weights({**arrays, **shard_gradients(TRAINING, [gradients])})
        error = verdict(unit, honest(unit, weights))
        assert (None if error is None else error.reason) == expected
