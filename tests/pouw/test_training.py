"""Training steps: the same bits everywhere, provable, resumable, dealt out as one likes, and no worse than in
float."""

from dataclasses import replace
from itertools import pairwise, permutations

import numpy as np
import pytest
from numpy.typing import NDArray

from pouw.backends.select import select_backend
from pouw.fields import measure
from pouw.models.mlp import mlp_program
from pouw.ops.transpose import Transpose
from pouw.program import INPUT, Op, Program, build_program
from pouw.program_error import ProgramError, ProgramReason
from pouw.proofs.binding import tensor_place
from pouw.proofs.proof import MAX_PROOF_BYTES, Proof
from pouw.proofs.verifier import check_proof
from pouw.tensors import Array, DType, TensorSpec
from pouw.trace import Trace, run_program
from pouw.training.checkpoint import TrainingState, advance, check_weights, dump_state, kept_roots, load_state
from pouw.training.mlp_training import (
    MASTER,
    MlpTraining,
    constants,
    gradient_name,
    gradient_program,
    master_weight_name,
    masters,
    model_manifest,
    shard_gradients,
    start_training,
    step_program,
    update_program,
    values_name,
)
from pouw.training.training_data import training_batch, training_row
from pouw.training.training_monitor import Bounds, CollapseReason, TrainingCollapse, check_report, report_step
from pouw.trees.rows import WEIGHTS
from pouw.weights import Weights
from tests.pouw.training_world import (
    DATA,
    START,
    TRAINING,
    batch_of,
    commit,
    step,
    step_unit,
)
from tests.pouw.world import REFERENCE, SEED

STEPS = 12


def run_steps(backend_name: str) -> TrainingState:
    backend = select_backend(backend_name)  # type: ignore[arg-type]
    state = START
    for index in range(STEPS):
        state = step(state, index, backend)
    return state


AFTER = run_steps("reference")


def test_vectors() -> None:
    """Whoever builds another client must get these."""
    assert START.checkpoint.digest.hex() == "d649f96c3d193fc13ace3c7ffed29c429937a09c3c38cff9bda611e2f6775a76"
    assert (
        step_unit(START, 0).program.digest.hex()
        == "80d592a2af1b111d5efc2670b7aacdd222848cf5716c162f1def628e854ea9f6"
    )
    assert AFTER.checkpoint.digest.hex() == "95bcdd39fce35a016d397a51c8c178a3e501fcd04967e0d25d4df81136dbfa4d"


def test_every_backend_and_any_number_of_threads_gives_the_same_model() -> None:
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            assert run_steps("cpu").checkpoint == AFTER.checkpoint
    finally:
        torch.set_num_threads(before)


def test_every_step_can_be_proven() -> None:
    state = START
    for index in range(3):
        unit = step_unit(state, index)
        trace = run_program(unit.program, state.weights, unit.inputs, REFERENCE)
        builder, statement = commit([(unit, trace)])
        proof = builder.prove(SEED, 64)
        check_proof(statement, Proof.from_fields(proof.to_fields()), seed=SEED, samples=64)
        assert measure(proof.to_fields(), limit=MAX_PROOF_BYTES) < 48 * 1024
        state = advance(state.checkpoint, unit.program, trace, constants=constants(TRAINING))
        # What the commit shows is what the next step's program names.
        assert statement.items[0].kept == tuple(tensor.root for tensor in state.checkpoint.tensors)


def shard_traces(training: MlpTraining, state: TrainingState, indices: range) -> list[Trace]:
    program = gradient_program(training, state.checkpoint)
    return [run_program(program, state.weights, batch_of(training, i), REFERENCE) for i in indices]


