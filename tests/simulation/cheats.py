"""Miners that want to be credited for work that was not done, not theirs, or done once and counted twice."""

from dataclasses import replace
from typing import TYPE_CHECKING

from chain.execution.records import Commit, Miner
from chain.state.tree import StateTree
from chain.types.transaction import Body, CommitWork, ProveWork
from tests.simulation.tiny_work import Work
from tests.simulation.worker import Worker

if TYPE_CHECKING:
    from tests.simulation.node import Node


class InvalidWork(Worker):
    """Commits to nothing, claims more than the work costs, or proves with bytes that are no proof."""

    def commit(self, work: Work) -> CommitWork:
        body, rng = super().commit(work), self.world.rng
        draw = rng.random()
        if draw < 0.4:
            return body
        self.world.faults["false commit"] += 1
        if draw < 0.6:
            return replace(body, units=body.units + rng.choice([-1, 1, body.units]))
        return replace(body, root=rng.randbytes(32))

    def committed(self, commit_id: bytes, body: CommitWork) -> None:
        self._done[commit_id] = self._latest
        if (body.root, body.units) == (self._latest.body.root, self._latest.body.units):
            self.world.watch.worked(commit_id, self.account, body.units)

    def prove(self, commit_id: bytes, commit: Commit, work: Work, beacon: bytes) -> ProveWork:
        true = super().prove(commit_id, commit, work, beacon)
        if self.world.rng.random() < 0.8:
            return true
        self.world.faults["false proof"] += 1
        where = self.world.rng.randrange(len(true.proof))
        flipped = bytes([true.proof[where] ^ 1])
        return ProveWork(commit_id, true.proof[:where] + flipped + true.proof[where + 1 :])


class StolenWork(Worker):
    """Puts its name under what others committed to and proved, as soon as it sees it."""

    def next_body(self, state: StateTree) -> Body | None:
        honest = super().next_body(state)
        if honest is None or self.world.rng.random() < 0.5:
            return honest
        stolen = self._stolen(state, honest)
        if stolen is None:
            return honest
        self.world.faults["stolen work"] += 1
        return stolen

    def committed(self, commit_id: bytes, body: CommitWork) -> None:
        if body is self._latest.body:
            super().committed(commit_id, body)

    def _stolen(self, state: StateTree, honest: Body) -> Body | None:
        """Another's proof under its own commit's name, another's proof as it is, or another's root."""
        blocks = [
            block
            for height in range(max(1, self.node.height - 12), self.node.height + 1)
            if (block := self.node.ledger.final_block(height)) is not None
        ]
        others = [
            signed.transaction.body
            for block in blocks
            for signed in block.transactions
            if signed.transaction.sender != self.account
        ]
        proofs = [body for body in others if isinstance(body, ProveWork)]
        commits = [body for body in others if isinstance(body, CommitWork) and not body.tasks]
        if isinstance(honest, ProveWork) and proofs:
            return replace(honest, proof=self.world.rng.choice(proofs).proof)
        if isinstance(honest, CommitWork) and self.world.rng.random() < 0.5:
            return self._others_open_proof(state)
        if isinstance(honest, CommitWork) and commits and honest.commons_count:
            return replace(honest, root=self.world.rng.choice(commits).root)
        return None

    def _others_open_proof(self, state: StateTree) -> ProveWork | None:
        """The proof of a commit that is still open, with the proof its own miner is about to send."""
        for node in self.world.nodes:
            if node.worker is None or node.worker is self:
                continue
            found = node.worker.next_proof(state)
            if found is not None:
                return found
        return None


class ReplayedWork(Worker):
    """Sends its proofs again, and the same range or root of work under a new commit."""

    def __init__(self, node: "Node") -> None:
        super().__init__(node)
        self._old: list[Body] = []

    def next_body(self, state: StateTree) -> Body | None:
        honest = super().next_body(state)
        if self._old and self.world.rng.random() < 0.4:
            self.world.faults["replayed work"] += 1
            return self.world.rng.choice(self._old)
        if honest is not None:
            self._old = [*self._old[-6:], honest]
        return honest

    def next_commit(self, state: StateTree, miner: Miner) -> CommitWork | None:
        body = super().next_commit(state, miner)
        before = [old for old in self._old if isinstance(old, CommitWork)]
        if body is None or not before or self.world.rng.random() < 0.7:
            return body
        # The next range of units, with the root of the one that is proven already.
        self.world.faults["replayed work"] += 1
        return replace(body, root=self.world.rng.choice(before).root)

    def committed(self, commit_id: bytes, body: CommitWork) -> None:
        if body is self._latest.body:
            super().committed(commit_id, body)


CHEATS: dict[str, type[Worker]] = {
    "invalid_work": InvalidWork,
    "stolen_work": StolenWork,
    "replayed_work": ReplayedWork,
}


def worker_of(node: "Node") -> Worker:
    """The miner of a node, with its habit if it has one."""
    habits = node.world.plan.habits
    habit = habits[node.seat] if node.seat < len(habits) else ""
    return CHEATS.get(habit, Worker)(node)
