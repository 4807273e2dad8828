"""Steps of a transformer's training: the same bits everywhere, resumable, dealt out as one likes, the very
model that answers, and no worse than in float."""

import os
import subprocess
import sys
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest

from pouw.arithmetic.cross_entropy import NATS
from pouw.backends.select import select_backend
from pouw.models.llama import Span, llama_program
from pouw.program_error import ProgramError, ProgramReason
from pouw.tensors import Array
from pouw.trace import Trace, run_program
from pouw.training.checkpoint import TrainingState, advance, dump_state, kept_roots, load_state
from pouw.training.training_monitor import Bounds, CollapseReason, TrainingCollapse
from pouw.training.training_text import text_batch, text_row, text_windows
from pouw.training.transformer_backward import LOSS, error_name
from pouw.training.transformer_training import (
    EMBEDDING,
    ERROR,
    GRADIENT,
    WEIGHT,
    TransformerTraining,
    fixed_arrays,
    gradient_name,
    matrices,
    model_manifest,
    start_training,
)
from pouw.training.transformer_training_programs import (
    gradient_program,
    shard_gradients,
    step_program,
    update_program,
)
from pouw.training.transformer_training_run import TextTrainer, report_text_step
from pouw.weights import Weights
from tests.pouw.text_world import SHAPE, START, TEXT, TRAINING, batch_of, step, step_unit
from tests.pouw.world import REFERENCE

STEPS = 20


def run_steps(
    backend_name: str, training: TransformerTraining = TRAINING, steps: int = STEPS
) -> TrainingState:
    backend = select_backend(backend_name)  # type: ignore[arg-type]
    state = START
    for index in range(steps):
        state = step(state, index, backend, training)
    return state


AFTER = run_steps("reference")


def test_vectors() -> None:
    """Whoever builds another client must get these."""
    assert START.checkpoint.digest.hex() == "b580e93d8c77ab9ed6c810e96baed061528dead76fa8934c30c3f512eebd69b1"
    assert (
        step_unit(START, 0).program.digest.hex()
        == "865d8256ec84c4b254df31ce6e00dba10304969112a867973c84c14dd72b1f2b"
    )
    assert AFTER.checkpoint.digest.hex() == "df92d2e6d49796e22fa140a7698d5fa703cb5b9e1c4c1081159d806a488fe006"


def test_every_backend_and_any_number_of_threads_gives_the_same_model() -> None:
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            assert run_steps("cpu").checkpoint == AFTER.checkpoint
    finally:
        torch.set_num_threads(before)


@pytest.mark.slow
def test_a_hundred_steps_are_the_same_under_every_instruction_set() -> None:
    pytest.importorskip("torch")
    program = (
        "import sys, torch; torch.set_num_threads(int(sys.argv[1]));"
        "from tests.pouw.test_transformer_training import run_steps;"
        "print(run_steps(sys.argv[2], steps=100).checkpoint.digest.hex())"
    )
    settings = [
        {}, {"ATEN_CPU_CAPABILITY": "default"}, {"ATEN_CPU_CAPABILITY": "avx2"},
        {"ONEDNN_MAX_CPU_ISA": "AVX2"}, {"MKL_CBWR": "COMPATIBLE"},
    ]  # fmt: skip
    runs = [(setting, threads, "cpu") for setting in settings for threads in ("1", "2")]
    seen = {}
    for setting, threads, device in [*runs, ({}, "1", "reference")]:
        done = subprocess.run(
            [sys.executable, "-c", program, threads, device],
            env={**os.environ, **setting}, capture_output=True, text=True, check=True,
        )  # fmt: skip
        seen[str(setting), threads, device] = done.stdout.strip()
    assert len(set(seen.values())) == 1, seen


def test_rounding_by_chance_is_the_seeds() -> None:
    by_chance = replace(TRAINING, chance=True)
    one = step(START, 0, training=by_chance)
    assert one.checkpoint == step(START, 0, select_backend("auto"), by_chance).checkpoint
    assert one.checkpoint != step(START, 0).checkpoint
    programs = [gradient_program(by_chance, START.checkpoint, seed).digest for seed in (b"a", b"b")]
    assert programs[0] != programs[1]


def shard_traces(state: TrainingState, indices: range) -> list[Trace]:
    program = gradient_program(TRAINING, state.checkpoint, b"")
    return [run_program(program, state.weights, batch_of(i), REFERENCE) for i in indices]