def merged(training: MlpTraining, state: TrainingState, traces: list[Trace]) -> TrainingState:
    """What a round of shards leads to."""
    shard = gradient_program(training, state.checkpoint)
    assert [shard.name_of(number) for number in shard.kept] == list(map(gradient_name, masters(training)))
    roots, arrays = [], []
    for trace in traces:
        roots.append(kept_roots(shard, trace))
        arrays.append(tuple(trace.tensors[number] for number in shard.kept))
    program = update_program(training, state.checkpoint, b"round", roots)
    weights = Weights({**_arrays(state), **shard_gradients(training, arrays)})
    weights.check(program)
    trace = run_program(program, weights, np.zeros((1, 1), np.int8), REFERENCE)
    return advance(state.checkpoint, program, trace, constants=constants(training))


def _arrays(state: TrainingState) -> dict[str, Array]:
    return {tensor.name: state.weights.array(tensor.name) for tensor in state.checkpoint.tensors}


def test_shards_add_up_to_the_same_checkpoint_in_any_order() -> None:
    traces = shard_traces(TRAINING, AFTER, range(3))
    after = [merged(TRAINING, AFTER, list(order)) for order in permutations(traces)]
    assert len({state.checkpoint.digest for state in after}) == 1
    assert after[0].checkpoint.digest != AFTER.checkpoint.digest


def test_rows_may_be_dealt_out_in_any_way() -> None:
    """One miner with all rows, or three with a third each: the same checkpoint."""
    alone = replace(TRAINING, batch=3 * TRAINING.batch)
    state = TrainingState(AFTER.checkpoint, Weights({**_arrays(AFTER), **constants(alone)}))
    program = step_program(alone, state.checkpoint, b"round")
    rows = np.concatenate([batch_of(TRAINING, index) for index in range(3)])
    trace = run_program(program, state.weights, rows, REFERENCE)
    whole = advance(state.checkpoint, program, trace, constants=constants(alone))
    shared = merged(TRAINING, AFTER, shard_traces(TRAINING, AFTER, range(3)))
    assert shared.checkpoint == whole.checkpoint


