"""The mempool under whatever comes: its bounds hold, its bookkeeping agrees, and it knows its least tail."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from chain.codec import encode
from chain.execution import queries
from chain.mempool import Mempool, MempoolLimits
from chain.reasons import Reason
from chain.types.transaction import SubmitTask, Transfer
from tests.chain.execution.world import MODEL, PARAMS, World, key

BOB = key("bob").public_key


class Pool(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.world = World(accounts=("alice", "bob", "carol"))
        self.pool = Mempool(PARAMS, MempoolLimits(transactions=6, bytes=1_500, per_sender=4, gap=2))

    @rule(
        name=st.sampled_from(["alice", "bob", "carol"]), ahead=st.integers(0, 4), tip=st.integers(0, 5),
        amount=st.integers(1, 3), padding=st.sampled_from([0, 300]), highest=st.integers(1, 5),
    )  # fmt: skip
    def add(self, name, ahead, tip, amount, padding, highest):
        body = SubmitTask(MODEL, 1, bytes(padding), 1) if padding else Transfer(BOB, amount)
        signed = self.world.sign(name, body, ahead=ahead, tip=tip, max_base_fee=highest)
        reason = self.pool.add(signed, self.world.state)
        assert (signed.id in self.pool) == (reason in (Reason.OK, Reason.ALREADY_KNOWN))

    @rule()
    def build(self):
        chosen = self.pool.select(self.world.state, max_bytes=900)
        assert sum(len(encode(signed)) for signed in chosen) <= 900
        self.world.block(*chosen)
        self.pool.revalidate(self.world.state)
        assert not any(signed.id in self.pool for signed in chosen)

    @rule(base_fee=st.integers(1, 5))
    def move_base_fee(self, base_fee):
        self.world.set_base_fee(base_fee)

    def worth(self, queue):
        """Of a queue's tail, from nothing but the queue and the state."""
        tail = queue[max(queue)]
        due = queries.account(self.world.state, tail.signed.transaction.sender).nonce
        before = [queue.get(nonce) for nonce in range(due, max(queue) + 1)]
        reach = 0 if None in before else min(entry.signed.transaction.max_base_fee for entry in before)
        runs = reach >= self.world.head.next_base_fee
        return runs, tail.is_work, runs or reach, tail.tip, -tail.arrival

    @invariant()
    def bounded(self):
        pool = self.pool
        entries = [entry for queue in pool._queues.values() for entry in queue.values()]
        assert len(entries) == len(pool) <= 6
        assert {entry.id for entry in entries} == set(pool._by_id)
        assert sum(entry.size for entry in entries) == pool.size <= 1_500
        assert all(0 < len(queue) <= 4 for queue in pool._queues.values())
        if entries:
            least = min(pool._queues.values(), key=self.worth)
            assert pool._tails.lowest(self.world.head.next_base_fee).entry is least[max(least)]


Pool.TestCase.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)
TestPool = Pool.TestCase
