"""What execution knows of the models that tasks may ask for, and of the one that the chain trains.

Of a published model it knows programs and shapes, never a weight. The commons model is in the state, because
votes move it; `training` says how.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Final

import numpy as np

from pouw.program import Program
from pouw.tensors import Array, TensorSpec
from pouw.training.vote_program import checkpoint_of, in_use_specs, vote_program
from pouw.training.voted_training import Judgement, VotedTraining

_PROGRAMS_KEPT: Final = 64

CommonsRow = Callable[[bytes, int, int], Array]
"""``(seed, shard, row)`` -> one input row of a shard, 1-D: an image, its label and noise."""

Roots = tuple[bytes, ...]
"""Roots of a checkpoint's tensors in use, in the order of `pouw.training.vote_program.in_use_specs`; empty
for a model that never changes."""


@dataclass(frozen=True, slots=True)
class TaskShape:
    """What a task of so many rows costs and gives, without its program."""

    units: int
    """Of work."""
    tensors: int
    """Of the program, the input included."""
    answer: TensorSpec
    """The last op's output."""


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """One model of the chain, as all nodes know it."""

    model_id: bytes
    """Digest of its manifest, 32 bytes."""
    name: str
    """For people."""
    build: Callable[[int], Program]
    """The program for a batch of so many rows; pure. Of a model in training, that of its first weights."""
    input_low: int
    """Least value that an input may hold."""
    input_high: int
    """Greatest one."""
    rebuild: Callable[[int, Roots], Program] | None = None
    """Of a model in training: the program for so many rows at a checkpoint; pure."""
    _program: Callable[[int], Program] = field(init=False, repr=False)
    _shape: Callable[[int], TaskShape] = field(init=False, repr=False)
    _row: TensorSpec = field(init=False, repr=False)
    """Input of one row; that of more has so many of it."""

    def __post_init__(self) -> None:
        if len(self.model_id) != 32:
            raise ValueError(f"a model's id has 32 bytes, got {len(self.model_id)}")
        object.__setattr__(self, "_program", lru_cache(maxsize=_PROGRAMS_KEPT)(self.build))
        object.__setattr__(self, "_shape", cache(self._shape_of))
        object.__setattr__(self, "_row", self.program(1).tensors[0])

    @property
    def id(self) -> bytes:
        """The model's id."""
        return self.model_id

    def program(self, rows: int) -> Program:
        """The program for a batch of ``rows``."""
        return self._program(rows)

    def shape(self, rows: int) -> TaskShape:
        """What a task of ``rows`` rows, as many as a task may have, costs and gives.

        Its program is built once and for all: whatever asks for programs in turn and is refused, at the price
        of its bytes, must not have them built each time.
        """
        return self._shape(rows)

    def _shape_of(self, rows: int) -> TaskShape:
        program = self.program(rows)
        return TaskShape(program.units, len(program.tensors), program.tensors[program.last])

    def program_at(self, rows: int, roots: Roots) -> Program:
        """The program for a batch of ``rows`` at a checkpoint.

        Shapes and units are the same at every checkpoint.
        """
        if not roots:
            return self.program(rows)
        assert self.rebuild is not None, f"{self.name} is not in training"
        return self.rebuild(rows, roots)

    def input_bytes(self, rows: int) -> int:
        """Bytes of a task's inputs."""
        return rows * self._row.row_bytes

    def read_inputs(self, rows: int, inputs: bytes) -> Array | str:
        """The input tensor of a task, or a sentence on what is wrong with the bytes.

        No program is built for it: that takes far longer than the fee for bytes that are refused pays for.
        """
        row, expected = self._row, self.input_bytes(rows)
        if len(inputs) != expected:
            return f"{len(inputs)} bytes of input, {rows} rows of {row.cols} take {expected}"
        values = np.frombuffer(inputs, row.dtype.numpy).reshape(rows, row.cols)
        low, high = int(values.min()), int(values.max())
        if low < self.input_low or high > self.input_high:
            return f"inputs from {low} to {high}, the model takes {self.input_low} to {self.input_high}"
        return values

    def read_answer(self, rows: int, answer: bytes) -> Array | str:
        """The last op's output as an array, or a sentence on what is wrong with the bytes."""
        spec = self.shape(rows).answer
        expected = spec.rows * spec.cols * spec.dtype.size
        if len(answer) != expected:
            return f"{len(answer)} bytes of answer, the last op gives {expected}"
        return np.frombuffer(answer, spec.dtype.numpy).reshape(spec.rows, spec.cols)


