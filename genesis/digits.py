"""The first published model: handwritten digits and a small int8 network that tells them apart.

Data and weights are files beside this one (`data/`): raw little-endian arrays, row by row, so that what is
stored is what is hashed. `genesis.train_digits` made the weights and makes the same bytes again.
"""

from dataclasses import dataclass
from importlib.resources import files
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pouw.arithmetic.generator import permutation
from pouw.arithmetic.requant import Requant
from pouw.models.mlp import Layer, ModelManifest, bias_name, weight_name
from pouw.tensors import Array
from pouw.weights import Weights

NAME: Final = "digits-1"

WIDTHS: Final = (64, 64, 32, 10)
"""Values per image on the way: pixels, two hidden layers, one logit per digit."""

ACTIVATION: Final = Requant(1, 6, low=0, high=127)
"""Rectifier of the hidden layers. Pixels and activations count sixteenths, weights sixty-fourths: the sum
of products counts 1/1024, and six bits less is sixteenths again."""

BIAS_LIMIT: Final = 1 << 16
"""64 in units of 1/1024; far more than training reaches, far less than what int32 has room for."""

HELD_OUT: Final = 360
"""Images that training never sees."""

_DATA: Final = files("genesis") / "data"


@dataclass(frozen=True, slots=True)
class Digits:
    """The data set.

    Args:
        images: int8 [1797, 64], pixels 0..16, rows of 8.
        labels: int8 [1797], the digit that each shows.
    """

    images: NDArray[np.int8]
    labels: NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class DigitsModel:
    """The network: what everybody knows of it, and its weights."""

    manifest: ModelManifest
    weights: Weights


def load_digits() -> Digits:
    """The 1,797 images with their labels."""
    table = np.frombuffer((_DATA / "digits.u8").read_bytes(), np.int8).reshape(-1, WIDTHS[0] + 1)
    return Digits(np.ascontiguousarray(table[:, :-1]), np.ascontiguousarray(table[:, -1]))


def held_out_split(count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Numbers of the images to train on, and of the 360 to judge by; the same on every machine.

    Args:
        count: images in the data set.
    """
    order = permutation(b"headrace digits split", path=(0,), count=count)
    return order[HELD_OUT:], order[:HELD_OUT]


def load_model() -> DigitsModel:
    """The network that genesis names."""
    raw = (_DATA / "digits-model.bin").read_bytes()
    arrays: dict[str, Array] = {}
    start = 0
    for name, rows, cols, dtype in _tensors():
        count = rows * cols
        arrays[name] = np.frombuffer(raw, np.dtype(dtype), count=count, offset=start).reshape(rows, cols)
        start += arrays[name].nbytes
    assert start == len(raw), f"digits-model.bin has {len(raw)} bytes, its shapes say {start}"
    return build_model(arrays)


def build_model(arrays: dict[str, Array]) -> DigitsModel:
    """A network of the shipped shape from its tensors.

    Args:
        arrays: by the names of `pouw.models.mlp.weight_name` and `bias_name`.
    """
    weights = Weights(arrays)
    last = len(WIDTHS) - 2
    layers = tuple(
        Layer(
            inputs=WIDTHS[number],
            outputs=WIDTHS[number + 1],
            requant=None if number == last else ACTIVATION,
            weight_root=weights.tree(weight_name(number)).root,
            bias_root=weights.tree(bias_name(number)).root,
            bias_limit=BIAS_LIMIT,
        )
        for number in range(last + 1)
    )
    return DigitsModel(ModelManifest(NAME, layers), weights)


def dump_model(weights: Weights) -> bytes:
    """The bytes of digits-model.bin."""
    return b"".join(weights.array(name).tobytes() for name, _, _, _ in _tensors())


def _tensors() -> list[tuple[str, int, int, str]]:
    """Name, rows, columns and type of each stored tensor, in order."""
    stored = []
    for number, (inputs, outputs) in enumerate(pairwise(WIDTHS)):
        stored.append((weight_name(number), outputs, inputs, "<i1"))
        stored.append((bias_name(number), outputs, 1, "<i4"))
    return stored
