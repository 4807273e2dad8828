"""A small run of language model training for the tests: a text of few words, a few steps, commits of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from blake3 import blake3

from pouw.backends.backend import Backend
from pouw.models.llama import LlamaShape
from pouw.program import Program
from pouw.proofs.commitment import CommitBuilder
from pouw.proofs.verifier import Statement, WorkItem
from pouw.tensors import Array
from pouw.trace import Trace, run_program
from pouw.training.checkpoint import TrainingState, advance, kept_roots
from pouw.training.training_text import text_batch, text_row
from pouw.training.transformer_training import TransformerTraining, fixed_arrays, start_training
from pouw.training.transformer_training_programs import gradient_program, step_program
from tests.pouw.world import CHAIN, MINER, REFERENCE, int8s

SHAPE = LlamaShape(
    vocabulary=40, width=32, layers=2, heads=2, kv_heads=2, head_dim=16, hidden=48, positions=16
)
TRAINING = TransformerTraining("words", SHAPE, sequences=4, tokens=12, warm_up=4, steady=20, steps=40)
START = start_training(TRAINING, b"start")


def words(count: int = 600) -> Array:
    """Ten words of two to six letters, one after the other at random, each followed by a zero."""
    letters = np.abs(int8s("letters", 10, 6).astype(np.int64)) % 39 + 1
    which = np.abs(int8s("which", count).astype(np.int64)) % 10
    text = [[*letters[word][: 2 + word % 5], 0] for word in which]
    return np.array([letter for word in text for letter in word], np.int8)


TEXT = words()


def batch_of(index: int, training: TransformerTraining = TRAINING) -> Array:
    """A shard."""
    return text_batch(TEXT, seed=b"data", index=index, sequences=training.sequences, tokens=training.tokens)


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
        return blake3(b"text %d" % self.index).digest()

    def work(self) -> WorkItem:
        """What the chain knows."""

        def row(number: int) -> Array:
            if len(self.inputs) == 1:
                return np.zeros(1, np.int8)
            return text_row(TEXT, seed=b"data", index=self.index, row=number, tokens=TRAINING.tokens)

        return WorkItem(self.item_id, self.program, row, kept=self.claimed)


def step_unit(state: TrainingState, index: int, training: TransformerTraining = TRAINING) -> Unit:
    """A whole step."""
    program = step_program(training, state.checkpoint, b"noise %d" % index)
    return Unit(program, index, batch_of(index, training))


def gradient_unit(state: TrainingState, index: int, training: TransformerTraining = TRAINING) -> Unit:
    """A shard of a step."""
    program = gradient_program(training, state.checkpoint, b"noise %d" % index)
    return Unit(program, index, batch_of(index, training))


def step(
    state: TrainingState,
    index: int,
    backend: Backend = REFERENCE,
    training: TransformerTraining = TRAINING,
) -> TrainingState:
    """The state that an honest step leads to."""
    unit = step_unit(state, index, training)
    trace = run_program(unit.program, state.weights, unit.inputs, backend)
    return advance(state.checkpoint, unit.program, trace, constants=fixed_arrays(training.shape))


def commit(units: Sequence[tuple[Unit, Trace]]) -> tuple[CommitBuilder, Statement]:
    """Commit to traces; what each keeps is claimed as it is unless the unit says otherwise."""
    builder = CommitBuilder(CHAIN, MINER)
    items = []
    for unit, trace in units:
        claimed = unit.claimed or kept_roots(unit.program, trace)
        builder.add(unit.item_id, unit.program, trace, answered=True)
        items.append(Unit(unit.program, unit.index, unit.inputs, claimed).work())
    return builder, Statement(CHAIN, MINER, items, builder.root, builder.units)
