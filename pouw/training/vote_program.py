"""A miner's part of a step that many share: from shards of fresh data to one vote, as one program.

    input ─ forward, loss, errors of all rows ─┬─ gradients of shard 0 ─┐
                                               ├─ gradients of shard 1 ─┼─ ballots ─ majority = the vote
                                               └─ ...                   ┘

The rows of all shards pass forward and back together, since none depends on another. Each shard of
`MlpTraining.batch` rows has gradients of its own, so that what one cell opens does not grow with the number
of shards, and one ballot, so that none of them outvotes the others by the size of its numbers. The program's
last op gives the vote: it is the answer that a proof is held against.
"""

from collections.abc import Sequence
from typing import Final

from pouw.arithmetic.cross_entropy import LOGIT
from pouw.models.mlp import bias_name, weight_name
from pouw.ops.ballot import Ballots, Majority
from pouw.ops.part_products import PartProducts
from pouw.ops.turned_rows import TurnedRows
from pouw.program import Op, Program, Weight, build_program
from pouw.tensors import DType, TensorSpec
from pouw.training.checkpoint import Checkpoint
from pouw.training.mlp_training import (
    BIAS_LIMIT,
    MASTER,
    ONES,
    MlpTraining,
    error_name,
    error_ops,
    gradient_name,
    master_bias_name,
    master_weight_name,
    ones_weight,
    values_name,
)

BALLOTS: Final = "ballots"
"""The name of what each shard says."""

STRETCH: Final = 256
"""Rows of which a gradient's products are summed together, where a shard has several times as many."""

VOTE: Final = "vote"
"""The name of the last op's output."""


def in_use_specs(training: MlpTraining) -> tuple[tuple[str, TensorSpec, int], ...]:
    """Name, shape and largest size of each tensor that a forward pass reads, first layer first."""
    found = []
    for layer in range(training.layers):
        inputs, outputs = training.widths[layer], training.widths[layer + 1]
        found.append((weight_name(layer), TensorSpec(outputs, inputs, DType.INT8), DType.INT8.high))
        limit = BIAS_LIMIT >> (MASTER - LOGIT)
        found.append((bias_name(layer), TensorSpec(outputs, 1, DType.INT32), limit))
    return tuple(found)


def checkpoint_of(training: MlpTraining, step: int, roots: Sequence[bytes]) -> Checkpoint:
    """What is known of a model that votes move: the roots of the tensors in use.

    Args:
        training: the run.
        step: updates that led here.
        roots: in the order of `in_use_specs`.
    """
    specs = zip(in_use_specs(training), roots, strict=True)
    return Checkpoint(
        step, tuple(Weight(name, spec, root, -limit, limit) for (name, spec, limit), root in specs)
    )


def parts_of(training: MlpTraining) -> tuple[int, int]:
    """How many rows of a shard are summed together for its gradients, and how often."""
    parts, rest = divmod(training.batch, STRETCH)
    return (training.batch, 1) if rest else (STRETCH, parts)


def vote_program(training: MlpTraining, checkpoint: Checkpoint, shards: int) -> Program:
    """The program whose answer is a vote.

    Args:
        training: the run.
        checkpoint: from `checkpoint_of`.
        shards: how many; the input has `training.batch` rows for each.

    Raises:
        ProgramError: RANGE if a sum could leave int32; SHAPE; CONSTANT for too many shards.
    """
    # A ballot's value and its part of the majority stand together for the products of one gradient.
    weight = max(1, training.batch // 2)
    ops, gradients = error_ops(training), []
    for shard in range(shards):
        ops += _shard_ops(training, shard)
        gradients += [
            _of(shard, gradient_name(name(layer)))
            for layer in range(training.layers)
            for name in (master_weight_name, master_bias_name)
        ]
    ballots = Ballots(shards, training.widths, parts_of(training)[1], weight)
    ops += [Op(BALLOTS, ballots, tuple(gradients)), Op(VOTE, Majority(shards, weight), (BALLOTS,))]
    weights = (*checkpoint.tensors, ones_weight(training.batch))
    spec = TensorSpec(shards * training.batch, training.widths[0] + 1 + training.noise, DType.INT8)
    return build_program(spec, weights, ops, small=True)


def _shard_ops(training: MlpTraining, shard: int) -> list[Op]:
    """The gradients of one shard's rows."""
    turned, products = TurnedRows(shard * training.batch, training.batch), PartProducts(*parts_of(training))
    ops = []
    for layer in range(training.layers):
        error, values = (_of(shard, f"{name} turned") for name in (error_name(layer), values_name(layer - 1)))
        of_weights, of_biases = (
            _of(shard, gradient_name(name(layer))) for name in (master_weight_name, master_bias_name)
        )
        ops += [
            Op(error, turned, (error_name(layer),)),
            Op(values, turned, (values_name(layer - 1),)),
            Op(of_weights, products, (error, values)),
            Op(of_biases, products, (error, ONES)),
        ]
    return ops


def _of(shard: int, name: str) -> str:
    return f"{name} of shard {shard}"
