"""Models of the smallest size: two that are published, and one that votes move."""

from dataclasses import dataclass
from functools import cache, partial

import numpy as np

from chain.execution.models import Commons, Model, Roots
from pouw.arithmetic.generator import random_bytes
from pouw.arithmetic.requant import Requant
from pouw.models.mlp import Layer, ModelManifest, bias_name, mlp_program, weight_name
from pouw.tensors import DType, TensorSpec
from pouw.training.mlp_training import MlpTraining, model_manifest
from pouw.training.vote_program import checkpoint_of
from pouw.training.voted_training import Judgement, VotedTraining, judge
from pouw.trees.rows import WEIGHTS, RowTree
from pouw.weights import Weights

WIDTH, HIDDEN, CLASSES = 16, 12, 5


@dataclass(frozen=True)
class TinyModel:
    """A two-layer network with weights drawn from a seed."""

    model: Model
    weights: Weights


@cache
def tiny_model(name: str) -> TinyModel:
    """The model of that name; other names, other weights."""
    arrays, layers = {}, []
    sizes = [(WIDTH, HIDDEN), (HIDDEN, CLASSES)]
    for number, (inputs, outputs) in enumerate(sizes):
        drawn = np.frombuffer(random_bytes(name.encode(), path=(number,), count=inputs * outputs), np.int8)
        matrix = drawn.reshape(outputs, inputs)
        bias = np.arange(outputs, dtype=np.int32).reshape(outputs, 1)
        arrays[weight_name(number)] = matrix
        arrays[bias_name(number)] = bias
        layers.append(
            Layer(
                inputs=inputs,
                outputs=outputs,
                requant=Requant(1, 8, low=0) if number == 0 else None,
                weight_root=RowTree(
                    WEIGHTS, 0, spec=TensorSpec(outputs, inputs, DType.INT8), array=matrix
                ).root,
                bias_root=RowTree(WEIGHTS, 0, spec=TensorSpec(outputs, 1, DType.INT32), array=bias).root,
                bias_limit=outputs,
            )
        )
    manifest = ModelManifest(name, tuple(layers))
    model = Model(
        model_id=manifest.digest, name=name, build=partial(mlp_program, manifest), input_low=0, input_high=16
    )
    return TinyModel(model, Weights(arrays))


@cache
def tiny_commons(batch: int) -> Commons:
    """A network of 7 units that learns which of three pairs of columns is the brightest."""
    voted = VotedTraining(
        MlpTraining("tiny commons", (6, 4, 3), batch=batch), b"tiny", step_size=1 << 16, slower=(), memory=1
    )

    def row(seed: bytes, shard: int, number: int) -> np.ndarray:
        drawn = np.frombuffer(
            random_bytes(seed, path=(shard, number), count=7 + voted.training.noise), np.uint8
        )
        label = drawn[6] % 3
        pixels = drawn[:6] % 9 + 8 * (np.arange(6) // 2 == label)
        return np.concatenate([pixels, [label], drawn[7:]]).astype(np.uint8).view(np.int8)

    judged = np.stack([row(b"judged", 0, number) for number in range(20)])

    def judged_by(arrays) -> Judgement:
        return judge(voted.training, arrays, judged[:, :6], judged[:, 6])

    return Commons(voted, row, judged_by)


def commons_model(commons: Commons) -> Model:
    """The commons' model as tasks may ask it."""
    training = commons.voted.training

    def rebuild(rows: int, roots: Roots):
        return mlp_program(model_manifest(training, checkpoint_of(training, 0, roots)), rows)

    first = commons.voted.roots(commons.voted.in_use(commons.voted.start()))
    return Model(
        model_id=commons.id, name="commons", build=lambda rows: rebuild(rows, first), input_low=0,
        input_high=16, rebuild=rebuild,
    )  # fmt: skip
