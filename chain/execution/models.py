"""What execution knows of the models that tasks may ask for: programs and shapes, never a weight."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

import numpy as np

from pouw.program import Program
from pouw.tensors import Array

_PROGRAMS_KEPT: Final = 64

CommonsRow = Callable[[bytes, int, int], Array]
"""``(seed, index, row)`` -> one input row of a commons unit, 1-D, of the commons program's input type."""


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """One model of the chain, as all nodes know it."""

    model_id: bytes
    """Digest of its manifest, 32 bytes."""
    name: str
    """For people."""
    build: Callable[[int], Program]
    """The program for a batch of so many rows; pure."""
    input_low: int
    """Least value that an input may hold."""
    input_high: int
    """Greatest one."""
    _program: Callable[[int], Program] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if len(self.model_id) != 32:
            raise ValueError(f"a model's id has 32 bytes, got {len(self.model_id)}")
        object.__setattr__(self, "_program", lru_cache(maxsize=_PROGRAMS_KEPT)(self.build))

    @property
    def id(self) -> bytes:
        """The model's id."""
        return self.model_id

    def program(self, rows: int) -> Program:
        """The program for a batch of ``rows``."""
        return self._program(rows)

    def read_inputs(self, rows: int, inputs: bytes) -> Array | str:
        """The input tensor of a task, or a sentence on what is wrong with the bytes."""
        spec = self.program(rows).tensors[0]
        expected = spec.rows * spec.cols * spec.dtype.size
        if len(inputs) != expected:
            return f"{len(inputs)} bytes of input, {rows} rows of {spec.cols} take {expected}"
        values = np.frombuffer(inputs, spec.dtype.numpy).reshape(spec.rows, spec.cols)
        low, high = int(values.min()), int(values.max())
        if low < self.input_low or high > self.input_high:
            return f"inputs from {low} to {high}, the model takes {self.input_low} to {self.input_high}"
        return values

    def read_answer(self, rows: int, answer: bytes) -> Array | str:
        """The last op's output as an array, or a sentence on what is wrong with the bytes."""
        program = self.program(rows)
        spec = program.tensors[program.last]
        expected = spec.rows * spec.cols * spec.dtype.size
        if len(answer) != expected:
            return f"{len(answer)} bytes of answer, the last op gives {expected}"
        return np.frombuffer(answer, spec.dtype.numpy).reshape(spec.rows, spec.cols)


@dataclass(frozen=True, slots=True)
class ModelRegistry:
    """All models of a chain, and the source of its commons work."""

    models: Mapping[bytes, Model]
    """By id."""
    commons_model: bytes
    commons_batch: int
    """Rows of one commons unit."""
    commons_row: CommonsRow
    _ids: tuple[bytes, ...] = field(init=False, default=())

    def __post_init__(self) -> None:
        if self.commons_model not in self.models:
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

    @property
    def commons_program(self) -> Program:
        """The program of one commons unit."""
        return self.models[self.commons_model].program(self.commons_batch)
