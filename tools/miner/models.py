"""The models' weights and the commons' inputs that this version brings along, for those who work."""

from collections.abc import Mapping

import numpy as np

from chain.execution.models import Commons
from genesis.commons import training_images
from genesis.digits import load_model
from pouw.tensors import Array
from pouw.training.training_data import training_batch
from pouw.weights import Weights
from tools.miner.workshop import CommonsInputs


def weights_by_model() -> Mapping[bytes, Weights]:
    """Weights of every published model that the client brings along, by the model's id."""
    model = load_model()
    return {model.manifest.digest: model.weights}


def commons_inputs(commons: Commons) -> CommonsInputs:
    """Inputs of whole shards; row by row they equal the registry's."""
    data, training = training_images(), commons.voted.training

    def inputs(seed: bytes, start: int, count: int) -> Array:
        return np.concatenate(
            [
                training_batch(data, seed=seed, index=shard, batch=training.batch, noise=training.noise)
                for shard in range(start, start + count)
            ]
        )

    return inputs