def arrays_of(state: TrainingState) -> dict[str, Array]:
    return {tensor.name: state.weights.array(tensor.name) for tensor in state.checkpoint.tensors}


def merged(state: TrainingState, traces: list[Trace]) -> TrainingState:
    """What a round of shards leads to."""
    shard = gradient_program(TRAINING, state.checkpoint, b"")
    assert [shard.name_of(number) for number in shard.kept] == list(map(gradient_name, matrices(SHAPE)))
    roots, arrays = [], []
    for trace in traces:
        roots.append(kept_roots(shard, trace))
        arrays.append(tuple(trace.tensors[number] for number in shard.kept))
    program = update_program(TRAINING, state.checkpoint, roots)
    weights = Weights({**arrays_of(state), **shard_gradients(TRAINING, arrays)})
    weights.check(program)
    trace = run_program(program, weights, np.zeros((1, 1), np.int8), REFERENCE)
    return advance(state.checkpoint, program, trace, constants=fixed_arrays(SHAPE))


def test_shards_add_up_to_the_same_checkpoint_in_any_order() -> None:
    traces = shard_traces(AFTER, range(3))
    after = [merged(AFTER, list(order)) for order in permutations(traces)]
    assert len({state.checkpoint.digest for state in after}) == 1
    assert after[0].checkpoint.digest != AFTER.checkpoint.digest


def test_sequences_may_be_dealt_out_in_any_way() -> None:
    """One miner with all sequences, or three with a third each: the same gradients but for their last bit.

    A gradient is rounded once per shard, so the sums of three may differ from that of one by a unit or two.
    """
    alone = replace(TRAINING, sequences=3 * TRAINING.sequences)
    program = gradient_program(alone, AFTER.checkpoint, b"")
    rows = np.concatenate([batch_of(index) for index in range(3)])
    whole = run_program(program, AFTER.weights, rows, REFERENCE)
    traces = shard_traces(AFTER, range(3))
    shard = gradient_program(TRAINING, AFTER.checkpoint, b"")
    for together, number in zip(program.kept, shard.kept, strict=True):
        parts = sum(trace.tensors[number].astype(np.int64) for trace in traces)
        assert np.abs(whole.tensors[together] - parts).max() <= 2
    for name in (error_name("x 0"), LOSS, "logits"):
        number = [program.name_of(n) for n in range(len(program.tensors))].index(name)
        stacked = np.concatenate([trace.tensors[number] for trace in traces])
        assert np.array_equal(whole.tensors[number], stacked), name


