"""From a float encoder to integers: scales measured on sample text, weights rounded channel by channel.

What biases make possible is used: a channel's interval is moved to lie around 0 before it is rounded to
int8, and what was moved comes back through the bias of the matrix that reads it. Keys may even be moved for
nothing, since all scores of a query change alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import frexp, sqrt, tanh
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pouw.arithmetic.transformer_rows import NORM_BITS
from pouw.models.bert import (
    STREAM_LIMIT,
    BertLayer,
    BertManifest,
    NormConstants,
    PoolerConstants,
    Pooling,
    layer_part,
    weight_specs,
)
from pouw.models.bert_float import ACTIVATIONS, FloatBert
from pouw.models.calibration import ENOUGH, EXPONENT, Doubles, Ranges, by_channel, fixed, smoothed
from pouw.program import Weight
from pouw.tensors import Array, DType
from pouw.weights import Weights

_TABLE_BITS: Final = 11
"""An activation's table is this fine: a few entries for every int8 that it gives."""

_POOLER_BITS: Final = 10

_POOLER_REACH: Final = 4.0
"""tanh(4) is 127 / 127 after rounding."""

_GAIN_BITS: Final = 24

_BIAS_BITS: Final = 7
"""Fraction bits of a norm's bias."""

_BIAS_LIMIT: Final = 1 << 30
"""Leaves room for the sum of products in int32; a channel whose weights are nearly 0 reaches it."""

_RESERVE: Final = 1.25
"""How far the stream may go beyond what the samples showed."""


def quantise_bert(
    model: FloatBert, samples: Sequence[NDArray[np.integer]], *, name: str, pooling: Pooling = Pooling.MEAN
) -> tuple[BertManifest, Weights]:
    """The integer model nearest to a float one.

    Args:
        model: what to approximate.
        samples: token sequences like those that the model will read; they set the scales.
        name: of the result.
        pooling: what the result answers.
    """
    ranges = Ranges()
    for tokens in samples:
        model.states(tokens, watch=ranges.watch)
    return _Quantiser(model, ranges).finish(name, pooling)


@dataclass(frozen=True, slots=True)
class _Read:
    """An int8 tensor as the matrix that reads it sees it: value = step * (what is stored) + middle."""

    step: float | Doubles
    middle: float | Doubles = 0.0


