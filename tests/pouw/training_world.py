"""A small training run for the tests: ten prototypes to tell apart, a few steps, and commits of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from blake3 import blake3

from pouw.backends.backend import Backend
from pouw.program import Program
from pouw.proofs.commitment import CommitBuilder
from pouw.proofs.verifier import Statement, WorkItem
from pouw.tensors import Array
from pouw.trace import Trace, run_program
from pouw.training.checkpoint import TrainingState, advance, kept_roots
from pouw.training.mlp_training import MlpTraining, constants, gradient_program, start_training, step_program
from pouw.training.training_data import TrainingImages, training_batch, training_row
from tests.pouw.world import CHAIN, MINER, REFERENCE, int8s

TRAINING = MlpTraining("prototypes", (64, 24, 16, 10), batch=16)
START = start_training(TRAINING, b"start")


def prototypes(count: int = 200) -> TrainingImages:
    """Ten random images of 4 x 4 blocks, each with many variations: a tenth of the pixels are others."""
    labels = (np.abs(int8s("labels", count, 1).astype(np.int16)) % 10).astype(np.int8)[:, 0]
    coarse = np.where(int8s("prototypes", 10, 4, 4) < 0, 0, 16).astype(np.int8)
    pure = coarse.repeat(2, axis=1).repeat(2, axis=2).reshape(10, 64)
    other = (np.abs(int8s("variations", count, 64).astype(np.int16)) % 17).astype(np.int8)
    return TrainingImages(np.where(int8s("which", count, 64) < -102, other, pure[labels]), labels)


DATA = prototypes()


def batch_of(training: MlpTraining, index: int) -> Array:
    """A shard."""
    return training_batch(DATA, seed=b"data", index=index, batch=training.batch, noise=training.noise)


@dataclass(frozen=True)
class Unit:
    """One item of training work as both sides know it."""

    program: Program
    index: int
    inputs: Array
    claimed: tuple[bytes, ...] | None = None

    @property
    def item_id(self) -> bytes:
        """Its name on the chain."""
        return blake3(b"training %d" % self.index).digest()

    def work(self) -> WorkItem:
        """What the chain knows."""

        def row(number: int) -> Array:
            if self.inputs.shape[1] == 1:
                return np.zeros(1, np.int8)
            noise = self.inputs.shape[1] - 65
            return training_row(DATA, seed=b"data", index=self.index, row=number, noise=noise)

        return WorkItem(self.item_id, self.program, row, kept=self.claimed)


def step_unit(state: TrainingState, index: int, training: MlpTraining = TRAINING) -> Unit:
    """A whole step."""
    program = step_program(training, state.checkpoint, b"noise %d" % index)
    return Unit(program, index, batch_of(training, index))


def gradient_unit(state: TrainingState, index: int, training: MlpTraining = TRAINING) -> Unit:
    """A shard of a step."""
    return Unit(gradient_program(training, state.checkpoint), index, batch_of(training, index))


def step(state: TrainingState, index: int, backend: Backend = REFERENCE) -> TrainingState:
    """The state that an honest step leads to."""
    unit = step_unit(state, index)
    trace = run_program(unit.program, state.weights, unit.inputs, backend)
    return advance(state.checkpoint, unit.program, trace, constants=constants(TRAINING))


def commit(units: Sequence[tuple[Unit, Trace]]) -> tuple[CommitBuilder, Statement]:
    """Commit to traces; what each keeps is claimed as it is unless the unit says otherwise."""
    builder = CommitBuilder(CHAIN, MINER)
    items = []
    for unit, trace in units:
        claimed = unit.claimed or kept_roots(unit.program, trace)
        builder.add(unit.item_id, unit.program, trace, answered=True)
        items.append(Unit(unit.program, unit.index, unit.inputs, claimed).work())
    return builder, Statement(CHAIN, MINER, items, builder.root, builder.units)
