"""A miner on a real ledger: registering, commons, tasks, restarts, refusals, and cheats."""

import itertools
from dataclasses import replace
from typing import ClassVar

import pytest
import trio

from chain.crypto.ed25519 import SecretKey
from chain.execution import queries
from chain.execution.conservation import check_state
from chain.execution.records import MinerStatus, TaskStatus
from chain.reasons import Reason
from chain.types.transaction import SubmitTask, Transaction, sign_transaction
from genesis.digits import load_digits
from genesis.registry import digits_model
from pouw.backends.reference import ReferenceBackend
from pouw.trace import run_program
from tests.tools.chain_node import PARAMS, ChainNode, chain_node
from tests.tools.keys import ALICE, CONSENSUS, MINER
from tests.tools.miner.local_chain import LocalChain
from tools.miner.models import commons_inputs, weights_by_model
from tools.miner.outbox import Outbox
from tools.miner.run import LONGEST_REST_SECONDS, MAX_WORK_SECONDS, Miner, work_seconds
from tools.miner.workshop import Workshop

WEIGHTS = weights_by_model()


async def in_a_tenth(blocking):
    """All work takes a tenth of a virtual second."""
    await trio.sleep(0.1)
    return blocking()


def workshop(node: ChainNode, key: SecretKey = MINER) -> Workshop:
    return Workshop(
        chain_id=PARAMS.chain_id, miner=key.public_key, samples=PARAMS.samples, models=node.models,
        weights=WEIGHTS, commons_inputs=commons_inputs(node.models.commons), backend=ReferenceBackend(),
        held_bytes=1 << 26,
    )  # fmt: skip


def miner_of(node: ChainNode, *, worker=None, chain=None, duty=1.0, key: SecretKey = MINER) -> Miner:
    return Miner(
        outbox=Outbox(key, chain or LocalChain(node), node.genesis.params),
        worker=worker or workshop(node, key),
        models=node.models, duty=duty, meter=itertools.count(step=0.1).__next__, offload=in_a_tenth,
    )  # fmt: skip


async def run_for(node: ChainNode, miner: Miner, blocks: int) -> str | None:
    """Let a miner run while blocks come every half second; what it stopped with, if it did."""
    stopped = None

    async def mine() -> None:
        nonlocal stopped
        stopped = await miner.run()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(mine)
        for _ in range(blocks):
            await trio.sleep(0.5)
            node.produce()
        nursery.cancel_scope.cancel()
    check_state(node.state, params=node.genesis.params)
    return stopped


def reasons(node: ChainNode, subject: bytes) -> list[Reason]:
    return [event.reason for _, event in node.store.events_about(subject) if event.subject == subject]


def submit_digits(node: ChainNode, rows: tuple[int, ...]) -> bytes:
    images = load_digits().images[list(rows)]
    body = SubmitTask(digits_model().id, len(rows), images.tobytes(), 10_000_000)
    nonce = queries.account(node.state, ALICE.public_key).nonce
    transaction = Transaction(PARAMS.chain_id, ALICE.public_key, nonce, 100, 0, body)
    signed = sign_transaction(transaction, ALICE)
    assert node.mempool.add(signed, node.state) is Reason.OK
    return signed.id


async def test_registers_and_earns_from_the_commons(autojump_clock):
    node = chain_node()
    before = queries.account(node.state, MINER.public_key).balance
    miner = miner_of(node)
    await run_for(node, miner, 25)
    record = queries.miner(node.state, MINER.public_key)
    assert record.status is MinerStatus.ACTIVE
    assert record.consensus_key == CONSENSUS.public_key
    assert miner.tally.proofs > 2
    assert queries.weight(node.state, CONSENSUS.public_key).since(0) >= miner.tally.units > 0
    assert queries.account(node.state, MINER.public_key).balance + record.bond > before
    assert not miner.tally.refusals


async def test_does_a_task_and_is_paid(autojump_clock):
    node = chain_node()
    miner = miner_of(node)
    await run_for(node, miner, 4)
    task = submit_digits(node, (0, 5, 17))
    await run_for(node, miner_of(node), 12)
    record = queries.task(node.state, task)
    assert record.status is TaskStatus.ANSWERED
    program = digits_model().program(3)
    expected = run_program(
        program, WEIGHTS[digits_model().id], load_digits().images[[0, 5, 17]], ReferenceBackend()
    )
    assert queries.task_answer(node.state, task) == expected.answer.tobytes()
    assert reasons(node, task) == [
        Reason.TASK_SUBMITTED, Reason.TASK_ASSIGNED, Reason.TASK_COMMITTED, Reason.TASK_ANSWERED,
        Reason.TASK_PAID,
    ]  # fmt: skip


async def test_a_restarted_miner_proves_what_it_left_open(autojump_clock):
    node = chain_node()
    first = miner_of(node)
    while not queries.open_commits(node.state, MINER.public_key):
        await run_for(node, first, 1)
    left = queries.open_commits(node.state, MINER.public_key)
    second = miner_of(node)
    await run_for(node, second, 8)
    for commit in left:
        assert Reason.WORK_PROVEN in reasons(node, commit)
    assert second.tally.proofs >= len(left)


