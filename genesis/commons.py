"""The commons: the digits network that miners train when nobody pays, from nothing, a step a round.

Votes move it (`pouw.training.voted_training`), the ledger holds it (`chain.execution.training`), and whoever
pays can ask it like any other model. What it learns from are the images of `genesis.digits` without those
held out; what it is judged by are those held out.
"""

from collections.abc import Mapping
from functools import cache
from typing import Final

import numpy as np

from chain.execution.models import Commons, Model, Roots
from genesis.digits import WIDTHS, held_out_split, load_digits
from pouw.models.mlp import mlp_program
from pouw.program import Program
from pouw.tensors import Array
from pouw.training.commons import PIXEL_MAX
from pouw.training.mlp_training import MlpTraining, model_manifest
from pouw.training.training_data import TrainingImages, training_row
from pouw.training.vote_program import checkpoint_of
from pouw.training.voted_training import Judgement, VotedTraining, judge

NAME: Final = "commons"

BATCH: Final = 512
"""Images of one shard on the local testnet. Larger ones cast fewer votes for as much work, smaller ones make
longer programs."""

STEP_SIZE: Final = 1 << 12
"""A quarter of the least difference that a weight in use knows: 8 updates of one mind move it by two."""

SLOWER: Final = (40, 90, 180, 400, 800, 1600)
"""Found by simulation: votes that are a round or two late make large steps swing."""

MEMORY: Final = 4
"""Of some sixteen updates."""

_SEED: Final = b"headrace commons 1"


@cache
def training_images() -> TrainingImages:
    """The images that shards show: all but those held out."""
    data = load_digits()
    chosen, _ = held_out_split(len(data.labels))
    return TrainingImages(data.images[chosen], data.labels[chosen])


@cache
def commons(batch: int = BATCH) -> Commons:
    """The model, with shards of so many images."""
    data = load_digits()
    _, held_out = held_out_split(len(data.labels))
    images, labels = np.ascontiguousarray(data.images[held_out]), data.labels[held_out]
    training = MlpTraining(NAME, WIDTHS, batch=batch)
    voted = VotedTraining(training, _SEED, step_size=STEP_SIZE, slower=SLOWER, memory=MEMORY)

    def row(seed: bytes, shard: int, number: int) -> Array:
        return training_row(training_images(), seed=seed, index=shard, row=number, noise=training.noise)

    def judged(arrays: Mapping[str, Array]) -> Judgement:
        return judge(training, arrays, images, labels)

    return Commons(voted, row, judged)


@cache
def commons_model(batch: int = BATCH) -> Model:
    """The same model as tasks ask it: 64 pixels from 0 to 16 a row, one class from 0 to 9 as answer."""
    learner = commons(batch)
    voted = learner.voted

    def rebuild(rows: int, roots: Roots) -> Program:
        return mlp_program(model_manifest(voted.training, checkpoint_of(voted.training, 0, roots)), rows)

    first = voted.roots(voted.in_use(voted.start()))
    return Model(
        model_id=learner.id,
        name=NAME,
        build=lambda rows: rebuild(rows, first),
        input_low=0,
        input_high=PIXEL_MAX,
        rebuild=rebuild,
    )
