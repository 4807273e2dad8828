"""Training a multi-layer perceptron in integers: the programs that a step consists of.

One step is one program (`step_program`): forward, softmax and cross-entropy, backward, update. Where several
miners share a step, each runs the first part on its own shard (`gradient_program`), and the second part adds
their gradients up (`update_program`). Since no number of a row depends on another row, and integers add in
any order, the next checkpoint is the same to the bit however the rows were dealt out.

A number of scale s counts 2^-s:

    scale 4     pixels, activations     0..127
    scale 6     weights in use          int8, rounded from the master
    scale 7     errors                  int8, rounded by chance
    scale 10    sums, logits, biases
    scale 11    gradients
    scale 20    masters and their speeds

Scales are static: one over a whole tensor would tie the rows of a batch to one another.
"""

import math
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Final

import numpy as np

from pouw.arithmetic.cross_entropy import LOGIT, PROBABILITY
from pouw.arithmetic.generator import random_below
from pouw.arithmetic.requant import Requant
from pouw.models.mlp import MAX_LAYERS, Layer, ModelManifest, bias_name, weight_name
from pouw.ops.columns import Columns
from pouw.ops.elementwise import check_constant
from pouw.ops.loss_gradient import LossGradient
from pouw.ops.matmul import MatmulNT
from pouw.ops.optimiser import Descend, Velocity
from pouw.ops.rounded import Rounded
from pouw.ops.stochastic_requant import StochasticRequant
from pouw.ops.total import Total
from pouw.ops.transpose import Transpose
from pouw.program import INPUT, Op, Program, Weight, build_program
from pouw.tensors import Array, DType, TensorSpec
from pouw.training.checkpoint import Checkpoint, TrainingState, next_name
from pouw.trees.rows import WEIGHTS, RowTree
from pouw.weights import Weights

PIXEL: Final = 4
WEIGHT: Final = 6
ERROR: Final = 7
GRADIENT: Final = PIXEL + ERROR
MASTER: Final = 20

ACTIVATION: Final = Requant(1, WEIGHT, low=0, high=127)
"""Rectifier of the hidden layers."""

WEIGHT_LIMIT: Final = 127 << (MASTER - WEIGHT)
BIAS_LIMIT: Final = 64 << MASTER
SPEED_LIMIT: Final = 16 << MASTER
"""A speed never comes near: a gradient of the whole batch moves it by less than 1 at the usual rates."""

LOSS: Final = "loss gradient"
"""The name of the gradient by the logits, from which the loss can be read."""

ONES: Final = "ones"
"""The constant that sums errors to gradients of biases: a row of ones at the scale of pixels."""


@dataclass(frozen=True, slots=True)
class MlpTraining:
    """All that is fixed for a whole training run.

    Args:
        name: for people.
        widths: values per image on the way: pixels, hidden layers, logits.
        batch: rows of a shard.
        rate: an update moves a speed by 2^-rate of the summed gradient; 9..32.
        slower: steps from which on it is half as much, each.
        friction: a speed loses 2^-friction of itself each step.

    Raises:
        ProgramError: CONSTANT.
    """

    name: str
    widths: tuple[int, ...]
    batch: int
    rate: int = 11
    slower: tuple[int, ...] = ()
    friction: int = 3

    def __post_init__(self) -> None:
        check_constant("layers", self.layers, low=1, high=MAX_LAYERS)
        check_constant("rate", self.rate, low=MASTER - GRADIENT, high=32 - len(self.slower))

    @property
    def layers(self) -> int:
        """Linear layers."""
        return len(self.widths) - 1

    @property
    def noise(self) -> int:
        """Bytes of noise that a row of input brings along."""
        return sum(self.widths[1:])

    def noise_start(self, layer: int) -> int:
        """The column of the input at which the noise of a layer's errors starts."""
        return self.widths[0] + 1 + sum(self.widths[layer + 2 :])

    def rate_at(self, step: int) -> int:
        """The rate of a step."""
        return self.rate + sum(step >= slower for slower in self.slower)


