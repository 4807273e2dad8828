"""The small ways in which tensors, weights and runs are not what they should be."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from pouw.program import Program
from pouw.tensors import Array, DType
from pouw.trace import Trace
from pouw.weights import Weights
from tests.pouw.red_judge import Change, Work, follow


def zero(out: Array, _: Mapping[str, Array]) -> Array:
    """Nothing was computed."""
    return np.zeros_like(out)


def negative(out: Array, _: Mapping[str, Array]) -> Array:
    """The wrong sign."""
    return -out


def turned(out: Array, _: Mapping[str, Array]) -> Array:
    """The right rows, in another order."""
    return np.ascontiguousarray(np.roll(out, 1, axis=0))


def half(out: Array, _: Mapping[str, Array]) -> Array:
    """Half of the channels are left out."""
    out[:, out.shape[1] // 2 :] = 0
    return out


def back_door(out: Array, _: Mapping[str, Array]) -> Array:
    """One row is another."""
    out[3] = -out[3] - 1
    return out


def copy_of(name: str) -> Change:
    """What was there before is handed on."""
    return lambda out, named: named[name].reshape(out.shape).astype(out.dtype)


def in_place_of(values: Array) -> Change:
    """Something from elsewhere."""
    return lambda *_: values.copy()


def coarse(weights: Weights, program: Program, name: str = "") -> Weights:
    """Int8 tensors, or the one of a name, rounded to sixteen values."""
    found = {weight.name: weights.array(weight.name) for weight in program.weights}
    for weight in program.weights:
        if weight.spec.dtype is DType.INT8 and name in weight.name:
            found[weight.name] = found[weight.name] & ~15
    return Weights(found)


def shifted(weights: Weights, program: Program, name: str) -> Weights:
    """A checkpoint in which a column of one tensor is off by one."""
    found = {weight.name: weights.array(weight.name) for weight in program.weights}
    found[name] = found[name].copy()
    found[name][:, 3] += 1
    return Weights(found)


def run_with(work: Work, weights: Weights, *, opens: Weights | None = None) -> Work:
    """Run with other weights; open their rows, or the model's own in their place."""
    return replace(work, trace=Trace(opens or weights, follow(work.program, weights, work.known)))


def grafted(work: Work, other: Work) -> Work:
    """Another run's tensors from the first op on, under the right input: nothing was computed."""
    return replace(work, trace=Trace(work.model, (work.known, *other.trace.tensors[1:])))
