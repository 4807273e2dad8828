"""The work itself: running programs, committing to their traces, opening what is drawn.

Everything here blocks and belongs into a thread. What it makes is checked before it leaves: a wrong proof
burns the bond, a missing one what the commit put at stake, so a machine that computes wrongly had better say
nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from chain.codec import encode_fields
from chain.execution.models import ModelRegistry, Roots
from chain.execution.work import CommitItems, CommonsWork, TaskWork, commons_item_id, commons_seed
from chain.types.transaction import CommitWork, TaskAnswer
from pouw.backends.backend import Backend
from pouw.program import Program
from pouw.proofs.commitment import CommitBuilder, CommitFull
from pouw.proofs.proof import ProofError
from pouw.proofs.verifier import Statement, check_proof
from pouw.tensors import Array
from pouw.weights import Weights
from tools.miner.plan import CommonsJob, TrainingRound

CommonsInputs = Callable[[bytes, int, int], Array]
"""(seed, first shard, how many) -> the input of so many shards, one after the other."""


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
class TrainedModel:
    """The commons model as a round uses it."""

    round: TrainingRound
    roots: Roots
    weights: Weights


@dataclass(frozen=True, slots=True)
class Finished:
    """Work that was done, ready to be committed and later proven."""

    builder: CommitBuilder
    tasks: tuple[TaskJob, ...]
    answers: tuple[TaskAnswer, ...]
    """In the tasks' order."""
    commons: CommonsJob | None
    model: TrainedModel
    vote: bytes
    """What the shards say; empty without any."""

    @property
    def root(self) -> bytes:
        """What the commit binds."""
        return self.builder.root

    @property
    def units(self) -> int:
        """What it cost."""
        return self.builder.units

    def uses_round(self, *, commons_model: bytes) -> bool:
        """Whether it follows from a round's checkpoint, and so holds for that round and the next alone."""
        return self.commons is not None or any(task.model == commons_model for task in self.tasks)

    def body(self, *, commons_model: bytes) -> CommitWork:
        """What goes to the ledger."""
        used = self.uses_round(commons_model=commons_model)
        return CommitWork(
            root=self.root,
            units=self.units,
            commons_round=self.model.round.number if used else 0,
            commons_start=0 if self.commons is None else self.commons.start,
            commons_count=0 if self.commons is None else self.commons.count,
            vote=self.vote,
            tasks=self.answers,
        )


@dataclass(frozen=True, slots=True)
class Workshop:
    """One machine's means to work for one miner on one chain."""

    chain_id: str
    miner: bytes
    samples: int
    models: ModelRegistry
    weights: Mapping[bytes, Weights]
    """By model, of those that never change."""
    commons_inputs: CommonsInputs
    backend: Backend
    held_bytes: int
    """Traces that one commit may keep in memory; what does not fit is run again when it is drawn."""

    def trained(self, turn: TrainingRound, numbers: bytes) -> TrainedModel:
        """The commons model from its numbers on the ledger."""
        voted = self.models.commons.voted
        return TrainedModel(turn, voted.roots(numbers), voted.weights(numbers))

    def work(self, tasks: Sequence[TaskJob], commons: CommonsJob | None, model: TrainedModel) -> Finished:
        """Run tasks and shards, in the order in which execution expects them in a commit."""
        builder = CommitBuilder(self.chain_id.encode(), self.miner, held_bytes=self.held_bytes)
        ordered = tuple(sorted(tasks, key=lambda task: task.id))
        answers = tuple(self._add_task(builder, task, model) for task in ordered)
        vote = b"" if commons is None else self._add_commons(builder, commons, model)
        return Finished(builder, ordered, answers, commons, model, vote)

    def prove(self, finished: Finished, *, beacon: bytes) -> bytes:
        """The encoded proof, checked as every node will check it.

        Raises:
            Unprovable: The check fails: this machine computed wrongly.
        """
        proof = finished.builder.prove(beacon, self.samples)
        answers = {item.task: item.answer for item in finished.answers}
        works = [
            TaskWork(t.id, t.model, t.rows, t.inputs, answers[t.id], self._roots(t, finished.model))
            for t in finished.tasks
        ]
        job, model = finished.commons, finished.model
        commons = None
        if job is not None:
            seed = commons_seed(model.round.seed, self.miner)
            commons = CommonsWork(seed, model.roots, job.start, job.count, finished.vote)
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

    def _roots(self, task: TaskJob, model: TrainedModel) -> Roots:
        return model.roots if task.model == self.models.commons.id else ()

    def _add_task(self, builder: CommitBuilder, task: TaskJob, trained: TrainedModel) -> TaskAnswer:
        model, roots = self.models.get(task.model), self._roots(task, trained)
        program = model.program_at(task.rows, roots)
        inputs = model.read_inputs(task.rows, task.inputs)
        assert not isinstance(inputs, str), f"the chain took a task whose {inputs}"
        weights = trained.weights if roots else self.weights[task.model]
        return TaskAnswer(task.id, self._add(builder, task.id, program, weights, inputs).tobytes())

    def _add_commons(self, builder: CommitBuilder, job: CommonsJob, model: TrainedModel) -> bytes:
        commons = self.models.commons
        seed = commons_seed(model.round.seed, self.miner)
        program = commons.program(model.roots, job.count)
        inputs = self.commons_inputs(seed, job.start, job.count)
        item_id = commons_item_id(seed, job.start, job.count)
        return commons.voted.shape.pack(self._add(builder, item_id, program, model.weights, inputs))

    def _add(
        self, builder: CommitBuilder, item_id: bytes, program: Program, weights: Weights, inputs: Array
    ) -> Array:
        """Run an item and commit to it; returns its answer."""
        about = (item_id, program, weights, inputs, self.backend)
        try:
            return builder.work(*about, answered=True).answer
        except CommitFull:
            return builder.work(*about, answered=True, rerun=True).answer


def _reader(work: TaskWork) -> Callable[[], TaskWork]:
    return lambda: work
