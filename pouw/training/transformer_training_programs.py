"""The programs of a step: forward, loss, backward, update, whole or shared among miners.

As in `pouw.training.mlp_training`: `step_program` is a step of one miner; where several share it, each runs
`gradient_program` on a shard of its own, and `update_program`, the same for everybody, adds their gradients
up. Without rounding by chance no number of a sequence depends on another sequence, so sequences may be dealt
out in any way.
"""

from pouw.ops.lion import Lion, Momentum
from pouw.ops.narrowed import Narrowed
from pouw.ops.total import Total
from pouw.program import Op, Program, Weight, build_program
from pouw.tensors import Array, DType, TensorSpec, index_dtype
from pouw.training.checkpoint import Checkpoint, next_name
from pouw.training.transformer_backward import gradient_ops
from pouw.training.transformer_training import (
    EMBEDDED,
    FADE,
    MASTER,
    MOMENTUM_DECAY,
    MOMENTUM_LIMIT,
    MOMENTUM_WEIGHT,
    TransformerTraining,
    fixed_weights,
    gradient_name,
    limits,
    master_name,
    matrices,
    momentum_name,
    narrowing,
)


def input_spec(training: TransformerTraining) -> TensorSpec:
    """The input of a step or of a shard: tokens, sequence after sequence."""
    return TensorSpec(training.rows, 1, index_dtype(training.shape.vocabulary))


def step_program(training: TransformerTraining, checkpoint: Checkpoint, seed: bytes) -> Program:
    """One step, whole: its kept tensors are the next checkpoint.

    Args:
        training: the run.
        checkpoint: where it stands.
        seed: of rounding by chance; not known before whoever takes the step is bound to its input.

    Raises:
        ProgramError: RANGE if a sum could leave its type; SHAPE.
    """
    ops = [*gradient_ops(training, seed), *_update_ops(training, checkpoint.step)]
    kept = [next_name(tensor.name) for tensor in checkpoint.tensors]
    weights = (*checkpoint.tensors, *fixed_weights(training.shape))
    return build_program(input_spec(training), weights, ops, kept=kept, small=True)


def gradient_program(training: TransformerTraining, checkpoint: Checkpoint, seed: bytes) -> Program:
    """A shard's part of a step: its kept tensors are the gradients, in the order of `matrices`.

    Args:
        training: the run.
        checkpoint: where it stands.
        seed: as in `step_program`, of this shard.

    Raises:
        ProgramError: RANGE if a sum could leave its type; SHAPE.
    """
    names = matrices(training.shape)
    weights = (*(checkpoint.tensor(name) for name in names), *fixed_weights(training.shape))
    kept = [gradient_name(name) for name in names]
    return build_program(input_spec(training), weights, gradient_ops(training, seed), kept=kept, small=True)


def update_program(
    training: TransformerTraining, checkpoint: Checkpoint, gradients: list[tuple[bytes, ...]]
) -> Program:
    """The common part of a step that several shards share: its kept tensors are the next checkpoint.

    Its input is a single zero; everything it reads is committed already.

    Args:
        training: the run.
        checkpoint: where it stands.
        gradients: for each shard the roots of its gradients, in the order of `matrices`.

    Raises:
        ProgramError: RANGE if a sum could leave int32; CONSTANT.
    """
    shard = gradient_program(training, checkpoint, b"")
    shapes = [shard.steps[number - 1].output for number in shard.kept]
    weights, ops = list(checkpoint.tensors), []
    for place, name in enumerate(matrices(training.shape)):
        given, value = _labels(name, len(gradients)), shapes[place]
        weights += [
            Weight(label, value.spec, roots[place], value.low, value.high)
            for label, roots in zip(given, gradients, strict=True)
        ]
        ops.append(Op(gradient_name(name), Total(len(given)), tuple(given)))
    ops += _update_ops(training, checkpoint.step)
    kept = [next_name(tensor.name) for tensor in checkpoint.tensors]
    return build_program(TensorSpec(1, 1, DType.INT8), weights, ops, kept=kept, small=True)


def shard_gradients(training: TransformerTraining, arrays: list[tuple[Array, ...]]) -> dict[str, Array]:
    """Gradients of several shards by the names that `update_program` gives them.

    Args:
        training: the run.
        arrays: one entry a shard, each in the order of `matrices`.
    """
    return {
        label: values[place]
        for place, name in enumerate(matrices(training.shape))
        for label, values in zip(_labels(name, len(arrays)), arrays, strict=True)
    }


def _labels(name: str, shards: int) -> list[str]:
    return [f"{gradient_name(name)} of shard {number}" for number in range(shards)]


def _update_ops(training: TransformerTraining, step: int) -> list[Op]:
    """From a gradient for every matrix to the next checkpoint, in its order."""
    rate, ops = training.rate_at(step), []
    for name in matrices(training.shape):
        wide, narrow = limits(name)
        gradient, momentum, master = gradient_name(name), momentum_name(name), master_name(name)
        turn = Lion(rate, MASTER + FADE, MOMENTUM_WEIGHT, MOMENTUM_DECAY, wide)
        dtype = DType.INT16 if name == EMBEDDED else DType.INT8
        ops += [
            Op(next_name(momentum), Momentum(MOMENTUM_DECAY, MOMENTUM_LIMIT), (momentum, gradient)),
            Op(next_name(master), turn, (master, momentum, gradient)),
            Op(next_name(name), Narrowed(narrowing(name), narrow, dtype), (next_name(master),)),
        ]
    return ops
