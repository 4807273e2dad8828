"""How the shipped digits network was trained: in integers, from the first draw to the last weight.

`python -m genesis.train_digits [FILE]` trains it again (ten seconds), prints its accuracy and writes its
weights to FILE, the same bytes on every machine. The forward pass is the arithmetic of the shipped program,
so nothing is quantised afterwards. Half of each batch is plain, half moved and noisy as
`pouw.training.commons` draws it.

A number of scale s counts 2^-s:

    scale 4     pixels, activations     0..127
    scale 6     weights in use          int8, rounded from the master
    scale 10    sums, logits, biases
    scale 15    probabilities and their errors
    scale 20    master weights and biases, their velocities
"""

import argparse
import json
import math
import sys
from dataclasses import dataclass
from decimal import Decimal, localcontext
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from genesis.digits import (
    ACTIVATION,
    WIDTHS,
    Digits,
    DigitsModel,
    build_model,
    dump_model,
    held_out_split,
    load_digits,
)
from pouw.arithmetic.generator import permutation, random_below
from pouw.backends.reference import ReferenceBackend
from pouw.models.mlp import bias_name, mlp_program, weight_name
from pouw.tensors import Array
from pouw.trace import run_program
from pouw.training.commons import commons_batch, commons_image

Ints = NDArray[np.int64]

SEED: Final = b"headrace digits training 1"
STEPS: Final = 8000
HALF_BATCH: Final = 32
"""Plain images of a step, and perturbed ones."""

RATE: Final = 11
"""A step moves a velocity by 2^-RATE of the summed gradient, and by half of that after each of SLOWER."""

SLOWER: Final = (5000, 6500)
FRICTION: Final = 3
"""A velocity loses 2^-FRICTION of itself each step."""

_LAYERS: Final = len(WIDTHS) - 1
_LOGIT, _WEIGHT, _PIXEL, _PROBABILITY, _MASTER = 10, 6, 4, 15, 20
_REACH: Final = 16
"""Logits further than this below the greatest count as if this far: e^-16 is nothing at scale 15."""


@dataclass(slots=True)
class _State:
    """Master weights and biases of each layer, and the velocities of both; all at scale 20."""

    weights: list[Ints]
    biases: list[Ints]
    weight_speeds: list[Ints]
    bias_speeds: list[Ints]


def train(data: Digits, *, steps: int = STEPS) -> DigitsModel:
    """Train the network.

    Args:
        data: the whole data set; the held-out images are not looked at.
        steps: how far; the shipped weights are those after STEPS.
    """
    chosen, _ = held_out_split(len(data.labels))
    images, labels = data.images[chosen], data.labels[chosen].astype(np.int64)
    state = _start()
    powers = _powers()
    for step in range(steps):
        shown, answers = _batch(images, labels, step=step)
        rate = RATE + sum(step >= slower for slower in SLOWER)
        _learn(state, shown, answers, rate=rate, powers=powers)
    weights, biases = _in_use(state)
    arrays: dict[str, Array] = {}
    for layer in range(_LAYERS):
        arrays[weight_name(layer)] = weights[layer].astype(np.int8)
        arrays[bias_name(layer)] = biases[layer].astype(np.int32).reshape(-1, 1)
    return build_model(arrays)


def accuracy(model: DigitsModel, images: NDArray[np.int8], labels: NDArray[np.int8]) -> tuple[int, int]:
    """Images that the shipped program classifies rightly, of how many.

    Args:
        model: the network.
        images: int8 [n, 64].
        labels: int8 [n].
    """
    program = mlp_program(model.manifest, len(images))
    answer = run_program(program, model.weights, images, ReferenceBackend()).answer
    return int((answer[:, 0] == labels).sum()), len(labels)


def perturbed(data: Digits, chosen: Ints, *, count: int) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    """Images as commons units show them, with their labels.

    Args:
        data: the data set.
        chosen: numbers of the images to draw from.
        count: how many to draw.
    """
    seed = b"headrace digits perturbed"
    drawn = [commons_image(len(chosen), seed=seed, index=0, row=row) for row in range(count)]
    return commons_batch(data.images[chosen], seed=seed, index=0, batch=count), data.labels[chosen][drawn]


