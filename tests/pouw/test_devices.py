"""Ops of torch alone stay on the device of their operands, whatever that is.

Shown on torch's meta device, which has shapes and no values: an operand that lies elsewhere, or a value that
somebody waits for, is an error there.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pouw.backends.known_encoder import encoder_digest
from pouw.backends.known_transformer_training import transformer_training_digest
from pouw.tensors import Array

torch = pytest.importorskip("torch", reason="the ops are torch's")

from pouw.backends.torch_encoder import TorchEncoder  # noqa: E402 - only where torch is
from pouw.backends.torch_transformer_training import TorchTransformerTraining  # noqa: E402

META = torch.device("meta")


def multiplied(a: Any, b: Any) -> Any:
    return torch.empty((len(a), len(b)), dtype=torch.int32, device=META)


class Elsewhere:
    """A backend of which nothing can be read."""

    def __init__(self, *, tables: Any = META) -> None:
        self.transformer_training = TorchTransformerTraining(multiplied, tables)
        self.encoder = TorchEncoder(multiplied, tables)
        self.seen = 0

    def put(self, array: Array) -> Any:
        return torch.from_numpy(array.copy()).to(META)

    def get(self, tensor: Any) -> Array:
        assert tensor.device == META
        self.seen += 1
        return np.zeros(tuple(tensor.shape), np.int8)


@pytest.mark.parametrize("answered", [transformer_training_digest, encoder_digest])
def test_nothing_leaves_the_device(answered: Callable[[Any], str]) -> None:
    backend = Elsewhere()
    answered(backend)
    assert backend.seen > 50


@pytest.mark.parametrize("answered", [transformer_training_digest, encoder_digest])
def test_a_table_that_lies_elsewhere_is_noticed(answered: Callable[[Any], str]) -> None:
    with pytest.raises((RuntimeError, AssertionError)):
        answered(Elsewhere(tables=torch.device("cpu")))
