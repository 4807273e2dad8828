"""Real programs, commitments and proofs, of the smallest size: a commit takes a fifth of a millisecond."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from chain.codec import encode_fields
from chain.execution.models import ModelRegistry
from chain.execution.records import Round, Task
from chain.execution.work import commons_item_id, commons_seed
from chain.types.transaction import CommitWork, TaskAnswer
from pouw.backends.reference import ReferenceBackend
from pouw.proofs.commitment import CommitBuilder
from pouw.trace import run_program
from tests.chain.execution.tiny import commons_model, tiny_commons, tiny_model

BATCH = 2
TINY = tiny_model("tiny")
MODEL = TINY.model.id


@cache
def models() -> ModelRegistry:
    commons = tiny_commons(BATCH)
    return ModelRegistry(models={MODEL: TINY.model, commons.id: commons_model(commons)}, commons=commons)


@dataclass(frozen=True, slots=True)
class Turn:
    """A round of training, and the model that it began with."""

    number: int
    round: Round
    numbers: bytes


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
    *, chain_id: str, miner: bytes, turn: Turn, start: int, count: int, questions: Sequence[Question]
) -> Work:
    """Run everything on the reference backend and bind it to the miner."""
    backend, commons = ReferenceBackend(), models().commons
    builder = CommitBuilder(chain_id.encode(), miner)
    answers = []
    for question in sorted(questions, key=lambda q: q.id):
        rows = question.task.rows
        program = TINY.model.program(rows)
        inputs = TINY.model.read_inputs(rows, question.inputs)
        assert not isinstance(inputs, str)
        trace = run_program(program, TINY.weights, inputs, backend)
        builder.add(question.id, program, trace, answered=True)
        answers.append(TaskAnswer(question.id, trace.answer.tobytes()))
    vote = b""
    if count:
        seed, program = commons_seed(turn.round.seed, miner), commons.program(turn.round.roots, count)
        rows_in = np.stack([commons.input_row(seed, start, row) for row in range(count * BATCH)])
        trace = run_program(program, commons.voted.weights(turn.numbers), rows_in, backend)
        builder.add(commons_item_id(seed, start, count), program, trace, answered=True)
        vote = commons.voted.shape.pack(trace.answer)
    body = CommitWork(
        root=builder.root, units=builder.units, commons_round=turn.number if count else 0,
        commons_start=start if count else 0, commons_count=count, vote=vote, tasks=tuple(answers),
    )  # fmt: skip
    return Work(builder, body)
