"""No sequence of transactions makes a coin appear or vanish, or an index disagree with its records."""

from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from chain.codec import encode
from chain.execution import queries, state_keys
from chain.execution.conservation import StateError, check_coins, check_state
from chain.execution.records import MinerStatus
from chain.types.params import MIN_SAMPLES
from chain.types.transaction import ProveWork, RegisterMiner, SubmitTask, Transfer, Unregister
from tests.chain.execution.world import MODEL, OTHER_MODEL, PARAMS, Work, World, inputs_of, key, possession

NAMES = ("alice", "bob", "carol")
GENESIS = 5 * 1_000_000
DRAWS = MIN_SAMPLES

names = st.sampled_from(NAMES)


class Ledger(RuleBasedStateMachine):
    """Anything anybody might send, in any order, with the checks of `World.block` after every block."""

    @initialize(
        window=st.integers(1, 4), delay=st.integers(1, 3), epoch=st.integers(1, 6),
        attempts=st.integers(1, 3), penalty=st.sampled_from([0, 100, 1_000]), unbonding=st.integers(0, 6),
        retention=st.integers(0, 4), registered=st.sets(names),
    )  # fmt: skip
    def begin(self, window, delay, epoch, attempts, penalty, unbonding, retention, registered):
        params = replace(
            PARAMS, proof_window=window, beacon_delay=delay, epoch_length=epoch, max_task_attempts=attempts,
            missed_proof_penalty=penalty, unbonding_blocks=unbonding, task_retention=retention, samples=DRAWS,
        )  # fmt: skip
        self.world = World(params=params)
        self.pending = []
        self.sent = dict.fromkeys(NAMES, 0)
        self.open: list[tuple[Work, bytes, int]] = []
        for name in sorted(registered):
            self.world.register(name)

    def send(self, name, body, *, tip=0):
        signed = self.world.sign(name, body, ahead=self.sent[name], tip=tip)
        if sum(1 for _ in self.pending) < 12:
            self.pending.append(signed)
            self.sent[name] += 1
            return signed.id
        return None

    @rule(name=names, to=names, amount=st.sampled_from([0, 1, 999, 500_000, 1 << 63]), tip=st.integers(0, 3))
    def transfer(self, name, to, amount, tip):
        self.send(name, Transfer(key(to).public_key, amount), tip=tip)

    @rule(name=names, bond=st.sampled_from([0, 100, 1_000, 1_050]), other=st.booleans(), owner=names)
    def register(self, name, bond, other, owner):
        consensus = key(owner + "/consensus")
        models = tuple(sorted((MODEL, OTHER_MODEL))) if other else (MODEL,)
        self.send(name, RegisterMiner(consensus.public_key, possession(key(name), consensus), bond, models))

    @rule(name=names)
    def unregister(self, name):
        self.send(name, Unregister())

    @rule(name=names, rows=st.integers(1, 5), payment=st.sampled_from([0, 30, 700]))
    def submit(self, name, rows, payment):
        self.send(name, SubmitTask(MODEL, rows, inputs_of(rows, salt=self.world.height), payment))

    @rule(name=names, units=st.integers(0, 3), lie=st.sampled_from([0, 0, 0, 1]), tasks=st.booleans())
    def commit(self, name, units, lie, tasks):
        ids = queries.assigned_tasks(self.world.state, key(name).public_key)[:2] if tasks else []
        if not units and not ids:
            return
        work = self.world.work(name, units=units, tasks=ids)
        sent = self.send(name, replace(work.body, units=work.body.units + lie))
        if sent is not None:
            self.open.append((work, sent, self.world.height + 1))

    @rule(
        name=names,
        units=st.integers(0, 3),
        tasks=st.booleans(),
        proof=st.sampled_from(["now", "later", "wrong"]),
    )
    def work_through(self, name, units, tasks, proof):
        """Commit and wait for the draw; then prove, lie, or leave it for later."""
        if tasks:
            self.send("alice", SubmitTask(MODEL, 2, inputs_of(2, salt=self.world.height), 700))
            self.block()
        self.block()
        public = key(name).public_key
        miner = self.world.miner(name)
        ids = queries.assigned_tasks(self.world.state, public)[:2] if tasks else []
        if miner is None or miner.status is not MinerStatus.ACTIVE or not (units or ids):
            return
        work = self.world.work(name, units=units, tasks=ids)
        commit_id = self.world.commit(work)
        height = self.world.height
        self.world.blocks(self.world.params.beacon_delay)
        if proof == "later":
            self.open.append((work, commit_id, height))
        elif queries.commit(self.world.state, commit_id) is not None:
            drawn = self.world.draw_of(height)
            sent = work.proof(drawn, samples=DRAWS) if proof == "now" else b"\x93\x01\x02\x03"
            self.world.do(name, ProveWork(commit_id, sent))

    @precondition(lambda self: self.open)
    @rule(chosen=st.integers(0, 50), honest=st.sampled_from([True, True, True, False]))
    def prove(self, chosen, honest):
        work, commit_id, height = self.open[chosen % len(self.open)]
        seed = queries.beacon(self.world.state, height + self.world.params.beacon_delay)
        proof = work.proof(seed or bytes(32), samples=DRAWS) if honest else b"\x93\x01\x02\x03"
        self.send(work.name, ProveWork(commit_id, proof))

    @rule()
    def block(self):
        self.world.block(*self.pending)
        self.pending = []
        self.sent = dict.fromkeys(NAMES, 0)

    @rule(count=st.integers(1, 5))
    def quiet_blocks(self, count):
        self.block()
        self.world.blocks(count)

    @invariant()
    def supply_only_changes_by_minting_and_burning(self):
        supply = queries.supply(self.world.state)
        assert supply.genesis == GENESIS

    def teardown(self):
        """Whatever happened, when everybody leaves and time passes nothing is left locked."""
        self.block()
        for name in NAMES:
            miner = self.world.miner(name)
            if miner is not None and miner.status in (MinerStatus.ACTIVE, MinerStatus.SUSPENDED):
                self.world.do(name, Unregister())
        params = self.world.params
        patience = params.max_task_attempts * (
            params.task_deadline + 1 + params.proof_window + params.beacon_delay
        )
        self.world.blocks(
            2 * patience
            + params.task_deadline * params.max_task_attempts
            + params.unbonding_blocks
            + params.epoch_length
            + 20
        )
        left = [key_[0] for key_ in self.world.state.keys(b"") if 0x04 <= key_[0] <= 0x22 and key_[0] != 0x05]
        assert left == []


