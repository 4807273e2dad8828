"""The definition of the operations that training needs, in numpy and in 64 bits.

The checks of single cells use it too, on the rows that were opened. It never raises, whatever values they
hold; only what programs can produce is given exactly.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pouw.arithmetic.cross_entropy import loss_gradient
from pouw.arithmetic.stochastic import spread
from pouw.tensors import Array, DType


class ReferenceTraining:
    """See `pouw.backends.training.TrainingBackend`; tensors are host arrays."""

    def columns(self, a: Array, *, start: int, count: int) -> Array:
        """See `TrainingBackend.columns`."""
        return a[:, start : start + count]

    def transpose(self, a: Array) -> Array:
        """See `TrainingBackend.transpose`."""
        return a.T

    def total(self, tensors: Sequence[Array]) -> Array:
        """See `TrainingBackend.total`."""
        result: Array = np.sum([tensor.astype(np.int64) for tensor in tensors], axis=0).astype(np.int32)
        return result

    def interleaved(self, tensors: Sequence[Array]) -> Array:
        """See `TrainingBackend.interleaved`."""
        return np.stack(tensors, axis=2).reshape(len(tensors[0]), -1)

    def rounded(self, a: Array, *, shift: int, low: int, high: int, dtype: DType) -> Array:
        """See `TrainingBackend.rounded`."""
        return _clamped(_shifted(a.astype(np.int64), shift), low, high).astype(dtype.numpy)

    def stochastic(self, a: Array, noise: Array, *, gate: Array | None, start: int, shift: int) -> Array:
        """See `TrainingBackend.stochastic`."""
        added = spread(noise[:, start : start + a.shape[1]], shift)
        result = _clamped((a.astype(np.int64) + added) >> shift, -127, 127).astype(np.int8)
        if gate is not None:
            result[(gate < 1) | (gate > 126)] = 0
        return result

    def loss_gradient(self, logits: Array, labels: Array, *, label: int, scale: int) -> Array:
        """See `TrainingBackend.loss_gradient`."""
        return loss_gradient(logits, labels[:, label], scale=scale)

    def velocity(
        self, speed: Array, gradient: Array, noise: Array, *, shift: int, friction: int, limit: int
    ) -> Array:
        """See `TrainingBackend.velocity`."""
        before = speed.astype(np.int64)
        pushed = (gradient.astype(np.int64) + spread(noise, shift)) >> shift
        return _clamped(before - _shifted(before, friction) + pushed, -limit, limit).astype(np.int32)

    def descend(self, master: Array, speed: Array, *, limit: int) -> Array:
        """See `TrainingBackend.descend`."""
        after = master.astype(np.int64) - speed.astype(np.int64)
        return _clamped(after, -limit, limit).astype(np.int32)


def _shifted(x: NDArray[np.int64], bits: int) -> NDArray[np.int64]:
    """Rounded half up."""
    return (x + ((1 << bits) >> 1)) >> bits


def _clamped(x: NDArray[np.int64], low: int, high: int) -> NDArray[np.int64]:
    result: NDArray[np.int64] = np.minimum(np.maximum(x, low), high)
    return result
