"""Training a transformer in integers: what is fixed for a whole run, and the checkpoint it starts from.

The model is a Llama (`pouw.models.llama`) with as many heads of keys as of queries and norms without gains,
so any checkpoint can be asked as it stands. `transformer_training_programs` has the programs of a step.

A number of scale s counts 2^-s. Scales are static, one for each kind of tensor, so no number of a sequence
depends on another sequence; they leave room above what a run that learns was seen to reach (`README.md`).

    scale 3     gated                                                  int8
    scale 4     queries, keys, values, mix, gate, up                   int8
    scale 5     what norms give                                        int8
    scale 8     weights in use                                         int8
    scale 10    q and k before they are turned, logits                 int16
    scale 12    gradients                                              int32
    scale 13    embedding in use, and so its gradient; errors          int16
    scale 14    residual stream, within 24 bits; errors of scores      int32; int16
    scale 15    shares of attention, errors of logits                  int16
    scale 24    masters                                                int32
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from math import isqrt
from typing import Final

import numpy as np

from pouw.arithmetic.cross_entropy import LOGIT
from pouw.arithmetic.gate_slopes import silu_slopes
from pouw.arithmetic.generator import random_below
from pouw.arithmetic.tables import TURN_BITS, rotary_table, silu_table
from pouw.arithmetic.transformer_rows import NORM_BITS
from pouw.models.llama import LayerConstants, LlamaManifest, LlamaShape, layer_weight, weight_specs
from pouw.ops.require import require, require_constant
from pouw.program import Weight
from pouw.program_error import ProgramReason
from pouw.tensors import Array, DType, TensorSpec
from pouw.training.checkpoint import Checkpoint, TrainingState
from pouw.trees.rows import WEIGHTS, RowTree
from pouw.weights import Weights

GATED: Final = 3
VALUE: Final = 4
NORMED: Final = 5
WEIGHT: Final = 8
UNTURNED: Final = 10
ERROR: Final = 13
EMBEDDING: Final = 13
RESIDUAL: Final = 14
SCORE_ERROR: Final = 14
GRADIENT: Final = 12
MASTER: Final = 24

GAIN: Final = 10
"""Every norm has the gain 1, which is 2^10."""

UNIT: Final = 8
"""Every channel of a linear op has the scale 2^8, so that its shift may also be one to the left."""

LOG2_E: Final = 94548
"""log2(e) in 2^-16."""

GATE_UNITS: Final = 11
"""Entries of the gate's table are in 2^-11: up to 8, where they nearly fill int16."""

SLOPE_UNITS: Final = 14
"""Slopes are in 2^-14: up to 1.1."""

BASE: Final = 10000

MOMENTUM_DECAY: Final = 5
"""A momentum is 2^5 times the mean of the gradients, of which each step's makes 2^-5."""

MOMENTUM_WEIGHT: Final = 7
"""What decides on a sign: 7 parts of the mean before, 1 of this step's gradient."""

FADE: Final = 3
"""Weights decay by 2^-3 of the rate in each step."""

WEIGHT_LIMIT: Final = 127 << (MASTER - WEIGHT)
EMBEDDING_LIMIT: Final = 32767 << (MASTER - EMBEDDING)
MOMENTUM_LIMIT: Final = 1 << 29
GRADIENT_LIMIT: Final = (1 << 22) - 1
"""256 shards add up to less than 2^30."""

EMBEDDED: Final = "embedding"
HEAD: Final = "head"
PARTS: Final = ("down", "gate", "up", "o", "q", "k", "v")
"""The matrices of a layer, in the order in which the backward pass gives their gradients."""


