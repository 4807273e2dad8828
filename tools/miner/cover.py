"""What a bond covers: how many shards the next commit may have, and which tasks go into it together.

The ledger refuses a commit whose stake exceeds what the open ones leave free of the bond, and takes its fee
all the same. So a miner works out what it may commit to before it works, with the ledger's own arithmetic.

Shards and tasks never share a commit: draws hit items in proportion to their units, so a small task with a
high payment is nearly safe from them among many shards, and would put many times its payment at stake.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from chain.execution.models import ModelRegistry
from chain.execution.stakes import shards_item, stake_of, task_item
from chain.types.params import ChainParams
from chain.types.transaction import MAX_TASKS_A_COMMIT
from tools.rpc.messages import AssignedTask


@dataclass(frozen=True, slots=True)
class Cover:
    """Stakes as the ledger will find them, in coins' base units."""

    params: ChainParams
    models: ModelRegistry

    @property
    def full(self) -> int:
        """What a commit of as many shards as one may have puts at stake."""
        return self.of_shards(self.params.max_commons_units)

    def of_shards(self, shards: int) -> int:
        """What a commit of shards alone puts at stake; never less for more of them."""
        return stake_of(
            [shards_item(shards, params=self.params, commons=self.models.commons)], params=self.params
        )

    def of_tasks(self, tasks: Sequence[AssignedTask]) -> int:
        """What a commit of tasks alone puts at stake; at least one task."""
        items = [
            task_item(self.models.get(task.model), rows=task.rows, payment=task.payment, params=self.params)
            for task in tasks
        ]
        return stake_of(items, params=self.params)

    def most_shards(self, free: int, *, at_most: int) -> int:
        """The largest number of shards whose stake is not above what is free; 0 if not even one is."""
        return bisect_right(range(1, at_most + 1), free, key=self.of_shards)

    def together(
        self, tasks: Sequence[AssignedTask], *, free: int, at_most: int = MAX_TASKS_A_COMMIT
    ) -> tuple[AssignedTask, ...]:
        """The tasks of the next commit: the most urgent ones, as far as the free bond covers them.

        A task that would make the commit dearer than two commits waits for the next one. One that finds too
        little free is not overtaken, or small ones could keep it waiting until it is too late.

        Args:
            tasks: In the miner's hands.
            free: Of the bond.
            at_most: So many, from 1 on.

        Returns:
            Ascending by id; none if even the most urgent one is not covered.
        """
        chosen: list[AssignedTask] = []
        stake = 0
        for task in sorted(tasks, key=lambda task: (task.due, task.id)):
            if len(chosen) == at_most:
                break
            joint = self.of_tasks([*chosen, task])
            if chosen and joint > stake + self.of_tasks([task]):
                continue
            if joint > free:
                break
            chosen.append(task)
            stake = joint
        return tuple(sorted(chosen, key=lambda task: task.id))
