"""The seam between a program and the machine that runs it."""

from typing import Any, Protocol

from pouw.arithmetic.requant import Requant
from pouw.backends.encoder import EncoderOps
from pouw.backends.row_hashing import RowHashing
from pouw.backends.training import TrainingBackend
from pouw.backends.transformer import TransformerOps
from pouw.backends.transformer_training import TransformerTraining
from pouw.tensors import Array


class BackendError(RuntimeError):
    """This machine computes wrongly, or lacks what was asked of it; never the fault of a peer."""


class Backend(Protocol):
    """Exact integer operations on tensors of the backend's own kind (`Any` below).

    Every method gives the bits that `pouw.backends.reference` gives, for all operands that a program can be
    built with. `pouw.backends.known_answer` tests that on start-up.
    """

    @property
    def name(self) -> str:
        """What it is, for logs: device and the way it multiplies."""

    @property
    def training(self) -> TrainingBackend:
        """What backward passes and updates need."""

    @property
    def transformer(self) -> TransformerOps:
        """What transformers need."""

    @property
    def transformer_training(self) -> TransformerTraining:
        """What training transformers needs beyond both."""

    @property
    def encoder(self) -> EncoderOps:
        """What encoders need beyond that."""

    @property
    def rows(self) -> RowHashing | None:
        """How tensors are hashed where they lie; None leaves that to the host."""

    def put(self, array: Array) -> Any:
        """A host array as a tensor of the backend. The array must not change afterwards."""

    def get(self, tensor: Any) -> Array:
        """A tensor of the backend as a C-contiguous host array."""

    def matmul_nt(self, a: Any, b: Any, *, bias: Any | None, requant: Requant | None) -> Any:
        """A[m,k] · B[n,k]ᵀ + bias[n,1]ᵀ, requantised.

        Args:
            a: int8 [m,k], k at most 131,071.
            b: int8 [n,k].
            bias: int32 [n,1] or None.
            requant: int8 out, or None for int32 out.
        """

    def argmax(self, a: Any) -> Any:
        """The first greatest column of each row of a[m,n], [m,1] in the smallest type that holds n - 1."""
