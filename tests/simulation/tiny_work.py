"""Real programs, commitments and proofs, of the smallest size: a commit takes a fifth of a millisecond."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from chain.codec import encode_fields
from chain.execution.models import ModelRegistry
from chain.execution.records import Task
from chain.execution.work import CommitItems, CommonsRange, TaskWork, commons_seed
from chain.types.transaction import CommitWork, TaskAnswer
from pouw.backends.reference import ReferenceBackend
from pouw.commitment import CommitBuilder
from pouw.generator import random_bytes
from pouw.tensors import Array
from pouw.trace import run_program
from tests.chain.execution.world import WIDTH, tiny_model

BATCH = 2
TINY = tiny_model("tiny")
MODEL = TINY.model.id


def _commons_row(seed: bytes, index: int, row: int) -> Array:
    drawn = np.frombuffer(random_bytes(seed, path=(index, row), count=WIDTH), np.uint8)
    return (drawn % 17).astype(np.int8)


@cache
def models() -> ModelRegistry:
    return ModelRegistry(
        models={MODEL: TINY.model}, commons_model=MODEL, commons_batch=BATCH, commons_row=_commons_row
    )


@dataclass(frozen=True, slots=True)
class Question:
    """A task as its miner sees it."""

    id: bytes
    task: Task
    inputs: bytes


@dataclass(slots=True)
class Work:
    """Traces bound to a commit's body."""

    builder: CommitBuilder
    body: CommitWork

    def prove(self, beacon: bytes, *, samples: int) -> bytes:
        return encode_fields(self.builder.prove(beacon, samples).to_fields())


def do_work(
    *, chain_id: str, miner: bytes, epoch: int, epoch_seed: bytes, start: int, count: int,
    questions: Sequence[Question],
) -> Work:  # fmt: skip
    """Run everything on the reference backend and bind it to the miner."""
    backend, registry = ReferenceBackend(), models()
    builder = CommitBuilder(chain_id.encode(), miner)
    tasks, answers = [], []
    for question in sorted(questions, key=lambda q: q.id):
        rows = question.task.rows
        program = TINY.model.program(rows)
        inputs = TINY.model.read_inputs(rows, question.inputs)
        assert not isinstance(inputs, str)
        trace = run_program(program, TINY.weights, inputs, backend)
        builder.add(question.id, program, trace, answered=True)
        answers.append(TaskAnswer(question.id, trace.answer.tobytes()))
        work = TaskWork(question.id, MODEL, rows, question.inputs, answers[-1].answer)
        tasks.append(lambda work=work: work)
    seed = commons_seed(epoch_seed, miner) if count else bytes(32)
    items = CommitItems(tasks, CommonsRange(seed, start, count), models=registry)
    for index in range(len(tasks), len(items)):
        item = items[index]
        rows_in = np.stack([item.input_row(row) for row in range(BATCH)])
        builder.add(item.item_id, item.program, run_program(item.program, TINY.weights, rows_in, backend))
    body = CommitWork(
        root=builder.root, units=builder.units, commons_epoch=epoch if count else 0,
        commons_start=start if count else 0, commons_count=count, tasks=tuple(answers),
    )  # fmt: skip
    return Work(builder, body)
