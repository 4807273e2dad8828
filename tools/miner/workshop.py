"""The work itself: running programs, committing to their traces, opening what is drawn.

Everything here blocks and belongs into a thread. What it makes is checked before it leaves: a wrong proof
burns the bond, a missing one a small part of it, so a machine that computes wrongly had better say nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from chain.codec import encode_fields
from chain.execution.models import ModelRegistry
from chain.execution.work import CommitItems, CommonsRange, TaskWork, commons_item, commons_seed, task_item
from chain.types.transaction import TaskAnswer
from pouw.backends.backend import Backend
from pouw.commitment import CommitBuilder, CommitFull
from pouw.proof import ProofError
from pouw.tensors import Array
from pouw.trace import Trace, run_program
from pouw.verifier import Statement, check_proof
from pouw.weights import Weights
from tools.miner.plan import CommonsJob

CommonsInputs = Callable[[bytes, int, int], Array]
"""(seed, index, rows) -> the input of a commons unit."""


class Unprovable(Exception):  # noqa: N818 - a state of this machine
    """This machine cannot prove what was committed; the message says why."""


@dataclass(frozen=True, slots=True)
class TaskJob:
    """A task to run."""

    id: bytes
    model: bytes
    rows: int
    inputs: bytes


@dataclass(frozen=True, slots=True)
class Finished:
    """Work that was done, ready to be committed and later proven."""

    builder: CommitBuilder
    tasks: tuple[TaskJob, ...]
    answers: tuple[TaskAnswer, ...]
    """In the tasks' order."""
    commons: CommonsJob | None
    """As far as it was done: memory may end before the range does."""

    @property
    def root(self) -> bytes:
        """What the commit binds."""
        return self.builder.root

    @property
    def units(self) -> int:
        """What it cost."""
        return self.builder.units


@dataclass(frozen=True, slots=True)
class Workshop:
    """One machine's means to work for one miner on one chain."""

    chain_id: str
    miner: bytes
    samples: int
    models: ModelRegistry
    weights: Mapping[bytes, Weights]
    """By model."""
    commons_inputs: CommonsInputs
    backend: Backend
    held_bytes: int
    """Traces that one commit may keep in memory."""

    def work(self, tasks: Sequence[TaskJob], commons: CommonsJob | None) -> Finished:
        """Run tasks and commons units, in the order in which execution expects them in a commit."""
        builder = CommitBuilder(self.chain_id.encode(), self.miner, held_bytes=self.held_bytes)
        ordered = tuple(sorted(tasks, key=lambda task: task.id))
        answers = tuple(self._add_task(builder, task) for task in ordered)
        return Finished(builder, ordered, answers, self._add_commons(builder, commons, alone=not ordered))

    def prove(self, finished: Finished, *, beacon: bytes) -> bytes:
        """The encoded proof, checked as every node will check it.

        Raises:
            Unprovable: The check fails: this machine computed wrongly.
        """
        proof = finished.builder.prove(beacon, self.samples)
        answers = {item.task: item.answer for item in finished.answers}
        works = [TaskWork(t.id, t.model, t.rows, t.inputs, answers[t.id]) for t in finished.tasks]
        job = finished.commons
        commons = (
            CommonsRange(bytes(32), 0, 0)
            if job is None
            else CommonsRange(commons_seed(job.seed, self.miner), job.start, job.count)
        )
        items = CommitItems([_reader(work) for work in works], commons, models=self.models)
        statement = Statement(
            chain_id=self.chain_id.encode(), miner=self.miner, items=items, root=finished.root,
            units=finished.units, answered=items.answered,
        )  # fmt: skip
        try:
            check_proof(statement, proof, seed=beacon, samples=self.samples)
        except ProofError as error:
            raise Unprovable(f"our own proof does not hold: {error.reason.name}: {error.message}") from error
        return encode_fields(proof.to_fields())

    def _add_task(self, builder: CommitBuilder, task: TaskJob) -> TaskAnswer:
        model = self.models.get(task.model)
        program, weights = model.program(task.rows), self.weights[task.model]
        inputs = model.read_inputs(task.rows, task.inputs)
        assert not isinstance(inputs, str), f"the chain took a task whose {inputs}"
        trace = run_program(program, weights, inputs, self.backend)
        answer = trace.answer.tobytes()
        item = task_item(TaskWork(task.id, task.model, task.rows, task.inputs, answer), model)
        try:
            builder.add(item.item_id, program, trace, answered=True)
        except CommitFull:
            # Somebody waits for it: run it again when it is drawn rather than leave it out.
            def recall(values: Array = inputs) -> Trace:
                return run_program(program, weights, values, self.backend)

            builder.add(item.item_id, program, trace, answered=True, recall=recall)
        return TaskAnswer(task.id, answer)

    def _add_commons(
        self, builder: CommitBuilder, job: CommonsJob | None, *, alone: bool
    ) -> CommonsJob | None:
        if job is None:
            return None
        seed, program = commons_seed(job.seed, self.miner), self.models.commons_program
        weights = self.weights[self.models.commons_model]
        done = 0
        for index in range(job.start, job.start + job.count):
            trace = run_program(
                program, weights, self.commons_inputs(seed, index, self.models.commons_batch), self.backend
            )
            try:
                builder.add(commons_item(seed, index, models=self.models).item_id, program, trace)
            except CommitFull:
                assert done or not alone, f"one commons unit of {trace.size} bytes is more than may be held"
                break
            done += 1
        return CommonsJob(job.epoch, job.seed, job.start, done) if done else None


def _reader(work: TaskWork) -> Callable[[], TaskWork]:
    return lambda: work
