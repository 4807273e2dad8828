"""The models' weights and commons inputs that this version brings along, for those who work with them."""

from collections.abc import Mapping

from genesis.digits import load_digits, load_model
from pouw.commons import commons_batch
from pouw.tensors import Array
from pouw.weights import Weights
from tools.miner.workshop import CommonsInputs


def weights_by_model() -> Mapping[bytes, Weights]:
    """Weights of every model that the client brings along, by the model's id."""
    model = load_model()
    return {model.manifest.digest: model.weights}


def commons_inputs() -> CommonsInputs:
    """Inputs of whole commons units; row by row they equal the registry's."""
    images = load_digits().images

    def inputs(seed: bytes, index: int, rows: int) -> Array:
        return commons_batch(images, seed=seed, index=index, batch=rows)

    return inputs