def master_weight_name(layer: int) -> str:
    """The name of the weights that updates add up to, 2^14 times as fine as those in use."""
    return f"master weight {layer}"


def master_bias_name(layer: int) -> str:
    """The name of the biases that updates add up to."""
    return f"master bias {layer}"


def speed_name(name: str) -> str:
    """The name of a master's speed."""
    return f"{name} speed"


def gradient_name(name: str) -> str:
    """The name of a master's gradient."""
    return f"{name} gradient"


def values_name(layer: int) -> str:
    """The name of what a layer gives; that of layer -1 are the pixels."""
    return "pixels" if layer < 0 else f"layer {layer}"


def error_name(layer: int) -> str:
    """The name of the loss's gradient by what a layer sums up."""
    return f"error {layer}"


def masters(training: MlpTraining) -> list[str]:
    """The names of all tensors that are learned, last layer first, as the backward pass gives gradients."""
    return [
        name(layer)
        for layer in reversed(range(training.layers))
        for name in (master_weight_name, master_bias_name)
    ]


def start_training(training: MlpTraining, seed: bytes) -> TrainingState:
    """The checkpoint that a run starts from: weights even within sqrt(6 / inputs), all else zero.

    Args:
        training: the run.
        seed: of the weights.
    """
    arrays: dict[str, Array] = {}
    for layer, (inputs, outputs) in enumerate(pairwise(training.widths)):
        span = 1 << MASTER
        even = random_below(seed, path=(layer,), bound=2 * span, count=inputs * outputs) - span
        limit = min(math.isqrt((6 << 2 * MASTER) // inputs), WEIGHT_LIMIT)
        master = (even * limit >> MASTER).reshape(outputs, inputs)
        half = 1 << (MASTER - WEIGHT - 1)
        in_use = np.clip((master + half) >> (MASTER - WEIGHT), -127, 127)
        arrays[weight_name(layer)] = in_use.astype(np.int8)
        arrays[master_weight_name(layer)] = master.astype(np.int32)
        arrays[speed_name(master_weight_name(layer))] = np.zeros((outputs, inputs), np.int32)
        for name in (bias_name(layer), master_bias_name(layer), speed_name(master_bias_name(layer))):
            arrays[name] = np.zeros((outputs, 1), np.int32)
    weights = Weights({**arrays, **constants(training)})
    return TrainingState(_checkpoint(training, weights), weights)


def constants(training: MlpTraining) -> dict[str, Array]:
    """The tensors that programs name beside those of the checkpoint."""
    return {ONES: np.full((1, training.batch), 1 << PIXEL, np.int8)}


def model_manifest(training: MlpTraining, checkpoint: Checkpoint) -> ModelManifest:
    """The model that a checkpoint holds, as `pouw.models.mlp` runs it.

    Args:
        training: the run.
        checkpoint: of it.
    """
    layers = (
        Layer(
            inputs=inputs,
            outputs=outputs,
            requant=None if layer == training.layers - 1 else ACTIVATION,
            weight_root=checkpoint.tensor(weight_name(layer)).root,
            bias_root=checkpoint.tensor(bias_name(layer)).root,
            bias_limit=BIAS_LIMIT >> (MASTER - LOGIT),
        )
        for layer, (inputs, outputs) in enumerate(pairwise(training.widths))
    )
    return ModelManifest(f"{training.name} {checkpoint.step}", tuple(layers))


def step_program(training: MlpTraining, checkpoint: Checkpoint, seed: bytes) -> Program:
    """One step, whole: its kept tensors are the next checkpoint.

    Args:
        training: the run.
        checkpoint: where it stands.
        seed: randomness of the step; not known before whoever takes it is bound to its input.

    Raises:
        ProgramError: RANGE if a sum could leave int32; SHAPE.
    """
    ops = _gradient_ops(training) + _update_ops(training, checkpoint.step, seed)
    weights = (*checkpoint.tensors, ones_weight(training.batch))
    kept = [next_name(tensor.name) for tensor in checkpoint.tensors]
    return build_program(_input(training), weights, ops, kept=kept, small=True)


def gradient_program(training: MlpTraining, checkpoint: Checkpoint) -> Program:
    """A shard's part of a step: its kept tensors are the gradients, in the order of `masters`.

    Args:
        training: the run.
        checkpoint: where it stands.

    Raises:
        ProgramError: RANGE if a sum could leave int32; SHAPE.
    """
    names = [name(layer) for layer in range(training.layers) for name in (weight_name, bias_name)]
    weights = (*(checkpoint.tensor(name) for name in names), ones_weight(training.batch))
    kept = [gradient_name(name) for name in masters(training)]
    return build_program(_input(training), weights, _gradient_ops(training), kept=kept, small=True)


def update_program(
    training: MlpTraining, checkpoint: Checkpoint, seed: bytes, gradients: list[tuple[bytes, ...]]
) -> Program:
    """The common part of a step that several shards share: its kept tensors are the next checkpoint.

    Its input is a single zero; everything it reads is committed already. It is cheap, and the same for
    everybody.

    Args:
        training: the run.
        checkpoint: where it stands.
        seed: randomness of the step; not known before the gradients are final.
        gradients: for each shard the roots of its gradients, in the order of `masters`.

    Raises:
        ProgramError: RANGE if a sum could leave int32; CONSTANT.
    """
    shard = gradient_program(training, checkpoint)
    shapes = [shard.steps[number - 1].output for number in shard.kept]
    weights, ops = list(checkpoint.tensors), []
    for place, name in enumerate(masters(training)):
        given = [f"{gradient_name(name)} of shard {number}" for number in range(len(gradients))]
        value = shapes[place]
        weights += [
            Weight(label, value.spec, roots[place], value.low, value.high)
            for label, roots in zip(given, gradients, strict=True)
        ]
        ops.append(Op(gradient_name(name), Total(len(given)), tuple(given)))
    ops += _update_ops(training, checkpoint.step, seed)
    kept = [next_name(tensor.name) for tensor in checkpoint.tensors]
    return build_program(TensorSpec(1, 1, DType.INT8), weights, ops, kept=kept, small=True)


def shard_gradients(training: MlpTraining, arrays: list[tuple[Array, ...]]) -> dict[str, Array]:
    """Gradients of several shards by the names that `update_program` gives them.

    Args:
        training: the run.
        arrays: one entry a shard, each in the order of `masters`.
    """
    return {
        f"{gradient_name(name)} of shard {number}": values[place]
        for number, values in enumerate(arrays)
        for place, name in enumerate(masters(training))
    }


def _gradient_ops(training: MlpTraining) -> list[Op]:
    """Forward, loss, backward: from the input to a gradient for every master."""
    ops = error_ops(training)
    for layer in reversed(range(training.layers)):
        error, values = f"{error_name(layer)} turned", f"{values_name(layer - 1)} turned"
        ops += [
            Op(error, Transpose(), (error_name(layer),)),
            Op(values, Transpose(), (values_name(layer - 1),)),
            Op(gradient_name(master_weight_name(layer)), MatmulNT(), (error, values)),
            Op(gradient_name(master_bias_name(layer)), MatmulNT(), (error, ONES)),
        ]
    return ops


def error_ops(training: MlpTraining) -> list[Op]:
    """Forward, loss and back: from the input to the errors of every layer, each row by itself.

    Args:
        training: the run; how many rows there are does not matter.
    """
    inputs, last = training.widths[0], training.layers - 1
    ops = [Op(values_name(-1), Columns(0, inputs), (INPUT,))]
    for layer in range(training.layers):
        kind = MatmulNT(requant=None if layer == last else ACTIVATION, bias=True)
        operands = (values_name(layer - 1), weight_name(layer), bias_name(layer))
        ops.append(Op(values_name(layer), kind, operands))
    ops.append(Op(LOSS, LossGradient(label=inputs, scale=LOGIT), (values_name(last), INPUT)))
    to_error = StochasticRequant(PROBABILITY - ERROR, start=training.noise_start(last))
    ops.append(Op(error_name(last), to_error, (LOSS, INPUT)))
    for layer in reversed(range(1, training.layers)):
        below = StochasticRequant(WEIGHT, start=training.noise_start(layer - 1), gated=True)
        ops += [
            Op(f"weight {layer} turned", Transpose(), (weight_name(layer),)),
            Op(f"back {layer}", MatmulNT(), (error_name(layer), f"weight {layer} turned")),
            Op(error_name(layer - 1), below, (f"back {layer}", INPUT, values_name(layer - 1))),
        ]
    return ops


def _update_ops(training: MlpTraining, step: int, seed: bytes) -> list[Op]:
    """From a gradient for every master to the next checkpoint, in its order."""
    shift = GRADIENT - MASTER + training.rate_at(step)
    ops = []
    for stream, name in enumerate(masters(training)):
        layer, is_bias = training.layers - 1 - stream // 2, stream % 2 == 1
        push = Velocity(seed, stream, shift=shift, friction=training.friction, limit=SPEED_LIMIT)
        speed, master = next_name(speed_name(name)), next_name(name)
        if is_bias:
            limit = BIAS_LIMIT >> (MASTER - LOGIT)
            in_use, kind = (
                bias_name(layer),
                Rounded(MASTER - LOGIT, low=-limit, high=limit, dtype=DType.INT32),
            )
        else:
            in_use, kind = weight_name(layer), Rounded(MASTER - WEIGHT, low=-127, high=127, dtype=DType.INT8)
        ops += [
            Op(speed, push, (speed_name(name), gradient_name(name))),
            Op(master, Descend(BIAS_LIMIT if is_bias else WEIGHT_LIMIT), (name, speed)),
            Op(next_name(in_use), kind, (master,)),
        ]
    return ops


def _checkpoint(training: MlpTraining, weights: Weights) -> Checkpoint:
    """The checkpoint before the first step, in the order in which updates give its tensors."""
    tensors = []
    for layer, (inputs, outputs) in reversed(list(enumerate(pairwise(training.widths)))):
        of_weight, of_bias = TensorSpec(outputs, inputs, DType.INT32), TensorSpec(outputs, 1, DType.INT32)
        in_use = TensorSpec(outputs, inputs, DType.INT8)
        weight, bias = master_weight_name(layer), master_bias_name(layer)
        bounds = (
            (speed_name(weight), of_weight, SPEED_LIMIT),
            (weight, of_weight, WEIGHT_LIMIT),
            (weight_name(layer), in_use, 127),
            (speed_name(bias), of_bias, SPEED_LIMIT),
            (bias, of_bias, BIAS_LIMIT),
            (bias_name(layer), of_bias, BIAS_LIMIT >> (MASTER - LOGIT)),
        )
        for name, spec, limit in bounds:
            tensors.append(Weight(name, spec, weights.tree(name).root, -limit, limit))
    return Checkpoint(0, tuple(tensors))


def _input(training: MlpTraining) -> TensorSpec:
    return TensorSpec(training.batch, training.widths[0] + 1 + training.noise, DType.INT8)


@cache
def ones_weight(batch: int) -> Weight:
    """The constant `ONES` for a batch of so many rows."""
    spec = TensorSpec(1, batch, DType.INT8)
    one = 1 << PIXEL
    tree = RowTree(WEIGHTS, 0, spec=spec, array=np.full((1, batch), one, np.int8))
    return Weight(ONES, spec, tree.root, one, one)
