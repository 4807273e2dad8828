"""The digits: where data and weights come from, how well they do, and what a proof of them costs."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

import genesis
from genesis.digits import HELD_OUT, dump_model, held_out_split, load_digits, load_model
from genesis.train_digits import accuracy, perturbed, train
from pouw.arithmetic.generator import random_bytes
from pouw.backends.reference import ReferenceBackend
from pouw.backends.select import select_backend
from pouw.fields import measure
from pouw.models.mlp import mlp_program
from pouw.proofs.commitment import CommitBuilder
from pouw.proofs.proof import MAX_PROOF_BYTES
from pouw.proofs.verifier import Statement, WorkItem
from pouw.trace import Trace, run_program
from pouw.training.commons import commons_batch, commons_row

BATCH = 16
DATA = Path(genesis.__file__).parent / "data"
DIGITS = load_digits()
MODEL = load_model()
TRAINED_ON, JUDGED_BY = held_out_split(len(DIGITS.labels))


def test_the_data_is_what_its_source_says() -> None:
    assert (DIGITS.images.shape, DIGITS.images.dtype, DIGITS.labels.shape) == ((1797, 64), np.int8, (1797,))
    assert (DIGITS.images.min(), DIGITS.images.max()) == (0, 16)
    assert np.bincount(DIGITS.labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    note = (DATA / "digits.txt").read_text(encoding="utf-8")
    for name in ("digits.u8", "digits-model.bin"):
        assert hashlib.sha256((DATA / name).read_bytes()).hexdigest() in note
    assert "CC BY 4.0" in note


def test_the_model_is_pinned() -> None:
    """Another digest is another chain."""
    assert MODEL.manifest.digest.hex() == "3fd9ac85bc2fb6e13d99d94fcc2f7ed81c9c54cf48bd963bb76dec09b5c62e48"
    MODEL.weights.check(mlp_program(MODEL.manifest, BATCH))
    assert dump_model(MODEL.weights) == (DATA / "digits-model.bin").read_bytes()


def test_the_split_is_a_split() -> None:
    assert len(JUDGED_BY) == HELD_OUT
    assert sorted([*TRAINED_ON, *JUDGED_BY]) == list(range(1797))
    assert np.bincount(DIGITS.labels[JUDGED_BY], minlength=10).min() >= 25


def test_accuracy_on_images_that_training_never_saw() -> None:
    assert accuracy(MODEL, DIGITS.images[JUDGED_BY], DIGITS.labels[JUDGED_BY]) == (356, 360)
    assert accuracy(MODEL, DIGITS.images[TRAINED_ON], DIGITS.labels[TRAINED_ON]) == (1437, 1437)


def test_accuracy_on_images_as_commons_units_show_them() -> None:
    assert accuracy(MODEL, *perturbed(DIGITS, JUDGED_BY, count=5000)) == (4792, 5000)


def test_all_tensors_are_equal_on_every_backend() -> None:
    pytest.importorskip("torch", reason="the cpu backend needs torch")
    program = mlp_program(MODEL.manifest, len(DIGITS.images))
    reference, fast = (
        run_program(program, MODEL.weights, DIGITS.images, select_backend(device))
        for device in ("reference", "cpu")
    )
    for expected, got in zip(reference.tensors, fast.tensors, strict=True):
        assert (got.dtype, got.shape) == (expected.dtype, expected.shape)
        assert got.tobytes() == expected.tobytes()


def test_the_float_twin_gives_the_same_answers() -> None:
    """The network as real numbers, without any rounding between layers."""
    values = DIGITS.images / 16
    for layer in range(3):
        matrix, bias = (MODEL.weights.array(f"{kind} {layer}") for kind in ("weight", "bias"))
        values = values @ (matrix / 64).T + (bias / 1024).T
        values = np.clip(values, 0, 127 / 16) if layer < 2 else values
    program = mlp_program(MODEL.manifest, len(DIGITS.images))
    trace = run_program(program, MODEL.weights, DIGITS.images, ReferenceBackend())
    logits = trace.tensors[-2] / 1024
    assert np.abs(logits - values).mean() < 0.02 * np.abs(values).max()
    assert np.array_equal(values.argmax(axis=1), trace.answer[:, 0])
    # Activations use more than half of their range and are hardly ever cut off at its end.
    for hidden in trace.tensors[1:3]:
        assert hidden.max() > 64
        assert np.mean(hidden == 127) < 0.005


def test_training_gives_the_same_weights_everywhere() -> None:
    """The first fifty steps, pinned; all eight thousand in the slow test below."""
    digest = hashlib.sha256(dump_model(train(DIGITS, steps=50).weights)).hexdigest()
    assert digest == "4eea998c9f80b1d6c47a0109ab531c7d5bbd3f8dc6f2868ac5fc4b2f18bc7679"


@pytest.mark.slow
def test_training_gives_the_shipped_weights() -> None:
    assert dump_model(train(DIGITS).weights) == (DATA / "digits-model.bin").read_bytes()


def commit(units: int) -> tuple[Statement, CommitBuilder]:
    """Commons units of the shipped model."""
    program = mlp_program(MODEL.manifest, BATCH)
    builder = CommitBuilder(b"headrace-test", b"miner")
    items = []
    for index in range(units):
        item_id = random_bytes(b"unit", path=(index,), count=32)
        inputs = commons_batch(DIGITS.images, seed=b"seed", index=index, batch=BATCH)
        builder.add(item_id, program, run(inputs))
        items.append(WorkItem(item_id, program, lambda row, index=index: derive(index, row)))  # type: ignore[misc]
    return Statement(b"headrace-test", b"miner", items, builder.root, builder.units, answered=()), builder


def run(inputs: np.ndarray) -> Trace:
    return run_program(mlp_program(MODEL.manifest, BATCH), MODEL.weights, inputs, ReferenceBackend())


def derive(index: int, row: int) -> np.ndarray:
    return commons_row(DIGITS.images, seed=b"seed", index=index, row=row)


def test_a_proof_of_a_thousand_units_is_small() -> None:
    """At most 64 KiB; 40 are meant. How long a check takes, `python -m tests.pouw.costs` measures."""
    _, builder = commit(1024)
    fields = builder.prove(b"beacon", 64).to_fields()
    assert measure(fields, limit=MAX_PROOF_BYTES) < 40 * 1024