async def test_goes_on_after_the_node_was_away_and_lost_its_mempool(autojump_clock):
    node = chain_node()
    chain = LocalChain(node)
    miner = miner_of(node, chain=chain)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(miner.run)
        for turn in range(40):
            await trio.sleep(0.5)
            chain.is_up = not 10 <= turn < 20
            if turn == 9:
                for signed in list(node.sent):
                    if node.mempool.get(signed.id) is not None:
                        node.mempool = type(node.mempool)(node.genesis.params)
            if chain.is_up:
                node.produce()
        nursery.cancel_scope.cancel()
    assert miner.tally.proofs > 3
    assert queries.miner(node.state, MINER.public_key).status is MinerStatus.ACTIVE


async def test_the_duty_sets_the_share_of_work(autojump_clock):
    shares = []
    for duty in (0.3, 0.1):
        node = chain_node()
        miner = miner_of(node, duty=duty)
        await run_for(node, miner, 120)
        worked = miner.tally.busy_seconds - 0.1 * miner.tally.proofs
        assert worked / 60 == pytest.approx(duty, rel=0.1)
        shares.append(miner.tally.units)
    assert shares[0] / shares[1] == pytest.approx(3, rel=0.1)


@pytest.mark.parametrize("duty", [0.01, 0.05, 0.15, 0.5, 1.0])
def test_one_commits_work_owes_no_long_rest(duty):
    assert 0 < work_seconds(duty) / duty <= LONGEST_REST_SECONDS
    assert work_seconds(duty) <= MAX_WORK_SECONDS


def test_commits_of_a_threefold_duty_are_about_as_large():
    assert work_seconds(0.15) / work_seconds(0.05) < 1.2


async def test_work_that_took_a_minute_costs_no_minutes_of_rest(autojump_clock):
    node = chain_node()
    miner = miner_of(node, duty=0.05)
    miner.meter = itertools.count(step=60.0).__next__
    await run_for(node, miner, 60)
    assert miner.tally.commits >= 4


async def test_work_that_outlasts_its_round_is_not_sent_and_the_next_is_smaller(autojump_clock, caplog):
    node = chain_node()
    miner, counts = miner_of(node), []

    async def starved(blocking):
        # Seconds for each shard in hand, as on a machine on which everybody else goes first.
        counts.append(miner._units_a_commit)
        await trio.sleep(1.0 * miner._units_a_commit)
        return blocking()

    miner.offload = starved
    with caplog.at_level("WARNING"):
        await run_for(node, miner, 80)
    assert miner.tally.late
    assert "rounds end before their work does" in caplog.text
    assert Reason.COMMONS_WRONG_ROUND.name not in miner.tally.refusals
    assert miner.tally.proofs
    assert counts[-1] < counts[0]


async def test_a_second_miner_of_a_key_is_told_before_it_asks_for_coins(autojump_clock, caplog):
    node = chain_node()
    await run_for(node, miner_of(node), 3)
    second = miner_of(node, key=SecretKey(b"p" * 32))
    await run_for(node, second, 60)
    assert second.tally.refusals["CONSENSUS_KEY_TAKEN"] > 2
    assert "point this one at another node" in caplog.text
    assert caplog.text.count("CONSENSUS_KEY_TAKEN") == 1, "said once a minute"


async def test_an_account_without_coins_is_told_to_get_some(autojump_clock, caplog):
    caplog.set_level("INFO")
    node = chain_node()
    miner = miner_of(node, key=SecretKey(b"p" * 32))
    await run_for(node, miner, 3)
    assert "send it coins" in caplog.text
    assert not node.sent


async def test_a_node_without_a_consensus_key_cannot_have_a_miner(autojump_clock, caplog):
    node = chain_node()
    node.consensus_key = None
    miner = miner_of(node)
    await run_for(node, miner, 3)
    assert miner.tally.refusals["NOT_FOUND"] > 0
    assert "no consensus key" in caplog.text


class WrongAnswers(Workshop):
    """Changes one byte of its answer after committing to the right trace."""

    def work(self, tasks, commons, model):
        finished = super().work(tasks, commons, model)
        return replace(finished, answers=tuple(
            replace(item, answer=bytes([item.answer[0] ^ 1]) + item.answer[1:]) for item in finished.answers
        ))  # fmt: skip


async def test_a_wrong_answer_is_not_proven_by_an_honest_prover(autojump_clock):
    node = chain_node()
    await run_for(node, miner_of(node), 4)
    submit_digits(node, (1,))
    honest = workshop(node)
    cheat = WrongAnswers(**{name: getattr(honest, name) for name in honest.__dataclass_fields__})
    stopped = await run_for(node, miner_of(node, worker=cheat), 10)
    assert stopped is not None
    assert "PROOF_ANSWER_MISMATCH" in stopped or "ANSWER_MISMATCH" in stopped
    assert queries.miner(node.state, MINER.public_key).status is MinerStatus.ACTIVE


class OldProofs(Workshop):
    """Sends the same proof for every commit, without looking."""

    kept: ClassVar[list[bytes]] = []

    def prove(self, finished, *, beacon):
        if not self.kept:
            self.kept.append(super().prove(finished, beacon=beacon))
        return self.kept[0]


async def test_a_cheat_is_slashed_and_stops_with_the_reason(autojump_clock):
    node = chain_node()
    honest = workshop(node)
    cheat = OldProofs(**{name: getattr(honest, name) for name in honest.__dataclass_fields__})
    stopped = await run_for(node, miner_of(node, worker=cheat), 20)
    assert stopped is not None
    assert stopped.startswith("slashed")
    record = queries.miner(node.state, MINER.public_key)
    assert (record.status, record.bond) == (MinerStatus.SLASHED, 0)
    assert Reason.MINER_SLASHED in reasons(node, MINER.public_key)
