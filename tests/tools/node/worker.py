"""A miner reduced to its deeds, so that a test can do each of them, also wrongly."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from chain.crypto.ed25519 import SecretKey
from chain.execution import queries
from chain.execution.training import round_of
from chain.reasons import Reason
from chain.types.receipt import Receipt
from chain.types.transaction import (
    Body,
    CommitWork,
    ProveWork,
    RegisterMiner,
    Transaction,
    possession_message,
    sign_transaction,
)
from pouw.backends.select import select_backend
from tests.tools.node.cluster import Cluster, consensus_key, miner_key
from tools.miner.models import commons_inputs, weights_by_model
from tools.miner.plan import CommonsJob, TrainingRound
from tools.miner.workshop import Finished, TaskJob, Workshop
from tools.node.node import Node


@dataclass
class Worker:
    """Miner number ``index`` of a cluster, talking to the node of the same number."""

    cluster: Cluster
    index: int
    workshop: Workshop = field(init=False)

    def __post_init__(self) -> None:
        node = self.cluster.nodes[self.index]
        params = node.genesis.params
        self.workshop = Workshop(
            chain_id=params.chain_id, miner=self.secret.public_key, samples=params.samples,
            models=node.models, weights=weights_by_model(),
            commons_inputs=commons_inputs(node.models.commons), backend=select_backend("reference"),
            held_bytes=1 << 26,
        )  # fmt: skip

    @property
    def secret(self) -> SecretKey:
        return miner_key(self.index)

    async def send(self, body: Body, *, secret: SecretKey | None = None) -> tuple[bytes, Receipt]:
        """Send and wait until it is final; the id and the receipt, the same on every node."""
        node, secret = self.cluster.nodes[self.index], secret or self.secret
        nonce = queries.account(node.state, secret.public_key).nonce
        signed = sign_transaction(
            Transaction(node.genesis.params.chain_id, secret.public_key, nonce, 10, 1, body), secret
        )
        reason = await node.submit(signed)
        assert reason is Reason.OK, reason
        while (place := node.store.find_transaction(signed.id)) is None:
            await node.wait_beyond(node.head.height)
        await self.cluster.reach(place[0])
        receipts = {n.store.outcome(place[0]).receipts[place[1]] for n in self.cluster.nodes.values()}
        [receipt] = receipts
        assert receipt.transaction == signed.id
        return signed.id, receipt

    async def register(self) -> None:
        chain_id = self.cluster.genesis.params.chain_id
        consensus = consensus_key(self.index)
        _, receipt = await self.send(
            RegisterMiner(
                consensus_key=consensus.public_key,
                possession=consensus.sign(possession_message(chain_id, self.secret.public_key)),
                bond=self.cluster.genesis.params.min_bond,
                models=self.cluster.genesis.models,
            )
        )
        assert receipt.reason is Reason.OK, receipt

    def work(self, tasks: Sequence[TaskJob], *, units: int) -> Finished:
        """Do tasks, and the next shards of the current round."""
        state, params = self._node.state, self._node.genesis.params
        number = round_of(self._node.head.height + 1, params=params)
        trained = queries.training_round(state, number)
        assert trained is not None
        numbers = queries.checkpoint(state, trained.step)
        assert numbers is not None
        model = self.workshop.trained(TrainingRound(number, trained.seed, trained.step), numbers)
        start = queries.next_shard(state, number, self.secret.public_key)
        return self.workshop.work(tasks, CommonsJob(start, units) if units else None, model)

    def commit_of(self, finished: Finished) -> CommitWork:
        return finished.body(commons_model=self._node.models.commons.id)

    async def beacon_of(self, commit: bytes) -> bytes:
        """The beacon that draws the commit's cells, once it exists."""
        node = self.cluster.nodes[self.index]
        record = queries.commit(node.state, commit)
        assert record is not None
        due = record.height + node.genesis.params.beacon_delay
        await self.cluster.reach(due)
        beacon = queries.beacon(node.state, due)
        assert beacon is not None
        return beacon

    async def prove(self, commit: bytes, finished: Finished) -> Receipt:
        proof = self.workshop.prove(finished, beacon=await self.beacon_of(commit))
        _, receipt = await self.send(ProveWork(commit, proof))
        return receipt

    @property
    def _node(self) -> Node:
        return self.cluster.nodes[self.index]
