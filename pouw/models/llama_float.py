"""The float twin of `pouw.models.llama`: what the integer model approximates, for making and judging it.

Nothing here is ever agreed on: a model is turned into integers once, by whoever publishes it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from pouw.arithmetic.rotary_scaling import RotaryScaling
from pouw.arithmetic.tables import rotary_frequency
from pouw.models.llama import LlamaShape, layer_weight

Floats = NDArray[np.float32]
Watch = Callable[[str, Floats], None]
"""Is shown every tensor by the name that the integer program gives it."""


@dataclass(frozen=True, slots=True)
class FloatLlama:
    """A model in float32.

    Args:
        shape: the sizes.
        epsilon: of the norms.
        base: of the rotary frequencies.
        weights: by the names of `llama.weight_specs`, without scales and turns; norms are [width].
        scaling: of the frequencies that follow from the base.
    """

    shape: LlamaShape
    epsilon: float
    base: int
    weights: Mapping[str, Floats]
    scaling: RotaryScaling | None = None

    def logits(self, tokens: NDArray[np.integer], watch: Watch = lambda _name, _value: None) -> Floats:
        """Logits of every position.

        Args:
            tokens: [n], one sequence.
            watch: sees what happens on the way.

        Returns:
            [n, vocabulary].
        """
        x = self.weights["embedding"][tokens]
        watch("x 0", x)
        for layer in range(self.shape.layers):
            x = self._feed(layer, self._attend(layer, x, watch), watch)
        final = self._norm("final", x, "final norm", watch)
        logits: Floats = final @ self.weights["head"].T
        watch("logits", logits)
        return logits

    def _attend(self, layer: int, x: Floats, watch: Watch) -> Floats:
        shape = self.shape
        a = self._norm(f"a {layer}", x, layer_weight(layer, "norm 1"), watch)
        q, k, v = (a @ self.weights[layer_weight(layer, part)].T for part in "qkv")
        queries = self._turn(q.reshape(len(x), shape.heads, shape.head_dim))
        keys = self._turn(k.reshape(len(x), shape.kv_heads, shape.head_dim))
        watch(f"queries {layer}", queries)
        watch(f"keys {layer}", keys)
        watch(f"values {layer}", v)
        group = shape.heads // shape.kv_heads
        keys, values = (
            np.repeat(part.reshape(len(x), shape.kv_heads, -1), group, axis=1) for part in (keys, v)
        )
        scores = np.einsum("ihd,jhd->hij", queries, keys) / np.float32(np.sqrt(shape.head_dim))
        scores[:, np.triu(np.ones((len(x), len(x)), bool), 1)] = -np.inf
        weights = np.exp(scores - scores.max(axis=2, keepdims=True))
        weights /= weights.sum(axis=2, keepdims=True)
        mix = np.einsum("hij,jhd->ihd", weights, values).reshape(len(x), -1)
        watch(f"mix {layer}", mix)
        y: Floats = x + mix @ self.weights[layer_weight(layer, "o")].T
        watch(f"y {layer}", y)
        return y

    def _feed(self, layer: int, y: Floats, watch: Watch) -> Floats:
        b = self._norm(f"b {layer}", y, layer_weight(layer, "norm 2"), watch)
        gate, up = (b @ self.weights[layer_weight(layer, part)].T for part in ("gate", "up"))
        gated = gate / (1 + np.exp(-gate)) * up
        for name, value in (("gate", gate), ("up", up), ("gated", gated)):
            watch(f"{name} {layer}", value)
        x: Floats = y + gated @ self.weights[layer_weight(layer, "down")].T
        watch(f"x {layer + 1}", x)
        return x

    def _norm(self, name: str, x: Floats, gain: str, watch: Watch) -> Floats:
        normed = x / np.sqrt(np.mean(x * x, axis=1, keepdims=True) + np.float32(self.epsilon))
        normed = np.asarray(normed * self.weights[gain], np.float32)
        watch(name, normed)
        return normed

    def _turn(self, x: Floats) -> Floats:
        middle = self.shape.head_dim // 2
        angles = np.arange(len(x))[:, None, None] * _frequencies(middle, self.base, self.scaling)
        cos, sin = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
        first, second = x[..., :middle], x[..., middle:]
        return np.concatenate([first * cos - second * sin, first * sin + second * cos], axis=-1)


@cache
def _frequencies(count: int, base: int, scaling: RotaryScaling | None) -> NDArray[np.float64]:
    """Radians a position, for each pair of a head's dimensions."""
    return np.array([float(rotary_frequency(i, count, base, scaling=scaling)) for i in range(count)])
