"""From a float model to integers: scales measured on sample text, weights rounded channel by channel.

Float arithmetic differs between machines, so this runs once, where a model is published; its result is the
model, and nobody repeats it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, frexp, log2, sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pouw.arithmetic.tables import TURN_BITS, rotary_table, silu_table
from pouw.arithmetic.transformer_rows import NORM_BITS
from pouw.models.calibration import ENOUGH, EXPONENT, Doubles, Ranges, by_channel, fixed, smoothed
from pouw.models.llama import TURN, LayerConstants, LlamaManifest, layer_weight, weight_specs
from pouw.models.llama_float import FloatLlama
from pouw.program import Weight
from pouw.tensors import Array, DType
from pouw.weights import Weights

_FINE_BITS: Final = 7
"""Queries and keys are this much finer before they are turned than after."""


def quantise(
    model: FloatLlama, samples: Sequence[NDArray[np.integer]], *, name: str
) -> tuple[LlamaManifest, Weights]:
    """The integer model nearest to a float one.

    Args:
        model: what to approximate.
        samples: token sequences like those that the model will read; they set the scales.
        name: of the result.
    """
    seen = Ranges()
    for tokens in samples:
        model.logits(tokens, seen.watch)
    return _Quantiser(model, seen).finish(name)


class _Quantiser:
    def __init__(self, model: FloatLlama, seen: Ranges) -> None:
        self._model = model
        self._seen = seen
        self._arrays: dict[str, Array] = {}
        shape = model.shape
        residual = max(seen.largest(n) for n in seen.high if n[0] in "xy")
        embedding = model.weights["embedding"]
        # The stream keeps a bit in reserve over what the samples showed.
        narrow = max(float(np.abs(embedding).max()) / DType.INT16.high, residual / (1 << 14))
        self.residual = DType.INT16 if seen.usual > ENOUGH * narrow else DType.INT32
        bits = 14 if self.residual is DType.INT16 else 22
        unit = max(float(np.abs(embedding).max()) / DType.INT16.high, residual / (1 << bits))
        self.lift = min(8, max(0, bits - ceil(log2(residual / unit)))) if bits > 14 else 0
        self.unit = unit / (1 << self.lift)
        self._arrays["embedding"] = np.rint(embedding / unit).astype(np.int16)
        self._arrays[TURN] = rotary_table(shape.positions, shape.head_dim, model.base, scaling=model.scaling)

    def finish(self, name: str) -> tuple[LlamaManifest, Weights]:
        """The manifest and its tensors."""
        shape = self._model.shape
        layers = tuple(self._layer(layer) for layer in range(shape.layers))
        final_step = self._norms({"final": ("final norm", ("head",))})
        head = self._seen.largest("logits") * 1.5 / DType.INT16.high
        logit_shift = self._linear("head", final_step["final"], head)
        arrays = {key: self._arrays[key] for key, _ in weight_specs(shape)}
        weights = Weights(arrays)
        specs = dict(weight_specs(shape))
        described = tuple(
            Weight(key, specs[key], weights.tree(key).root, int(array.min()), int(array.max()))
            for key, array in arrays.items()
        )
        sample_shift = 20
        manifest = LlamaManifest(
            name=name,
            shape=shape,
            residual=self.residual,
            epsilon=max(1, round(self._model.epsilon * shape.width / self.unit**2)),
            embedding_lift=self.lift,
            layers=layers,
            final_shift=final_step["shift"].shift,
            logit_shift=logit_shift,
            logit_multiplier=max(1, round(head * EXPONENT * (1 << sample_shift))),
            sample_shift=sample_shift,
            weights=described,
        )
        return manifest, weights

    def _layer(self, layer: int) -> LayerConstants:
        def part(name: str) -> str:
            return layer_weight(layer, name)

        def step(name: str) -> float:
            return self._seen.largest(f"{name} {layer}") / 127

        norms = {
            f"a {layer}": (part("norm 1"), (part("q"), part("k"), part("v"))),
            f"b {layer}": (part("norm 2"), (part("gate"), part("up"))),
        }
        smooth = self._norms(norms)
        a, b = smooth[f"a {layer}"], smooth[f"b {layer}"]
        fine = 1 << _FINE_BITS
        q, k = step("queries"), step("keys")
        v, mixed, gain = self._values(layer)
        gate, up, gated = step("gate"), step("up"), step("gated")
        table, gate_shift = _gate(gate, up, gated)
        shifts = (
            self._linear(part("q"), a, q / fine),
            self._linear(part("k"), a, k / fine),
            self._linear(part("v"), a, v),
            self._linear(part("o"), _Step(1.0, mixed), self.unit),
            self._linear(part("gate"), b, gate),
            self._linear(part("up"), b, up),
            self._linear(part("down"), _Step(gated), self.unit),
        )
        multiplier, score_shift = fixed(q * k / sqrt(self._model.shape.head_dim) * EXPONENT, bits=12)
        return LayerConstants(
            norm_shift=smooth["shift"].shift,
            shifts=shifts,
            turn_shifts=(TURN_BITS + _FINE_BITS, TURN_BITS + _FINE_BITS),
            score_multiplier=multiplier,
            score_shift=score_shift,
            mix_gain=gain,
            gate_table=table,
            gate_shift=gate_shift,
        )

    def _values(self, layer: int) -> tuple[Doubles, Doubles, int]:
        """Steps of the values' channels, of the mix's, equal for the heads of a group; and the gain."""
        shape, seen = self._model.shape, self._seen
        split = (shape.kv_heads, shape.heads // shape.kv_heads, shape.head_dim)
        reads = np.abs(self._model.weights[layer_weight(layer, "o")]).max(axis=0).reshape(split).max(axis=1)
        steps = smoothed(seen.size(f"values {layer}"), reads.reshape(-1).astype(np.float64))
        shared = np.repeat(steps.reshape(split[0], 1, split[2]), split[1], axis=1).reshape(-1)
        furthest = float((seen.size(f"mix {layer}") / shared).max())
        gain = int(min(max(256 * 127 / furthest, 256), 65535))
        return steps, shared * 256 / gain, gain

    def _norms(self, norms: dict[str, tuple[str, tuple[str, ...]]]) -> dict[str, "_Step"]:
        """The gains of norms that share a shift; the steps of their outputs, channel by channel."""
        gains, steps = {}, {}
        for output, (norm, readers) in norms.items():
            matrices = [self._model.weights[reader] for reader in readers]
            reads = np.max([np.abs(matrix).max(axis=0) for matrix in matrices], axis=0)
            channel = smoothed(self._seen.size(output), reads.astype(np.float64))
            steps[output] = _Step(1.0, channel)
            gains[norm] = self._model.weights[norm] / channel
        largest = max(float(np.abs(gain).max()) for gain in gains.values())
        bits = min(24, 14 - frexp(largest)[1] + 1)
        for norm, gain in gains.items():
            self._arrays[norm] = np.rint(gain * 2.0**bits).astype(np.int16)[None]
        steps["shift"] = _Step(1.0, shift=NORM_BITS + bits)
        return steps

    def _linear(self, name: str, reads: "_Step", gives: float | Doubles) -> int:
        """Weights and scales of a linear op; returns its shift."""
        matrix = self._model.weights[name] * (reads.size if reads.channels is None else reads.channels)
        channels = by_channel(matrix, np.reshape(gives, (-1, 1)))
        self._arrays[name] = channels.matrix
        self._arrays[f"{name} scale"] = channels.scale
        return channels.shift


@dataclass(frozen=True, slots=True)
class _Step:
    """What one unit of a tensor stands for."""

    size: float
    channels: Doubles | None = None
    shift: int = 0


def _gate(gate: float, up: float, gated: float) -> tuple[bytes, int]:
    """The table and the shift of a gate, from the steps of what it reads and gives."""
    most = max(1.0, gate * 128)
    # table * up >> shift must be the result in its own units: the table's units make up for the steps.
    shift = int(log2(32767 / most * gated / up))
    shift = max(0, shift)
    units = round(2.0**shift * up / gated)
    denominator = 1 << 40
    return silu_table(max(1, round(gate * denominator)), denominator, max(1, units)), shift