def test_training_goes_on_from_bytes() -> None:
    state = START
    for index in range(STEPS // 2):
        state = step(state, index)
    raw = dump_state(state)
    state = load_state(state.checkpoint, raw, fixed_arrays(SHAPE))
    for index in range(STEPS // 2, STEPS):
        state = step(state, index)
    assert state.checkpoint == AFTER.checkpoint
    assert dump_state(state) == dump_state(AFTER)


def test_a_checkpoint_is_a_model_that_answers() -> None:
    """What is trained is, to the bit, what is asked."""
    manifest = model_manifest(TRAINING, AFTER.checkpoint)
    program = llama_program(manifest, Span(TRAINING.sequences, 0, TRAINING.tokens, TRAINING.tokens))
    AFTER.weights.check(program)
    inputs = batch_of(99)
    asked = run_program(program, AFTER.weights, inputs, REFERENCE)
    step = gradient_program(TRAINING, AFTER.checkpoint, b"")
    trained = run_program(step, AFTER.weights, inputs, REFERENCE)
    logits = next(number for number, part in enumerate(step.steps, start=1) if part.op.name == "logits")
    assert np.array_equal(trained.tensors[logits], asked.tensors[-2])


def test_data_is_known_row_by_row() -> None:
    batch = batch_of(7)
    rows = [text_row(TEXT, seed=b"data", index=7, row=i, tokens=12) for i in range(TRAINING.rows)]
    assert np.array_equal(np.stack(rows), batch)
    others = [text_batch(TEXT, seed=b"other", index=7, sequences=4, tokens=12), batch_of(8)]
    assert not any(np.array_equal(batch, other) for other in others)
    for window in batch.reshape(4, 12):
        assert window.tobytes() in TEXT.tobytes()
    assert text_windows(TEXT, 12).size == len(TEXT) // 12 * 12


def test_gradients_float_twin() -> None:
    """At equal weights every gradient points where autograd's does, and its size is right."""
    torch = pytest.importorskip("torch")
    from tests.pouw.float_transformer_training import FloatTraining

    twin = FloatTraining(TRAINING, AFTER.weights)
    with torch.no_grad():
        for name, master in twin.masters.items():
            scale = EMBEDDING if name == "embedding" else WEIGHT
            master.copy_(torch.from_numpy(AFTER.weights.array(name) / 2.0**scale))
    inputs = batch_of(50)
    program = gradient_program(TRAINING, AFTER.checkpoint, b"")
    trace = run_program(program, AFTER.weights, inputs, REFERENCE)
    slopes = twin.gradients(inputs)
    for name, number in zip(matrices(SHAPE), program.kept, strict=True):
        scale = ERROR if name == "embedding" else GRADIENT
        got = torch.from_numpy(trace.tensors[number] / 2.0**scale).flatten()
        real = slopes[name].double().flatten()
        cosine = float(got @ real / (got.norm() * real.norm()))
        assert cosine > 0.99, (name, cosine)
        assert 0.96 < float(got.norm() / real.norm()) < 1.04, name
    losses = {program.name_of(n): t for n, t in enumerate(trace.tensors)}[LOSS].reshape(4, 12)[:, :-1]
    expected = twin.losses(inputs).detach().numpy()
    assert np.abs(losses / 2**NATS - expected).mean() < 0.05


def test_steps_float_twin() -> None:
    """Forty steps in integers and in float learn alike."""
    pytest.importorskip("torch")
    from tests.pouw.float_transformer_training import FloatTraining

    twin, trainer, state = FloatTraining(TRAINING, START.weights), TextTrainer(TRAINING, FAST), START
    exact, real = [], []
    for index in range(40):
        inputs = batch_of(index)
        real.append(twin.step(inputs, index))
        stepped = trainer.step(state, inputs, b"")
        exact.append(stepped.report.loss / 2**NATS)
        state = stepped.state
    assert np.mean(exact[:3]) > 3.4 and np.mean(exact[-5:]) < 3.0
    assert abs(np.mean(exact[-5:]) / np.mean(real[-5:]) - 1) < 0.03


FAST = select_backend("auto")


def test_monitors_stop_a_collapse() -> None:
    trainer = TextTrainer(TRAINING, REFERENCE, Bounds(loss=1 << NATS))
    with pytest.raises(TrainingCollapse) as caught:
        trainer.step(START, batch_of(0), b"")
    assert caught.value.reason is CollapseReason.LOSS
    unit = step_unit(START, 0)
    trace = run_program(unit.program, START.weights, unit.inputs, REFERENCE)
    report = report_text_step(TRAINING, unit.program, trace)
    assert (report.rows, report.stuck, report.cut) == (44, 0, 0)
    assert report.open > 500 and 3 << NATS < report.loss < 5 << NATS
    runaway = replace(TRAINING, rate=1 << 20, warm_up=0)
    with pytest.raises(TrainingCollapse):
        run_away(runaway)


def run_away(training: TransformerTraining) -> None:
    state = START
    for index in range(20):
        state = TextTrainer(training, FAST).step(state, batch_of(index), b"").state


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"shape": replace(SHAPE, kv_heads=1)}, ProgramReason.SHAPE),
        ({"tokens": 17}, ProgramReason.CONSTANT),
        ({"tokens": 1}, ProgramReason.CONSTANT),
        ({"rate": 0}, ProgramReason.CONSTANT),
        ({"steady": 41}, ProgramReason.CONSTANT),
    ],
)
def test_runs_that_are_refused(change: dict[str, object], reason: ProgramReason) -> None:
    with pytest.raises(ProgramError) as caught:
        replace(TRAINING, **change)  # type: ignore[arg-type]
    assert caught.value.reason is reason


def test_a_shard_too_large_to_be_exact_is_refused() -> None:
    long = replace(TRAINING, sequences=11_000)
    with pytest.raises(ProgramError) as caught:
        step_program(long, START.checkpoint, b"")
    assert caught.value.reason is ProgramReason.RANGE


def test_rates() -> None:
    rates = [TRAINING.rate_at(step) for step in range(60)]
    assert rates[0] == TRAINING.rate // 4 and rates[3] == rates[19] == TRAINING.rate
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert rates[40] == rates[59] == TRAINING.rate // 20
    assert start_training(TRAINING, b"other").checkpoint != START.checkpoint
