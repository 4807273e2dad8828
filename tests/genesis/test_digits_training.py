"""The digits network, trained as work: it learns, it is the same everywhere, and every step is proven."""

import os
import subprocess
import sys

import numpy as np
import pytest
from numpy.typing import NDArray

from genesis.digits import held_out_split, load_digits
from genesis.digits_training import (
    STEPS,
    TRAINING,
    held_out_right,
    shard,
    start,
    step_seed,
    training_images,
)
from pouw.arithmetic.cross_entropy import NATS
from pouw.backends.reference import ReferenceBackend
from pouw.backends.select import select_backend
from pouw.fields import measure
from pouw.proofs.commitment import CommitBuilder
from pouw.proofs.proof import MAX_PROOF_BYTES, Proof
from pouw.proofs.verifier import Statement, WorkItem, check_proof
from pouw.tensors import Array
from pouw.training.checkpoint import TrainingState, kept_roots
from pouw.training.mlp_training import MASTER, master_weight_name
from pouw.training.training_data import training_row
from pouw.training.training_run import Stepped, Trainer

CHAIN, MINER = b"headrace-test", b"miner"


def statement_of(stepped: Stepped, index: int) -> tuple[CommitBuilder, Statement]:
    """A commit of one step, and what the chain knows of it."""
    kept = kept_roots(stepped.program, stepped.trace)
    builder = CommitBuilder(CHAIN, MINER)
    item_id = index.to_bytes(32, "little")
    builder.add(item_id, stepped.program, stepped.trace, answered=True)

    def row(number: int) -> Array:
        seed = b"headrace digits training as work 1"
        return training_row(training_images(), seed=seed, index=index, row=number, noise=TRAINING.noise)

    item = WorkItem(item_id, stepped.program, row, kept=kept)
    return builder, Statement(CHAIN, MINER, [item], builder.root, builder.units)


def prove(stepped: Stepped, index: int) -> int:
    """Prove a step and check the proof; its size in bytes."""
    builder, statement = statement_of(stepped, index)
    seed = b"beacon %d" % index
    fields = builder.prove(seed, 64).to_fields()
    check_proof(statement, Proof.from_fields(fields), seed=seed, samples=64)
    return measure(fields, limit=MAX_PROOF_BYTES)


def run(steps: int, device: str) -> tuple[TrainingState, list[Stepped]]:
    backend = ReferenceBackend() if device == "reference" else select_backend("cpu")
    trainer, state, taken = Trainer(TRAINING, backend), start(), []
    for index in range(steps):
        taken.append(trainer.step(state, shard(index), step_seed(index)))
        state = taken[-1].state
    return state, taken


def test_the_first_steps_learn_and_are_proven() -> None:
    state, taken = run(40, "reference")
    losses = [stepped.report.loss for stepped in taken]
    assert sum(losses[-5:]) < sum(losses[:5]) * 5 // 6
    assert state.checkpoint.digest.hex() == "33eb245598bcb492a6983f3c10696b63d0c48ada71dd170ead0a78735c58bb33"
    for index in (0, 20, 39):
        assert prove(taken[index], index) < 56 * 1024


def test_shards_never_show_what_is_held_out() -> None:
    data = load_digits()
    learned, held_out = held_out_split(len(data.labels))
    assert not set(learned) & set(held_out)
    assert len(training_images().labels) == len(learned) == len(data.labels) - 360


def float_run(steps: int) -> int:
    """The same network, shards and optimiser in float32; held-out images that it gets right."""
    weights = [
        (start().weights.array(master_weight_name(i)) / 2**MASTER).astype(np.float32)
        for i in range(TRAINING.layers)
    ]
    biases = [np.zeros(width, np.float32) for width in TRAINING.widths[1:]]
    speeds = [np.zeros_like(x) for x in (*weights, *biases)]
    for index in range(steps):
        rows = shard(index)
        values = forward(rows[:, :64], weights, biases)
        shares = np.exp(values[-1] - values[-1].max(axis=1, keepdims=True))
        error = shares / shares.sum(axis=1, keepdims=True)
        error[np.arange(len(rows)), rows[:, 64]] -= 1
        rate = np.float32(2.0 ** -TRAINING.rate_at(index))
        for i in reversed(range(TRAINING.layers)):
            slopes = error.T @ values[i], error.sum(axis=0)
            error = (error @ weights[i]) * (values[i] > 0)
            for speed, master, slope in zip(
                (speeds[i], speeds[i + TRAINING.layers]), (weights[i], biases[i]), slopes, strict=True
            ):
                speed *= np.float32(0.875)
                speed += slope * rate
                master -= speed
    data = load_digits()
    _, held_out = held_out_split(len(data.labels))
    answers = forward(data.images[held_out], weights, biases)[-1].argmax(axis=1)
    return int((answers == data.labels[held_out]).sum())


def forward(
    pixels: NDArray[np.int8], weights: list[NDArray[np.float32]], biases: list[NDArray[np.float32]]
) -> list[NDArray[np.float32]]:
    values = [pixels.astype(np.float32) / np.float32(16)]
    for i, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        total = values[-1] @ weight.T + bias
        values.append(np.maximum(total, 0) if i < len(weights) - 1 else total)
    return values


@pytest.mark.slow
def test_the_whole_run_is_as_good_as_in_float() -> None:
    """97 % and more of the held-out images; every hundredth step is proven."""
    trainer, state = Trainer(TRAINING, ReferenceBackend()), start()
    for index in range(STEPS):
        stepped = trainer.step(state, shard(index), step_seed(index))
        state = stepped.state
        if index % 100 == 0:
            assert prove(stepped, index) < 56 * 1024
    right, count = held_out_right(state)
    assert state.checkpoint.digest.hex() == "8597e941cdd6a0fa49c9f0871c2fa897217e7f5bb42899b8e23ced20d93848e1"
    assert right * 100 >= 97 * count, f"{right} of {count}"
    real = float_run(STEPS)
    assert right >= real - 4, f"{right} right in integers, {real} in float32"
    assert stepped.report.loss < (1 << NATS) // 4


@pytest.mark.slow
def test_the_run_is_the_same_under_every_instruction_set() -> None:
    """A hundred steps under what people set and machines lack."""
    program = (
        "import sys, torch; torch.set_num_threads(int(sys.argv[1]));"
        "from tests.genesis.test_digits_training import run;"
        "print(run(100, sys.argv[2])[0].checkpoint.digest.hex())"
    )
    seen = {}
    for setting in (
        {}, {"ATEN_CPU_CAPABILITY": "default"}, {"ATEN_CPU_CAPABILITY": "avx2"},
        {"ONEDNN_MAX_CPU_ISA": "AVX2"}, {"MKL_CBWR": "COMPATIBLE"},
    ):  # fmt: skip
        for threads, device in (("1", "cpu"), ("2", "cpu"), ("1", "reference")):
            done = subprocess.run(
                [sys.executable, "-c", program, threads, device],
                env={**os.environ, **setting}, capture_output=True, text=True, check=True,
            )  # fmt: skip
            seen[str(setting), threads, device] = done.stdout.strip()
    assert len(set(seen.values())) == 1, seen
