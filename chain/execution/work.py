"""What a commit is made of, item by item: one list for the miner that builds it and the node that checks it.

The tasks come first, ascending by id, then one item for all shards of the commons together: its answer is the
miner's vote. Items are made when they are looked at.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import overload

from chain.execution.models import Commons, Model, ModelRegistry, Roots
from chain.hashing import digest
from pouw.proofs.verifier import WorkItem
from pouw.tensors import Array


@dataclass(frozen=True, slots=True)
class TaskWork:
    """A task as a commit covers it."""

    task_id: bytes
    model: bytes
    rows: int
    inputs: bytes
    answer: bytes
    roots: Roots = ()
    """The checkpoint that answered, if the model is in training."""


@dataclass(frozen=True, slots=True)
class CommonsWork:
    """Consecutive shards of one miner, and what they say together."""

    seed: bytes
    """From `commons_seed`."""
    roots: Roots
    """The checkpoint of the round."""
    start: int
    count: int
    vote: bytes
    """Packed, see `pouw.training.votes`."""


class CommitItems(Sequence[WorkItem]):
    """The items of a commit."""

    def __init__(
        self, tasks: Sequence[Callable[[], TaskWork]], commons: CommonsWork | None, *, models: ModelRegistry
    ) -> None:
        """Describe a commit.

        Args:
            tasks: Reads of the tasks, ascending by id; each is called when its item is looked at.
            commons: The shards, if there are any.
            models: The chain's models.
        """
        self._tasks = tasks
        self._commons = commons
        self._models = models

    def __len__(self) -> int:
        return len(self._tasks) + (self._commons is not None)

    @property
    def answered(self) -> range:
        """Indices of the items that have an answer: all of them."""
        return range(len(self))

    @overload
    def __getitem__(self, index: int) -> WorkItem: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[WorkItem]: ...
    def __getitem__(self, index: int | slice) -> WorkItem | Sequence[WorkItem]:
        """The item at a position."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(f"item {index} of {len(self)}")
        if index < len(self._tasks):
            task = self._tasks[index]()
            return task_item(task, self._models.get(task.model))
        assert self._commons is not None, "the last item is the commons'"
        return commons_item(self._commons, commons=self._models.commons)


def commons_seed(round_seed: bytes, miner: bytes) -> bytes:
    """Seed of a miner's shards in a round: unknown before it, different for every miner."""
    return digest("headrace/commons-seed", round_seed, miner)


def commons_item_id(seed: bytes, start: int, count: int) -> bytes:
    """Names a commit's shards.

    Args:
        seed: From `commons_seed`.
        start: The first shard.
        count: How many follow one another.
    """
    return digest("headrace/commons-shards", seed, start.to_bytes(8, "big"), count.to_bytes(8, "big"))


def commons_item(work: CommonsWork, *, commons: Commons) -> WorkItem:
    """The shards of a commit, whose vote is known to have the right form."""
    vote = commons.voted.shape.unpack(work.vote)
    assert not isinstance(vote, str), vote
    return WorkItem(
        commons_item_id(work.seed, work.start, work.count),
        commons.program(work.roots, work.count),
        partial(commons.input_row, work.seed, work.start),
        vote,
    )


def task_item(task: TaskWork, model: Model) -> WorkItem:
    """One task, whose inputs and answer are known to fit its model."""
    inputs = model.read_inputs(task.rows, task.inputs)
    answer = model.read_answer(task.rows, task.answer)
    assert not isinstance(inputs, str) and not isinstance(answer, str), f"{inputs} {answer}"

    def input_row(row: int) -> Array:
        alone: Array = inputs[row]
        return alone

    return WorkItem(task.task_id, model.program_at(task.rows, task.roots), input_row, answer)