def test_training_goes_on_from_bytes() -> None:
    state = START
    for index in range(STEPS // 2):
        state = step(state, index)
    raw = dump_state(state)
    state = load_state(state.checkpoint, raw, constants(TRAINING))
    for index in range(STEPS // 2, STEPS):
        state = step(state, index)
    assert state.checkpoint == AFTER.checkpoint
    assert dump_state(state) == dump_state(AFTER)


def test_other_bytes_are_no_checkpoint() -> None:
    raw = dump_state(AFTER)
    for wrong, message in [(raw[:-1] + b"\x7f", "has root"), (raw[:-1], "bytes, the checkpoint has")]:
        with pytest.raises(ProgramError, match=message) as caught:
            load_state(AFTER.checkpoint, wrong, {})
        assert caught.value.reason is ProgramReason.WEIGHT
    tensors = AFTER.checkpoint.tensors
    narrow = replace(AFTER.checkpoint, tensors=(replace(tensors[0], high=0), *tensors[1:]))
    with pytest.raises(ProgramError, match=r"its interval is .*\.\.0$"):
        check_weights(narrow, AFTER.weights)
    with pytest.raises(ProgramError, match="3 roots for a checkpoint of 18 tensors"):
        AFTER.checkpoint.after([bytes(32)] * 3)


def test_a_checkpoint_binds_its_step_and_its_tensors() -> None:
    tensors = AFTER.checkpoint.tensors
    others = [
        replace(AFTER.checkpoint, step=STEPS + 1),
        replace(AFTER.checkpoint, tensors=tensors[:-1]),
        replace(AFTER.checkpoint, tensors=tensors[::-1]),
        replace(AFTER.checkpoint, tensors=(replace(tensors[0], low=-1), *tensors[1:])),
    ]
    assert len({checkpoint.digest for checkpoint in (AFTER.checkpoint, *others)}) == 5


def test_a_checkpoint_is_a_model_that_answers() -> None:
    """The model in training classifies with the program of any other perceptron."""
    program = mlp_program(model_manifest(TRAINING, AFTER.checkpoint), 16)
    AFTER.weights.check(program)
    inputs = batch_of(TRAINING, 99)
    answer = run_program(program, AFTER.weights, inputs[:, :64].copy(), REFERENCE).answer
    step_trace = run_program(gradient_program(TRAINING, AFTER.checkpoint), AFTER.weights, inputs, REFERENCE)
    assert step_unit(AFTER, 0).program.name_of(4) == values_name(2)
    assert np.array_equal(answer[:, 0], np.argmax(step_trace.tensors[4], axis=1))


def test_rows_follow_from_their_own_number() -> None:
    whole = training_batch(DATA, seed=b"s", index=3, batch=20, noise=50)
    for row in (0, 7, 19):
        assert np.array_equal(training_row(DATA, seed=b"s", index=3, row=row, noise=50), whole[row])
    assert set(np.unique(whole[:, 64])) <= set(range(10))
    assert len(np.unique(whole[:, 65:])) > 200


# No worse than in float.


def float_twin(
    training: MlpTraining, start: TrainingState, steps: int
) -> tuple[list[NDArray[np.float64]], list[float]]:
    """The same network, data and optimiser in float64."""
    layers = range(training.layers)
    weights = [start.weights.array(master_weight_name(i)) / 2**MASTER for i in layers]
    biases = [np.zeros(width) for width in training.widths[1:]]
    speeds = [np.zeros_like(w) for w in weights], [np.zeros_like(b) for b in biases]
    losses = []
    for index in range(steps):
        rows = batch_of(training, index)
        values = [rows[:, :64] / 16]
        for i in layers:
            total = values[-1] @ weights[i].T + biases[i]
            values.append(np.clip(total, 0, 127 / 16) if i < training.layers - 1 else total)
        shares = np.exp(values[-1] - values[-1].max(axis=1, keepdims=True))
        error = shares / shares.sum(axis=1, keepdims=True)
        labels = rows[:, 64].astype(np.int64)
        losses.append(float(-np.log(error[np.arange(len(rows)), labels]).mean()))
        error[np.arange(len(rows)), labels] -= 1
        for i in reversed(layers):
            gradient = error.T @ values[i], error.sum(axis=0)
            error = (error @ weights[i]) * ((values[i] > 0) & (values[i] < 127 / 16))
            for speed, master, slope in zip(speeds, (weights, biases), gradient, strict=True):
                speed[i] = speed[i] * (1 - 2**-training.friction) + slope * 2**-training.rate
                master[i] = master[i] - speed[i]
    return weights, losses


def test_training_float_twin() -> None:
    """Loss by loss and weight by weight: the integer run learns what the float run learns."""
    training = replace(TRAINING, batch=32, rate=10)
    start, fixed = start_training(training, b"twin"), constants(training)
    state, losses = start, []
    for index in range(100):
        program = step_program(training, state.checkpoint, b"twin %d" % index)
        trace = run_program(program, state.weights, batch_of(training, index), REFERENCE)
        report = report_step(training, program, trace)
        check_report(report, Bounds())
        losses.append(report.loss / 2**16)
        state = advance(state.checkpoint, program, trace, constants=fixed)
    weights, real = float_twin(training, start, 100)
    assert losses[0] == pytest.approx(real[0], abs=0.05)
    assert np.mean(real[-10:]) < 0.5 * real[0]
    assert np.mean(losses[-10:]) < 1.15 * np.mean(real[-10:]) + 0.02
    for layer in range(training.layers):
        name = master_weight_name(layer)
        before = start.weights.array(name) / 2**MASTER
        moved, really = state.weights.array(name) / 2**MASTER - before, weights[layer] - before
        cosine = (moved * really).sum() / np.sqrt((moved**2).sum() * (really**2).sum())
        assert cosine > 0.9, (layer, cosine)


# A collapse is an error.


def collapsed(**change: int) -> CollapseReason:
    unit = step_unit(AFTER, 0)
    report = report_step(
        TRAINING, unit.program, run_program(unit.program, AFTER.weights, unit.inputs, REFERENCE)
    )
    check_report(report, Bounds())
    with pytest.raises(TrainingCollapse) as caught:
        check_report(replace(report, **change), Bounds())
    return caught.value.reason


def test_monitors() -> None:
    assert collapsed(loss=5 << 16) is CollapseReason.LOSS
    assert collapsed(stuck=51) is CollapseReason.WEIGHTS_STUCK
    assert collapsed(cut=101) is CollapseReason.ERRORS_CUT
    assert collapsed(open=9) is CollapseReason.UNITS_SHUT


def test_a_run_that_blows_up_is_stopped() -> None:
    """The greatest rate there is, and next to no friction: weights pile up at their limit."""
    wild = replace(TRAINING, rate=9, friction=10, batch=128)

    def run(steps: int) -> None:
        state, fixed = start_training(wild, b"start"), constants(wild)
        for index in range(steps):
            program = step_program(wild, state.checkpoint, b"wild %d" % index)
            trace = run_program(program, state.weights, batch_of(wild, index), REFERENCE)
            check_report(report_step(wild, program, trace), Bounds())
            state = advance(state.checkpoint, program, trace, constants=fixed)

    run(20)
    with pytest.raises(TrainingCollapse, match=r"weights at their limit, in a thousand: \d+, at most 50"):
        run(40)


def test_runs_that_cannot_be_exact_are_refused() -> None:
    for change in ({"rate": 8}, {"widths": (64,)}, {"rate": 32, "slower": (5,)}):
        with pytest.raises(ProgramError) as caught:
            replace(TRAINING, **change)
        assert caught.value.reason is ProgramReason.CONSTANT
    with pytest.raises(ProgramError) as caught:
        gradient_program(replace(TRAINING, batch=140_000), START.checkpoint)
    assert caught.value.reason is ProgramReason.RANGE


def test_what_a_program_keeps_is_part_of_it() -> None:
    def build(*kept: str) -> Program:
        shape = TensorSpec(3, 4, DType.INT8)
        return build_program(
            shape, (), [Op("a", Transpose(), (INPUT,)), Op("b", Transpose(), ("a",))], kept=kept
        )

    assert [build(*kept).kept for kept in ((), ("b",), ("b", "a"))] == [(), (2,), (1, 2)]
    assert len({build(*kept).digest for kept in ((), ("a",), ("b",), ("a", "b"))}) == 4
    for kept in (("c",), ("a", "a"), (INPUT,)):
        with pytest.raises(ProgramError, match="tensors to keep") as caught:
            build(*kept)
        assert caught.value.reason is ProgramReason.NAME


def test_a_kept_tensor_is_committed_as_the_weight_that_it_will_be() -> None:
    """Its root is of no miner or item; that of any other tensor is."""
    unit = step_unit(AFTER, 0)
    program = unit.program
    places = {tensor_place(program, bytes(32), tensor=i) for i in program.kept}
    assert places == {(WEIGHTS, 0)}
    others = [i for i in range(len(program.tensors)) if i not in program.kept]
    assert [tensor_place(program, bytes(32), tensor=i) for i in others] == [(bytes(32), i) for i in others]
    assert len(program.kept) == len(AFTER.checkpoint.tensors)


def test_the_rate_falls_when_it_should() -> None:
    slower = replace(TRAINING, slower=(2, 5))
    assert [slower.rate_at(i) for i in range(7)] == [11, 11, 12, 12, 12, 13, 13]
    assert [TRAINING.noise_start(i) for i in range(3)] == [65 + 26, 65 + 10, 65]
    assert [
        b - a for a, b in pairwise([*sorted(map(TRAINING.noise_start, range(3))), 65 + TRAINING.noise])
    ] == [
        10,
        16,
        24,
    ]