def _start() -> _State:
    """Weights even within sqrt(6 / inputs), biases and velocities zero."""
    weights, biases = [], []
    for layer, (inputs, outputs) in enumerate(pairwise(WIDTHS)):
        span = 1 << _MASTER
        even = random_below(SEED, path=(0, layer), bound=2 * span, count=inputs * outputs) - span
        limit = math.isqrt((6 << 2 * _MASTER) // inputs)
        weights.append((even * limit >> _MASTER).reshape(outputs, inputs))
        biases.append(np.zeros(outputs, np.int64))
    return _State(weights, biases, [np.zeros_like(x) for x in weights], [np.zeros_like(x) for x in biases])


def _batch(images: NDArray[np.int8], labels: Ints, *, step: int) -> tuple[Ints, Ints]:
    """Plain images, each once per round through the data, then as many perturbed ones."""
    count = len(labels)
    rounds, place = divmod(step, count // HALF_BATCH)
    plain = permutation(SEED, path=(1, rounds), count=count)[place * HALF_BATCH :][:HALF_BATCH]
    drawn = [commons_image(count, seed=SEED, index=step, row=row) for row in range(HALF_BATCH)]
    noisy = commons_batch(images, seed=SEED, index=step, batch=HALF_BATCH)
    return np.concatenate([images[plain], noisy]).astype(np.int64), labels[[*plain, *drawn]]


def _learn(state: _State, shown: Ints, answers: Ints, *, rate: int, powers: tuple[Ints, Ints]) -> None:
    """One step of gradient descent with momentum on the cross-entropy."""
    weights, biases = _in_use(state)
    inputs, open_gates = [shown], []
    for layer in range(_LAYERS - 1):
        raised = _shift(inputs[-1] @ weights[layer].T + biases[layer], ACTIVATION.shift)
        open_gates.append((raised > 0) & (raised <= ACTIVATION.high))
        inputs.append(np.clip(raised, ACTIVATION.low, ACTIVATION.high))
    error = _softmax(inputs[-1] @ weights[-1].T + biases[-1], powers)
    error[np.arange(len(answers)), answers] -= 1 << _PROBABILITY
    scale = _PROBABILITY
    for layer in reversed(range(_LAYERS)):
        by_weight = _shift(error.T @ inputs[layer], scale + _PIXEL - _MASTER + rate)
        by_bias = _shift(error.sum(axis=0), scale - _MASTER + rate)
        if layer:
            error = (error @ weights[layer]) * open_gates[layer - 1]
            scale += _WEIGHT
        state.weight_speeds[layer] += by_weight - _shift(state.weight_speeds[layer], FRICTION)
        state.bias_speeds[layer] += by_bias - _shift(state.bias_speeds[layer], FRICTION)
        state.weights[layer] -= state.weight_speeds[layer]
        state.biases[layer] -= state.bias_speeds[layer]


def _in_use(state: _State) -> tuple[list[Ints], list[Ints]]:
    """The int8 weights and the biases that the forward pass sees."""
    weights = [np.clip(_shift(master, _MASTER - _WEIGHT), -127, 127) for master in state.weights]
    return weights, [_shift(master, _MASTER - _LOGIT) for master in state.biases]


def _softmax(logits: Ints, powers: tuple[Ints, Ints]) -> Ints:
    below = np.minimum(logits.max(axis=1, keepdims=True) - logits, (_REACH << _LOGIT) - 1)
    whole, part = powers
    shares = whole[below >> _LOGIT] * part[below & ((1 << _LOGIT) - 1)] >> 30
    result: Ints = (shares << _PROBABILITY) // shares.sum(axis=1, keepdims=True)
    return result


def _powers() -> tuple[Ints, Ints]:
    """e^-i and e^(-i/1024) at scale 30, by decimal arithmetic, which is the same everywhere."""
    with localcontext() as context:
        context.prec = 30
        whole = [int((-Decimal(i)).exp() * (1 << 30)) for i in range(_REACH)]
        part = [int((-Decimal(i) / (1 << _LOGIT)).exp() * (1 << 30)) for i in range(1 << _LOGIT)]
    return np.array(whole, np.int64), np.array(part, np.int64)


def _shift(x: Ints, bits: int) -> Ints:
    """Times 2^-bits, rounded half up."""
    return x << -bits if bits < 0 else (x + ((1 << bits) >> 1)) >> bits


def main() -> None:
    """Train, report, write."""
    parser = argparse.ArgumentParser(
        prog="python -m genesis.train_digits",
        description="Train the digits network again and print its accuracy.",
        epilog="Example: python -m genesis.train_digits digits-model.bin",
    )
    parser.add_argument("file", type=Path, nargs="?", help="where to write the weights")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args()
    data = load_digits()
    model = train(data)
    chosen, held_out = held_out_split(len(data.labels))
    scores = {
        "trained on": accuracy(model, data.images[chosen], data.labels[chosen]),
        "held out": accuracy(model, data.images[held_out], data.labels[held_out]),
        "held out, perturbed": accuracy(model, *perturbed(data, held_out, count=5000)),
    }
    manifest = model.manifest.digest.hex()
    if options.json:
        sys.stdout.write(json.dumps({"manifest": manifest, "right_of": scores}) + "\n")
    else:
        for what, (right, count) in scores.items():
            sys.stdout.write(f"{what}: {right} of {count} right, {right * 10000 // count / 100} %\n")
        sys.stdout.write(f"manifest {manifest}\n")
    if options.file is not None:
        options.file.write_bytes(dump_model(model.weights))


if __name__ == "__main__":
    main()