@dataclass(frozen=True, slots=True)
class TransformerTraining:
    """All that is fixed for a whole training run.

    Args:
        name: for people.
        shape: of the model; as many heads of keys as of queries.
        sequences: of a shard.
        tokens: of a sequence, 2..shape.positions; all but the last are asked for their successor.
        rate: what a master moves by in a step at most, in units of 2^-24; 1..2^20.
        warm_up: steps until that rate is reached.
        steady: steps until it starts to fall, evenly.
        steps: until it is down to a twentieth, where it stays.
        chance: whether errors are rounded by chance, from the seed of the step, instead of half up.

    Raises:
        ProgramError: CONSTANT, SHAPE.
    """

    name: str
    shape: LlamaShape
    sequences: int
    tokens: int
    rate: int = 1 << 13
    warm_up: int = 50
    steady: int = 500
    steps: int = 1000
    chance: bool = False

    def __post_init__(self) -> None:
        shape = self.shape
        require(
            shape.heads == shape.kv_heads,
            ProgramReason.SHAPE,
            f"{shape.kv_heads} heads of keys for {shape.heads} of queries, training takes as many",
        )
        require_constant("tokens of a sequence", self.tokens, 2, shape.positions)
        require_constant("a rate of", self.rate, 1, 1 << 20)
        require_constant("a rate that is steady until", self.steady, self.warm_up, self.steps)

    @property
    def rows(self) -> int:
        """Tokens of a shard."""
        return self.sequences * self.tokens

    def rate_at(self, step: int) -> int:
        """The rate of a step, counted from 0."""
        if step < self.warm_up:
            return max(1, self.rate * (step + 1) // self.warm_up)
        if step < self.steady:
            return self.rate
        left, span = max(0, self.steps - step), max(1, self.steps - self.steady)
        return max(1, self.rate // 20 + self.rate * 19 * left // (20 * span))


def matrices(shape: LlamaShape) -> list[str]:
    """The names of all tensors that are learned, as the backward pass gives their gradients."""
    layers = [layer_weight(layer, part) for layer in reversed(range(shape.layers)) for part in PARTS]
    return [HEAD, *layers, EMBEDDED]


def master_name(name: str) -> str:
    """The name of the numbers that updates add up to, much finer than those in use."""
    return f"master {name}"


def momentum_name(name: str) -> str:
    """The name of the running mean of a matrix's gradients."""
    return f"{name} momentum"


def gradient_name(name: str) -> str:
    """The name of a matrix's gradient."""
    return f"{name} gradient"


def layer_constants(shape: LlamaShape) -> LayerConstants:
    """The shifts that lead from each scale to the next."""
    product = NORMED + WEIGHT + UNIT
    return LayerConstants(
        norm_shift=NORM_BITS + GAIN - NORMED,
        shifts=(
            product - UNTURNED,
            product - UNTURNED,
            product - VALUE,
            VALUE + WEIGHT + UNIT - RESIDUAL,
            product - VALUE,
            product - VALUE,
            GATED + WEIGHT + UNIT - RESIDUAL,
        ),
        turn_shifts=(TURN_BITS + UNTURNED - VALUE,) * 2,
        # Scores, at scale 8, over sqrt(dim), as 256ths of powers of two.
        score_multiplier=isqrt(LOG2_E**2 // shape.head_dim),
        score_shift=16,
        mix_gain=256,
        gate_table=gate_table(),
        gate_shift=GATE_UNITS + VALUE - GATED,
    )


@cache
def gate_table() -> bytes:
    """SiLU of a gate."""
    return silu_table(1, 1 << VALUE, 1 << GATE_UNITS)


@cache
def slope_table() -> bytes:
    """The slope of SiLU."""
    return silu_slopes(1, 1 << VALUE, 1 << SLOPE_UNITS)


def epsilon(shape: LlamaShape) -> int:
    """What norms add to a sum of squares: 2^-17 for each."""
    return shape.width << (2 * RESIDUAL - 17)


@cache
def fixed_arrays(shape: LlamaShape) -> dict[str, Array]:
    """The tensors of a model that no step changes: turns, gains and scales."""
    arrays: dict[str, Array] = {}
    for name, spec in weight_specs(shape):
        if name == "turns":
            arrays[name] = rotary_table(spec.rows, spec.cols, BASE)
        elif "norm" in name or name.endswith("scale"):
            one = 1 << (UNIT if name.endswith("scale") else GAIN)
            arrays[name] = np.full((spec.rows, spec.cols), one, spec.dtype.numpy)
    return arrays


@cache
def fixed_weights(shape: LlamaShape) -> tuple[Weight, ...]:
    """What programs know of the tensors that no step changes."""
    specs, found = dict(weight_specs(shape)), []
    for name, array in fixed_arrays(shape).items():
        tree = RowTree(WEIGHTS, 0, spec=specs[name], array=array)
        found.append(Weight(name, specs[name], tree.root, int(array.min()), int(array.max())))
    return tuple(found)


def limits(name: str) -> tuple[int, int]:
    """What a matrix's masters and its numbers in use keep to."""
    return (EMBEDDING_LIMIT, 32767) if name == EMBEDDED else (WEIGHT_LIMIT, 127)


def model_manifest(training: TransformerTraining, checkpoint: Checkpoint) -> LlamaManifest:
    """The model that a checkpoint holds, as `pouw.models.llama` runs it.

    Args:
        training: the run.
        checkpoint: of it.
    """
    known = {weight.name: weight for weight in (*fixed_weights(training.shape), *checkpoint.tensors)}
    return manifest_of(training.shape, f"{training.name} {checkpoint.step}", known)


def manifest_of(shape: LlamaShape, name: str, known: Mapping[str, Weight]) -> LlamaManifest:
    """A model with the scales of training.

    Args:
        shape: the sizes.
        name: for people.
        known: its tensors by name, and perhaps others.
    """
    return LlamaManifest(
        name=name,
        shape=shape,
        epsilon=epsilon(shape),
        residual=DType.INT32,
        embedding_lift=RESIDUAL - EMBEDDING,
        layers=(layer_constants(shape),) * shape.layers,
        final_shift=NORM_BITS + GAIN - NORMED,
        logit_shift=NORMED + WEIGHT + UNIT - LOGIT,
        logit_multiplier=LOG2_E >> (LOGIT - 8),
        sample_shift=16,
        weights=tuple(known[label] for label, _ in weight_specs(shape)),
    )


def start_training(training: TransformerTraining, seed: bytes) -> TrainingState:
    """The checkpoint that a run starts from: even within bounds that keep the size of what is read.

    Args:
        training: the run.
        seed: of the weights.
    """
    shape, arrays = training.shape, dict(fixed_arrays(training.shape))
    specs = dict(weight_specs(shape))
    for number, name in enumerate(matrices(shape)):
        spec = specs[name]
        span, bound = 1 << MASTER, _first_bound(name, spec)
        even = random_below(seed, path=(number,), bound=2 * span, count=spec.rows * spec.cols) - span
        master = (even * bound >> MASTER).reshape(spec.rows, spec.cols).astype(np.int32)
        arrays[master_name(name)] = master
        arrays[momentum_name(name)] = np.zeros_like(master)
        arrays[name] = _in_use(name, master, spec)
    weights = Weights(arrays)
    return TrainingState(_checkpoint(shape, weights), weights)


def _first_bound(name: str, spec: TensorSpec) -> int:
    if name == EMBEDDED:
        return 1 << (MASTER - 1)
    halved = name == HEAD or name.endswith((" o", " down"))
    return isqrt((3 << 2 * MASTER) // spec.cols) >> halved


def _in_use(name: str, master: Array, spec: TensorSpec) -> Array:
    shift, (_, limit) = narrowing(name), limits(name)
    narrow: Array = np.clip((master.astype(np.int64) + (1 << shift >> 1)) >> shift, -limit, limit)
    return narrow.astype(spec.dtype.numpy)


def narrowing(name: str) -> int:
    """By how many bits a matrix in use is coarser than its masters."""
    return MASTER - (EMBEDDING if name == EMBEDDED else WEIGHT)


def _checkpoint(shape: LlamaShape, weights: Weights) -> Checkpoint:
    """The checkpoint before the first step, in the order in which updates give its tensors."""
    specs, tensors = dict(weight_specs(shape)), []
    for name in matrices(shape):
        wide = TensorSpec(specs[name].rows, specs[name].cols, DType.INT32)
        master, narrow = limits(name)
        for label, spec, limit in (
            (momentum_name(name), wide, MOMENTUM_LIMIT),
            (master_name(name), wide, master),
            (name, specs[name], narrow),
        ):
            tensors.append(Weight(label, spec, weights.tree(label).root, -limit, limit))
    return Checkpoint(0, tuple(tensors))