Ledger.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestLedger = Ledger.TestCase


def test_the_check_sees_a_coin_out_of_nowhere():
    world = World()
    raw = world.state.get(state_keys.account(key("alice").public_key))
    forged = world.state.updated({state_keys.account(bytes(32)): raw})
    with pytest.raises(StateError, match="the supply is 5000000"):
        check_coins(forged)


def test_the_check_sees_an_index_that_is_off():
    world = World()
    world.register("alice")
    forged = world.state.updated({state_keys.server(MODEL, key("alice").public_key): None})
    with pytest.raises(StateError, match=r"index server: .* is missing"):
        check_state(forged, params=PARAMS)


def test_the_check_sees_a_stake_that_no_bond_covers():
    world = World()
    world.register("alice")
    world.commit(world.work("alice"))
    check_state(world.state, params=PARAMS)
    place, miner = state_keys.miner(key("alice").public_key), world.miner("alice")
    short = world.state.updated({place: encode(replace(miner, bond=99)), **_burned(world, miner.bond - 99)})
    with pytest.raises(StateError, match="has 100 at stake of a bond of 99"):
        check_state(short, params=PARAMS)


def _burned(world: World, amount: int) -> dict[bytes, bytes]:
    supply = queries.supply(world.state)
    return {state_keys.SUPPLY: encode(replace(supply, burned=supply.burned + amount))}
