"""Decoders whose rotary frequencies are scaled: the float twin, and the integers made of it.

Scaling changes the table of turns and nothing else, and the table is one of the model's tensors: programs and
checks are those of every decoder.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pouw.llama import TURN, LlamaManifest
from pouw.llama_float import FloatLlama, Floats
from pouw.llama_quantise import quantise
from pouw.program import Weight
from pouw.rotary_scaling import RotaryScaling
from pouw.tables import rotary_frequency, rotary_table
from pouw.weights import Weights


@dataclass(frozen=True, slots=True)
class ScaledLlama(FloatLlama):
    """A model in float32 whose frequencies are scaled.

    Args:
        scaling: of the frequencies that follow from the base.
    """

    scaling: RotaryScaling

    def _turn(self, x: Floats) -> Floats:
        dim = self.shape.head_dim
        speeds = [
            float(rotary_frequency(2 * i, dim, self.base, scaling=self.scaling)) for i in range(dim >> 1)
        ]
        angles = np.arange(len(x))[:, None, None] * np.array(speeds)
        cos, sin = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
        first, second = x[..., : dim >> 1], x[..., dim >> 1 :]
        return np.concatenate([first * cos - second * sin, first * sin + second * cos], axis=-1)


def quantise_decoder(
    model: FloatLlama, samples: Sequence[NDArray[np.integer]], *, name: str
) -> tuple[LlamaManifest, Weights]:
    """As `pouw.llama_quantise.quantise`, with the turns that the model takes.

    Args:
        model: what to approximate.
        samples: token sequences like those that the model will read; they set the scales.
        name: of the result.
    """
    manifest, weights = quantise(model, samples, name=name)
    if not isinstance(model, ScaledLlama):
        return manifest, weights
    shape = model.shape
    table = rotary_table(shape.positions, shape.head_dim, model.base, scaling=model.scaling)
    arrays = {weight.name: weights.array(weight.name) for weight in manifest.weights} | {TURN: table}
    trees = {weight.name: weights.tree(weight.name) for weight in manifest.weights if weight.name != TURN}
    turned = Weights(arrays, trees=trees)
    described = tuple(
        Weight(TURN, weight.spec, turned.tree(TURN).root, int(table.min()), int(table.max()))
        if weight.name == TURN
        else weight
        for weight in manifest.weights
    )
    return replace(manifest, weights=described), turned
