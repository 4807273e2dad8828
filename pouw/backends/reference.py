"""The reference backend: numpy, slow, and the definition of every operation."""

import numpy as np
from numpy.typing import NDArray

from pouw.arithmetic.requant import Requant
from pouw.backends.reference_encoder import ReferenceEncoder
from pouw.backends.reference_training import ReferenceTraining
from pouw.backends.reference_transformer import ReferenceTransformer
from pouw.backends.reference_transformer_training import ReferenceTransformerTraining
from pouw.tensors import Array, index_dtype


class ReferenceBackend:
    """Runs on the host's numpy with integer accumulators; its tensors are the host arrays themselves."""

    @property
    def name(self) -> str:
        """See `Backend.name`."""
        return "reference (numpy)"

    @property
    def training(self) -> ReferenceTraining:
        """See `Backend.training`."""
        return ReferenceTraining()

    @property
    def transformer(self) -> ReferenceTransformer:
        """See `Backend.transformer`."""
        return ReferenceTransformer()

    @property
    def transformer_training(self) -> ReferenceTransformerTraining:
        """See `Backend.transformer_training`."""
        return ReferenceTransformerTraining()

    @property
    def encoder(self) -> ReferenceEncoder:
        """See `Backend.encoder`."""
        return ReferenceEncoder()

    @property
    def rows(self) -> None:
        """See `Backend.rows`."""

    def put(self, array: Array) -> Array:
        """See `Backend.put`."""
        return array

    def get(self, tensor: Array) -> Array:
        """See `Backend.get`."""
        return np.ascontiguousarray(tensor)

    def matmul_nt(
        self,
        a: NDArray[np.int8],
        b: NDArray[np.int8],
        *,
        bias: NDArray[np.int32] | None,
        requant: Requant | None,
    ) -> Array:
        """See `Backend.matmul_nt`."""
        total: NDArray[np.int32] = a.astype(np.int32) @ b.astype(np.int32).T
        if bias is not None:
            total += bias.T
        return total if requant is None else requant.apply(total.astype(np.int64))

    def argmax(self, a: Array) -> Array:
        """See `Backend.argmax`."""
        best: Array = np.argmax(a, axis=1).reshape(-1, 1).astype(index_dtype(a.shape[1]).numpy)
        return best
