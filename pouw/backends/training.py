"""The part of a backend that training needs beyond what inference does."""

from collections.abc import Sequence
from typing import Any, Protocol

from pouw.tensors import DType


class TrainingBackend(Protocol):
    """Exact integer operations of backward passes and updates, on tensors of the backend's own kind.

    Every method gives the bits that `pouw.backends.reference_training` gives, for all operands that a program
    can be built with; there is room in int32 for everything that the ops' `infer` lets through.
    """

    def columns(self, a: Any, *, start: int, count: int) -> Any:
        """Columns start..start+count-1 of a[m,n]."""

    def transpose(self, a: Any) -> Any:
        """a[m,n] as [n,m]."""

    def total(self, tensors: Sequence[Any]) -> Any:
        """The sum of int32 tensors of one shape, int32."""

    def interleaved(self, tensors: Sequence[Any]) -> Any:
        """int32 tensors of one shape side by side: out[i, j * count + p] = tensors[p][i, j]."""

    def rounded(self, a: Any, *, shift: int, low: int, high: int, dtype: DType) -> Any:
        """clamp((a + (1 << shift >> 1)) >> shift, low, high) of an int32 tensor, as int8 or int32."""

    def stochastic(self, a: Any, noise: Any, *, gate: Any | None, start: int, shift: int) -> Any:
        """clamp((a + spread) >> shift, -127, 127), int8.

        Args:
            a: int16 or int32 [m,n].
            noise: int8, at least [m, start + n]; see `pouw.arithmetic.stochastic.spread`.
            gate: int8 [m,n] or None; 0 where it is below 1 or above 126.
            start: the column of the noise that goes with column 0.
            shift: bits to remove.
        """

    def loss_gradient(self, logits: Any, labels: Any, *, label: int, scale: int) -> Any:
        """See `pouw.arithmetic.cross_entropy.loss_gradient`.

        Args:
            logits: int32 [m,n].
            labels: int8 [m, more than label].
            label: the column that holds the labels.
            scale: of the logits.
        """

    def velocity(
        self, speed: Any, gradient: Any, noise: Any, *, shift: int, friction: int, limit: int
    ) -> Any:
        """clamp(speed - rounded(speed / 2^friction) + ((gradient + spread) >> shift), -limit, limit), int32.

        Args:
            speed: int32 [m,n].
            gradient: int32 [m,n].
            noise: int8 [m,n].
            shift: bits to remove from the gradient.
            friction: the speed loses 2^-friction of itself.
            limit: clamps to -limit..limit.
        """

    def descend(self, master: Any, speed: Any, *, limit: int) -> Any:
        """clamp(master - speed, -limit, limit), all int32 of one shape."""
