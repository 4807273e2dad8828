"""What a commit is made of, item by item: one list for the miner that builds it and the node that checks it.

Order of the items: the tasks, ascending by id, then the commons units, ascending by index. Items are made
when they are looked at, so a node that checks a proof builds the few that were drawn and not all thousand.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import overload

from chain.execution.models import Model, ModelRegistry
from chain.hashing import digest
from pouw.tensors import Array
from pouw.verifier import WorkItem


@dataclass(frozen=True, slots=True)
class TaskWork:
    """A task as a commit covers it."""

    task_id: bytes
    model: bytes
    rows: int
    inputs: bytes
    answer: bytes


@dataclass(frozen=True, slots=True)
class CommonsRange:
    """Consecutive commons units of one miner."""

    seed: bytes
    """From `commons_seed`."""
    start: int
    count: int


class CommitItems(Sequence[WorkItem]):
    """The items of a commit."""

    def __init__(
        self, tasks: Sequence[Callable[[], TaskWork]], commons: CommonsRange, *, models: ModelRegistry
    ) -> None:
        """Describe a commit.

        Args:
            tasks: Reads of the tasks, ascending by id; each is called when its item is looked at.
            commons: The commons units, possibly none.
            models: The chain's models.
        """
        self._tasks = tasks
        self._commons = commons
        self._models = models

    def __len__(self) -> int:
        return len(self._tasks) + self._commons.count

    @property
    def answered(self) -> range:
        """Indices of the items that have an answer: the tasks."""
        return range(len(self._tasks))

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
        return commons_item(
            self._commons.seed, self._commons.start + index - len(self._tasks), models=self._models
        )


def commons_seed(epoch_seed: bytes, miner: bytes) -> bytes:
    """Seed of a miner's commons units in an epoch: unknown before it, different for every miner."""
    return digest("headrace/commons-seed", epoch_seed, miner)


def commons_item(seed: bytes, index: int, *, models: ModelRegistry) -> WorkItem:
    """One commons unit.

    Args:
        seed: From `commons_seed`.
        index: Number of the unit in its epoch.
        models: The chain's models.
    """

    def input_row(row: int) -> Array:
        return models.commons_row(seed, index, row)

    item_id = digest("headrace/commons-unit", seed, index.to_bytes(8, "big"))
    return WorkItem(item_id, models.commons_program, input_row)


def task_item(task: TaskWork, model: Model) -> WorkItem:
    """One task, whose inputs and answer are known to fit its model."""
    inputs = model.read_inputs(task.rows, task.inputs)
    answer = model.read_answer(task.rows, task.answer)
    assert not isinstance(inputs, str) and not isinstance(answer, str), f"{inputs} {answer}"
    return WorkItem(task.task_id, model.program(task.rows), inputs.__getitem__, answer)