@dataclass(frozen=True, slots=True, eq=False)
class Commons:
    """The model that miners train when nobody pays, as all nodes know it."""

    voted: VotedTraining
    """How it starts and what votes make of it."""
    row: CommonsRow
    judge: Callable[[Mapping[str, Array]], Judgement]
    """How good it is, on images that no shard shows; integers, the same on every machine."""
    _program: Callable[[Roots, int], Program] = field(init=False, repr=False)
    _costs: tuple[int, int] = field(init=False, repr=False)
    """Units whatever the number of shards, and for each."""
    _tensors: tuple[int, int] = field(init=False, repr=False)
    """Likewise."""

    def __post_init__(self) -> None:
        training = self.voted.training

        def build(roots: Roots, shards: int) -> Program:
            return vote_program(training, checkpoint_of(training, 0, roots), shards)

        object.__setattr__(self, "_program", lru_cache(maxsize=_PROGRAMS_KEPT)(build))
        anything = (bytes(32),) * len(in_use_specs(training))
        one, two = (build(anything, shards) for shards in (1, 2))
        object.__setattr__(self, "_costs", _fixed_and_each(one.units, two.units))
        object.__setattr__(self, "_tensors", _fixed_and_each(len(one.tensors), len(two.tensors)))

    @property
    def id(self) -> bytes:
        """The model's id, whatever it has learned."""
        return self.voted.digest

    @property
    def unit(self) -> int:
        """Work units of one more shard."""
        return self._costs[1]

    def units(self, shards: int) -> int:
        """Work units of a commit's shards, without its program."""
        fixed, each = self._costs
        return fixed + shards * each if shards else 0

    def tensors(self, shards: int) -> int:
        """How many tensors the work on a commit's shards leaves, without its program."""
        fixed, each = self._tensors
        return fixed + shards * each

    def program(self, roots: Roots, shards: int) -> Program:
        """The program whose answer is a vote.

        Args:
            roots: The checkpoint.
            shards: How many it looks at.
        """
        return self._program(roots, shards)

    def input_row(self, seed: bytes, start: int, row: int) -> Array:
        """A row of the input of a commit's shards, which follow one another.

        Args:
            seed: From `chain.execution.work.commons_seed`.
            start: The first shard.
            row: Counted through all shards.
        """
        batch = self.voted.training.batch
        return self.row(seed, start + row // batch, row % batch)


@dataclass(frozen=True, slots=True)
class ModelRegistry:
    """All models of a chain, the commons model among them."""

    models: Mapping[bytes, Model]
    """By id."""
    commons: Commons
    _ids: tuple[bytes, ...] = field(init=False, default=())

    def __post_init__(self) -> None:
        if self.commons.id not in self.models:
            raise ValueError("the commons model is not among the models")
        object.__setattr__(self, "_ids", tuple(sorted(self.models)))

    @property
    def ids(self) -> tuple[bytes, ...]:
        """Ids of all models, ascending."""
        return self._ids

    def find(self, model: bytes) -> Model | None:
        """The model of this id, if the chain has it."""
        return self.models.get(model)

    def get(self, model: bytes) -> Model:
        """A model that the chain is known to have."""
        return self.models[model]


def _fixed_and_each(one: int, two: int) -> tuple[int, int]:
    """What there is whatever the number of shards, and for each, from the sums for one and for two."""
    return 2 * one - two, two - one
