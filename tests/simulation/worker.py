"""A miner beside each node: registers, commits to real work, proves it, and begins anew; and the ways to
cheat.

What honest workers commit to is told to `Watch`, so that the auditor knows which work was real whatever the
ledger says of it.
"""

from typing import TYPE_CHECKING

from chain.execution import queries
from chain.execution.records import Commit, Miner, MinerStatus
from chain.execution.training import round_of
from chain.state.tree import StateTree
from chain.types.transaction import (
    Body,
    CommitWork,
    ProveWork,
    RegisterMiner,
    SignedTransaction,
    Transaction,
    possession_message,
    sign_transaction,
)
from tests.simulation.keys import miner_key
from tests.simulation.tiny_work import MODEL, Question, Turn, Work, do_work

if TYPE_CHECKING:
    from tests.simulation.node import Node

BOND = 100_000_000
MAX_BASE_FEE = 1 << 20
_TICK_MS = 1500
_REPEAT_TICKS = 3


class Worker:
    """One miner; survives the crashes of its node, as its work can be done again."""

    def __init__(self, node: "Node") -> None:
        self.node, self.world = node, node.world
        self.key = miner_key(node.seat)
        self._done: dict[bytes, Work] = {}
        """By commit, as long as the proof is due."""
        self._pending: SignedTransaction | None = None
        self._waited = 0
        self._looked_at = -1

    @property
    def account(self) -> bytes:
        return self.key.public_key

    def start(self) -> None:
        self.node.world.later(self.world.rng.randrange(_TICK_MS), self.node, self._tick)

    def _tick(self) -> None:
        self.world.later(_TICK_MS, self.node, self._tick)
        if self._pending is not None:
            if self._pending.id in self.node.ledger.mempool:
                self._waited += 1
                if self._waited % _REPEAT_TICKS == 0:
                    self.world.gossip(self.node, self._pending)
                return
            self._pending = None
        if self._looked_at != self.node.height:
            self._looked_at = self.node.height
            body = self.next_body(self.node.ledger.state)
            if body is not None:
                self.send(body)

    def next_body(self, state: StateTree) -> Body | None:
        """What an honest miner sends next."""
        miner = queries.miner(state, self.account)
        if miner is None or miner.status in (MinerStatus.SLASHED, MinerStatus.SUSPENDED):
            return self._registration(state)
        if miner.status is not MinerStatus.ACTIVE:
            return None
        return self.next_proof(state) or self.next_commit(state, miner)

    def next_proof(self, state: StateTree) -> ProveWork | None:
        for commit_id in queries.open_commits(state, self.account):
            commit = queries.commit(state, commit_id)
            assert commit is not None
            beacon = queries.beacon(state, commit.height + self.world.params.beacon_delay)
            work = self._done.get(commit_id)
            if beacon is not None and work is not None:
                return self.prove(commit_id, commit, work, beacon)
        return None

    def prove(self, commit_id: bytes, _commit: Commit, work: Work, beacon: bytes) -> ProveWork:
        return ProveWork(commit_id, work.prove(beacon, samples=self.world.params.samples))

    def next_commit(self, state: StateTree, miner: Miner) -> CommitWork | None:
        """Shards once a round, and tasks whenever there are any."""
        if miner.open_commits:
            return None
        params = self.world.params
        number = round_of(self.node.height + 1, params=params)
        start = queries.next_shard(state, number, self.account)
        count = 0 if start else self.world.rng.choice([1, 2, 2, 3])
        questions = [self._question(state, task) for task in queries.assigned_tasks(state, self.account)]
        if not count and not questions:
            return None
        trained = queries.training_round(state, number)
        assert trained is not None
        numbers = queries.checkpoint(state, trained.step)
        assert numbers is not None
        work = do_work(
            chain_id=params.chain_id, miner=self.account, turn=Turn(number, trained, numbers), start=start,
            count=count, questions=questions,
        )  # fmt: skip
        return self.commit(work)

    def commit(self, work: Work) -> CommitWork:
        self._latest = work
        return work.body

    def send(self, body: Body) -> SignedTransaction:
        """Sign with the next free nonce and tell everybody."""
        ledger = self.node.ledger
        nonce = queries.account(ledger.state, self.account).nonce
        nonce = ledger.mempool.next_nonce(self.account, nonce)
        transaction = Transaction(
            self.world.params.chain_id, self.account, nonce, MAX_BASE_FEE, self.world.rng.randrange(3), body
        )
        signed = sign_transaction(transaction, self.key)
        if isinstance(body, CommitWork):
            self.committed(signed.id, body)
        self._pending, self._waited = signed, 0
        self.world.gossip(self.node, signed)
        return signed

    def committed(self, commit_id: bytes, body: CommitWork) -> None:
        """A commit to real work is on its way."""
        if len(self._done) > 8:
            self._done.pop(next(iter(self._done)))
        self._done[commit_id] = self._latest
        self.world.watch.worked(commit_id, self.account, body.units)

    def _registration(self, state: StateTree) -> RegisterMiner | None:
        if queries.account(state, self.account).balance < 2 * BOND:
            return None
        consensus = self.node.key
        tied = queries.miner_of(state, consensus.public_key)
        if tied not in (None, self.account):
            return None
        possession = consensus.sign(possession_message(self.world.params.chain_id, self.account))
        return RegisterMiner(consensus.public_key, possession, BOND, (MODEL,))

    @staticmethod
    def _question(state: StateTree, task_id: bytes) -> Question:
        task, inputs = queries.task(state, task_id), queries.task_inputs(state, task_id)
        assert task is not None and inputs is not None
        return Question(task_id, task, inputs)
