"""A model on the machine that runs it: only what the program names, and nothing that could overflow."""

from dataclasses import replace

import numpy as np
import pytest

from pouw.models.mlp import ModelManifest, mlp_program
from pouw.program_error import ProgramError, ProgramReason
from pouw.tensors import Array
from pouw.trace import run_program, trace_bytes
from pouw.weights import Weights, spec_of
from tests.pouw.world import MANIFEST, REFERENCE, WEIGHTS, commons_job, make_model

PROGRAM = mlp_program(MANIFEST, 4)
ARRAYS: dict[str, Array] = {weight.name: WEIGHTS.array(weight.name) for weight in PROGRAM.weights}


def test_the_right_weights_pass() -> None:
    WEIGHTS.check(PROGRAM)
    Weights({**ARRAYS, "unused": np.zeros((1, 1), np.int8)}).check(PROGRAM)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({name: array for name, array in ARRAYS.items() if name != "bias 1"}, "bias 1 is None here"),
        ({**ARRAYS, "weight 0": ARRAYS["weight 0"][:, :-1]}, "weight 0 is TensorSpec"),
        ({**ARRAYS, "weight 0": ARRAYS["weight 0"][::-1]}, "weight 0 has root"),
    ],
)
def test_other_weights_are_refused(arrays: dict[str, Array], message: str) -> None:
    with pytest.raises(ProgramError, match=message) as caught:
        Weights(arrays).check(PROGRAM)
    assert caught.value.reason is ProgramReason.WEIGHT


def test_a_bias_beyond_the_interval_that_was_proven_exact_is_refused() -> None:
    layer = replace(MANIFEST.layers[0], bias_limit=5)
    with pytest.raises(ProgramError, match=r"bias 0 holds -\d+..\d+, its interval is -5..5") as caught:
        WEIGHTS.check(mlp_program(ModelManifest("small", (layer, *MANIFEST.layers[1:])), 4))
    assert caught.value.reason is ProgramReason.WEIGHT


def test_another_model_of_the_same_shape_is_refused() -> None:
    with pytest.raises(ProgramError, match="has root"):
        make_model("another")[1].check(PROGRAM)


def test_arrays_are_copied_and_frozen() -> None:
    array = np.ones((2, 3), np.int8)
    weights = Weights({"a": array})
    root = weights.tree("a").root
    array[0, 0] = 5
    assert weights.array("a")[0, 0] == 1
    with pytest.raises(ValueError, match="read-only"):
        weights.array("a")[0, 0] = 5
    assert Weights({"a": np.ones((2, 3), np.int8)}).tree("a").root == root


def test_arrays_that_are_no_tensors() -> None:
    with pytest.raises(ProgramError) as caught:
        spec_of(np.zeros(3, np.int8))
    assert caught.value.reason is ProgramReason.SHAPE
    for dtype in ("<u1", "<f4", ">i4"):
        with pytest.raises(ProgramError) as caught:
            spec_of(np.zeros((1, 1), dtype))
        assert caught.value.reason is ProgramReason.DTYPE


def test_a_run_wants_exactly_its_input() -> None:
    job = commons_job(0)
    for inputs in (job.inputs[:3], job.inputs.astype(np.int16), job.inputs.reshape(8, 32)):
        with pytest.raises(ProgramError) as caught:
            run_program(job.program, WEIGHTS, inputs, REFERENCE)
        assert caught.value.reason is ProgramReason.SHAPE


def test_a_trace_holds_every_tensor() -> None:
    job = commons_job(0)
    trace = job.run()
    assert all(spec.holds(tensor) for spec, tensor in zip(job.program.tensors, trace.tensors, strict=True))
    assert trace.answer is trace.tensors[-1]
    assert trace_bytes(job.program) == sum(t.nbytes for t in trace.tensors) == 4 * (64 + 24 + 16 + 4 * 10 + 1)