class _Quantiser:
    def __init__(self, model: FloatBert, ranges: Ranges) -> None:
        self._model = model
        self._ranges = ranges
        self._arrays: dict[str, Array] = {}
        names = [n for n in ranges.high if n[0] in "xy"]
        stream = max(ranges.largest(n) for n in names if "sum" not in n)
        total = max((ranges.largest(n) for n in names if "sum" in n), default=stream)
        reserved = _RESERVE * max(2 * stream, total)
        unit = {dtype: reserved / limit for dtype, limit in STREAM_LIMIT.items()}
        self.residual = DType.INT16 if ranges.usual > ENOUGH * unit[DType.INT16] else DType.INT32
        self.unit = unit[self.residual]
        tables = [model.weights[n].astype(np.float64) for n in ("words", "places")]
        self.embedding = max(float(np.abs(table).max()) for table in tables) / DType.INT16.high
        for key, table in zip(("words", "places"), tables, strict=True):
            self._arrays[key] = np.rint(table / self.embedding).astype(np.int16)

    def finish(self, name: str, pooling: Pooling) -> tuple[BertManifest, Weights]:
        """The manifest and its tensors."""
        model, shape = self._model, self._model.shape
        embedded, read = self._norm("embedded", "x 0", [layer_part(0, part) for part in "qkv"])
        layers = []
        for layer in range(shape.layers):
            constants, read = self._layer(layer, read)
            layers.append(constants)
        pooler = self._pooler(read) if shape.pooler else None
        specs = dict(weight_specs(shape))
        weights = Weights({key: self._arrays[key] for key in specs})
        described = tuple(
            Weight(
                key,
                spec,
                weights.tree(key).root,
                int(weights.array(key).min()),
                int(weights.array(key).max()),
            )
            for key, spec in specs.items()
        )
        manifest = BertManifest(
            name=name,
            shape=shape,
            pooling=pooling,
            epsilon=max(1, round(model.epsilon * shape.width / self.unit**2)),
            first_epsilon=max(1, round(model.epsilon * shape.width / self.embedding**2)),
            residual=self.residual,
            embedded=embedded,
            layers=tuple(layers),
            pooler=pooler,
            unit=max(1, round(self.unit * (1 << 40))),
            weights=described,
        )
        return manifest, weights

    def _layer(self, layer: int, read: _Read) -> tuple[BertLayer, _Read]:
        ranges, shape = self._ranges, self._model.shape

        def part(name: str) -> str:
            return layer_part(layer, name)

        q, k, steps = self._queries_and_keys(layer, read)
        output = np.abs(self._weight(part("o"))).max(axis=0)
        value = smoothed(ranges.reach(f"values {layer}"), output)
        middle = ranges.middle(f"values {layer}")
        v = self._affine(part("v"), read, value, middle=middle)
        furthest = np.maximum(
            np.abs(ranges.high[f"mix {layer}"] - middle), np.abs(ranges.low[f"mix {layer}"] - middle)
        )
        gain = int(min(max(256 * 127 / float((furthest / value).max()), 256), 65535))
        o = self._affine(part("o"), _Read(value * 256 / gain, middle), self.unit)
        attended, b = self._norm(part("attended"), f"y {layer}", [part("up")])
        table, before, active = self._activation(layer)
        up = self._affine(part("up"), b, before)
        down = self._affine(part("down"), active, self.unit)
        following = layer + 1
        readers = [layer_part(following, part) for part in "qkv"] if following < shape.layers else []
        fed, a = self._norm(part("fed"), f"x {following}", readers or ["pooler"] * shape.pooler)
        multiplier, score_shift = fixed(steps / sqrt(shape.head_dim) * EXPONENT, bits=12)
        constants = BertLayer(
            shifts=(q, k, v, o, up, down),
            score_multiplier=multiplier,
            score_shift=score_shift,
            mix_gain=gain,
            table=table,
            attended=attended,
            fed=fed,
        )
        return constants, a

    def _queries_and_keys(self, layer: int, read: _Read) -> tuple[int, int, float]:
        """Shifts of both, and the product of their steps; each channel's interval is shared between both."""
        ranges = self._ranges
        queries, keys = ranges.size(f"queries {layer}"), ranges.reach(f"keys {layer}")
        share = np.sqrt(queries / keys)
        q_step, k_step = float((queries / share).max()) / 127, float((keys * share).max()) / 127
        q = self._affine(layer_part(layer, "q"), read, q_step * share)
        middle = ranges.middle(f"keys {layer}")
        k = self._affine(layer_part(layer, "k"), read, k_step / share, middle=middle)
        return q, k, q_step * k_step

    def _activation(self, layer: int) -> tuple[bytes, float, _Read]:
        """The table, what one unit of its index stands for, and what it gives."""
        ranges, function = self._ranges, ACTIVATIONS[self._model.activation]
        before = ranges.largest(f"before {layer}") * _RESERVE / ((1 << _TABLE_BITS - 1) - 1)
        low, high = float(ranges.low[f"up {layer}"].min()), float(ranges.high[f"up {layer}"].max())
        step, middle = max(high - low, 1e-6) / 254, (high + low) / 2
        half = 1 << _TABLE_BITS - 1
        entries = np.rint((function(before * np.arange(-half, half, dtype=np.float64)) - middle) / step)
        table = np.clip(entries, -127, 127).astype(np.int8).tobytes()
        return table, before, _Read(step, middle)

    def _pooler(self, read: _Read) -> PoolerConstants:
        half = 1 << _POOLER_BITS - 1
        step = _POOLER_REACH / (half - 1)
        entries = [round(127 * tanh(i * step)) for i in range(-half, half)]
        shift = self._affine("pooler", read, step)
        return PoolerConstants(shift, np.array(entries, np.int8).tobytes())

    def _norm(self, name: str, output: str, readers: Sequence[str]) -> tuple[NormConstants, _Read]:
        """Gains and biases of a norm for the stream, and for the matrices that read it."""
        middle, reach = self._ranges.middle(output), self._ranges.reach(output)
        reads = [np.abs(self._weight(reader)).max(axis=0) for reader in readers]
        steps = smoothed(reach, np.max(reads, axis=0) if reads else np.ones_like(reach))
        stream = self._gains(name, np.full_like(steps, self.unit), np.zeros_like(middle))
        narrow = self._gains(name, steps, middle, stored=f"{name} narrow")
        return NormConstants(*stream, *narrow), _Read(steps, middle)

    def _gains(self, name: str, steps: Doubles, middle: Doubles, *, stored: str = "") -> tuple[int, int]:
        gain = self._weight(name) / steps
        bias = (self._weight(f"{name} bias") - middle) / steps
        bits = min(22, _GAIN_BITS - frexp(float(np.abs(gain).max()))[1])
        shift = NORM_BITS + bits
        lift = max(0, shift - _BIAS_BITS)
        self._arrays[f"{stored or name} gain"] = np.rint(gain * 2.0**bits).astype(np.int32)[None]
        self._arrays[f"{stored or name} bias"] = np.rint(bias * 2.0 ** (shift - lift)).astype(np.int32)[None]
        return shift, lift

    def _affine(
        self, name: str, reads: _Read, gives: float | Doubles, *, middle: float | Doubles = 0.0
    ) -> int:
        """Weights, scales and biases of an affine op; returns its shift.

        Args:
            name: of its matrix.
            reads: what it reads.
            gives: what one unit of the result stands for, of all channels or of each.
            middle: what is taken off the result, of all channels or of each.
        """
        matrix = self._weight(name)
        bias = self._weight(f"{name} bias") + matrix @ np.broadcast_to(reads.middle, matrix.shape[1]) - middle
        channels = by_channel(matrix * reads.step, np.reshape(gives, (-1, 1)))
        self._arrays[name] = channels.matrix
        self._arrays[f"{name} scale"] = channels.scale
        whole = np.rint(bias[:, None] / channels.steps)
        self._arrays[f"{name} bias"] = np.clip(whole, -_BIAS_LIMIT, _BIAS_LIMIT).astype(np.int32)
        return channels.shift

    def _weight(self, name: str) -> Doubles:
        return self._model.weights[name].astype(np.float64)
