"""The float twin of `pouw.models.bert`: what the integer model approximates, for making and judging it.

Nothing here is ever agreed on: a model is turned into integers once, by whoever publishes it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import pi, sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pouw.models.bert import BertShape, Pooling, layer_part
from pouw.models.llama_float import Floats, Watch

Doubles = NDArray[np.float64]


def _erf(x: Doubles) -> Doubles:
    """The error function to 1.5e-7: Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26."""
    t = 1 / (1 + 0.3275911 * np.abs(x))
    series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    return np.asarray(np.sign(x) * (1 - series * np.exp(-x * x)))


def _gelu(x: Doubles) -> Doubles:
    return x * (1 + _erf(x / sqrt(2))) / 2


def _gelu_tanh(x: Doubles) -> Doubles:
    return np.asarray(x * (1 + np.tanh(sqrt(2 / pi) * (x + 0.044715 * x**3))) / 2)


def _relu(x: Doubles) -> Doubles:
    return np.maximum(x, 0)


ACTIVATIONS: Final[Mapping[str, Callable[[Doubles], Doubles]]] = {
    "gelu": _gelu,
    "gelu_new": _gelu_tanh,
    "gelu_pytorch_tanh": _gelu_tanh,
    "relu": _relu,
}
"""By the names that configurations use."""


@dataclass(frozen=True, slots=True)
class FloatBert:
    """A model in float32.

    Args:
        shape: the sizes.
        epsilon: of the norms.
        activation: a key of `ACTIVATIONS`.
        weights: "words", "places" (of every segment, the segment's own vector added), and by layer q, k, v,
            o, up, down, "attended", "fed" and "pooler", each with " bias"; norms are [width].
    """

    shape: BertShape
    epsilon: float
    activation: str
    weights: Mapping[str, Floats]

    def states(
        self,
        tokens: NDArray[np.integer],
        *,
        first: int | None = None,
        watch: Watch = lambda _name, _value: None,
    ) -> Floats:
        """The last state of every token.

        Args:
            tokens: [n], one sequence.
            first: tokens of the first segment; None for all.
            watch: sees what happens on the way.

        Returns:
            [n, width].
        """
        places = np.arange(len(tokens))
        places += self.shape.positions * (places >= (len(tokens) if first is None else first))
        embedded = self.weights["words"][tokens] + self.weights["places"][places]
        x = self._norm(embedded, "embedded")
        watch("x 0", x)
        for layer in range(self.shape.layers):
            x = self._feed(layer, self._attend(layer, x, watch), watch)
        return x

    def answer(self, states: Floats, pooling: Pooling) -> Floats:
        """What a program of that pooling answers of one text, in real numbers, [1 or n, width]."""
        if pooling is Pooling.STATES:
            return states
        if pooling is Pooling.MEAN:
            mean: Floats = states.mean(axis=0, keepdims=True)
            return mean
        return states[:1] if pooling is Pooling.FIRST else self.pooled(states[0])[None]

    def pooled(self, state: Floats) -> Floats:
        """What the pooler makes of the first token's state, [width]."""
        out: Floats = np.tanh(self._affine(state[None], "pooler"))[0]
        return out

    def _attend(self, layer: int, x: Floats, watch: Watch) -> Floats:
        shape = self.shape
        q, k, v = (self._affine(x, layer_part(layer, part)) for part in "qkv")
        for name, value in (("queries", q), ("keys", k), ("values", v)):
            watch(f"{name} {layer}", value)
        split = (len(x), shape.heads, shape.head_dim)
        queries, keys, values = (part.reshape(split) for part in (q, k, v))
        scores = np.einsum("ihd,jhd->hij", queries, keys) / np.float32(sqrt(shape.head_dim))
        weights = np.exp(scores - scores.max(axis=2, keepdims=True))
        weights /= weights.sum(axis=2, keepdims=True)
        mix = np.einsum("hij,jhd->ihd", weights, values).reshape(len(x), -1)
        watch(f"mix {layer}", mix)
        total = x + self._affine(mix, layer_part(layer, "o"))
        watch(f"y sum {layer}", total)
        y = self._norm(total, layer_part(layer, "attended"))
        watch(f"y {layer}", y)
        return y

    def _feed(self, layer: int, y: Floats, watch: Watch) -> Floats:
        before = self._affine(y, layer_part(layer, "up"))
        watch(f"before {layer}", before)
        up = ACTIVATIONS[self.activation](before.astype(np.float64)).astype(np.float32)
        watch(f"up {layer}", up)
        total = y + self._affine(up, layer_part(layer, "down"))
        watch(f"x sum {layer + 1}", total)
        x = self._norm(total, layer_part(layer, "fed"))
        watch(f"x {layer + 1}", x)
        return x

    def _affine(self, x: Floats, name: str) -> Floats:
        out: Floats = x @ self.weights[name].T + self.weights[f"{name} bias"]
        return out

    def _norm(self, x: Floats, name: str) -> Floats:
        away = x - x.mean(axis=1, keepdims=True)
        normed = away / np.sqrt(np.mean(away * away, axis=1, keepdims=True) + np.float32(self.epsilon))
        out: Floats = normed * self.weights[name] + self.weights[f"{name} bias"]
        return out
