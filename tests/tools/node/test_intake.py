"""Peers' transactions are taken in turn, for a share of the time; what finds no room has a reason."""

import random
from collections import Counter
from collections.abc import Iterator

import pytest
import trio

from chain.codec import encode
from chain.crypto.ed25519 import SecretKey
from chain.reasons import Reason
from chain.types.transaction import ProveWork, SignedTransaction, Transaction, sign_transaction
from p2p.memory import Link, open_hub
from p2p.network import Inbound, Lane, PeerId
from tools.node.gossip import Batch, TransactionGossip
from tools.node.intake import ALL_BYTES, PEER_BYTES, SHARE, SLICE_SECONDS, Drop, Intake

HONEST, HOSTILE = PeerId("honest"), PeerId("hostile")
COST = 0.002
"""Seconds that a transaction of these tests costs: more than any real one."""

LARGEST = 1 << 18
"""Bytes of a transaction, as networks have it."""


class Workbench:
    """An intake whose every step costs `COST` on a clock of its own."""

    def __init__(self) -> None:
        self.worked = 0.0
        self.done: list[PeerId] = []
        self.awaited = 0
        """Frames of the honest peer that a test waits for."""
        self.arrived = trio.Event()
        self.intake = Intake(self._take, clock=lambda: self.worked)

    def _take(self, frame: Inbound) -> Iterator[None]:
        for _ in range(frame.payload[0]):
            self.worked += COST
            yield
        self.done.append(frame.peer)
        if self.done.count(HONEST) == self.awaited:
            self.arrived.set()


def _frame(peer: PeerId, steps: int, size: int = 1) -> Inbound:
    return Inbound(peer, Lane.TRANSACTIONS, bytes([steps]) + bytes(size - 1))


async def test_all_peers_together_get_their_share_of_the_time(autojump_clock):
    bench = Workbench()
    for _ in range(20):
        assert bench.intake.put(_frame(HOSTILE, 50)) is None
    began = trio.current_time()
    with trio.move_on_after(60):
        await bench.intake.run()
    assert len(bench.done) == 20
    assert bench.worked == pytest.approx(20 * 50 * COST)
    # Virtual time stands still while we work: all of it was left to others.
    left = trio.current_time() - began
    assert left >= (SHARE - 1) * bench.worked


async def test_a_peer_waits_for_one_slice_of_each_other_one(autojump_clock):
    bench = Workbench()
    for _ in range(200):
        bench.intake.put(_frame(HOSTILE, 200))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.intake.run)
        await trio.sleep(1)
        before = bench.worked
        assert HONEST not in bench.done
        bench.awaited = 1
        bench.intake.put(_frame(HONEST, 1))
        await bench.arrived.wait()
        assert bench.worked - before <= 2 * (SLICE_SECONDS + COST) + COST
        nursery.cancel_scope.cancel()


async def test_who_is_busy_together_gets_the_same(autojump_clock):
    bench = Workbench()
    for _ in range(50):
        bench.intake.put(_frame(HOSTILE, 250))
        bench.intake.put(_frame(HONEST, 10))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.intake.run)
        bench.awaited = 50
        await bench.arrived.wait()
        nursery.cancel_scope.cancel()
    # 500 steps of the one, and of the other as many: two frames of 250.
    assert bench.done.count(HOSTILE) == 2


async def test_what_finds_no_room_is_dropped_for_a_reason(autojump_clock):
    intake = Workbench().intake
    half = PEER_BYTES // 2
    # One frame is taken however large it is; a second only if both fit.
    assert [intake.put(_frame(HOSTILE, 1, size)) for size in (half, half, 1)] == [
        None, None, Drop.PEER_QUEUE_FULL,
    ]  # fmt: skip
    others = [PeerId(str(number)) for number in range(ALL_BYTES // PEER_BYTES)]
    reasons = [intake.put(_frame(peer, 1, PEER_BYTES)) for peer in others]
    assert reasons == [None] * (len(others) - 1) + [Drop.INTAKE_FULL]
    assert intake.dropped == {Drop.PEER_QUEUE_FULL: 1, Drop.INTAKE_FULL: 1}
    with trio.move_on_after(60):
        await intake.run()
    assert [intake.put(_frame(peer, 1, PEER_BYTES)) for peer in others] == [None] * len(others)


def _proof(nonce: int, size: int, key: SecretKey) -> SignedTransaction:
    return sign_transaction(
        Transaction("test", key.public_key, nonce, 1, 0, ProveWork(bytes(32), bytes(size))), key
    )


async def test_the_largest_false_proofs_take_no_more_than_their_share(autojump_clock):
    """One peer floods with proofs of the greatest size; another's small one is taken beside them."""
    liar, miner = SecretKey(bytes([1]) * 32), SecretKey(bytes([2]) * 32)
    flood = [_proof(nonce, LARGEST - 512, liar) for nonce in range(3)]
    honest = _proof(0, 1000, miner)
    worked, seen = 0.0, Counter[bytes]()

    def accept(signed: SignedTransaction) -> Reason:
        nonlocal worked
        # What a proof costs here goes with its bytes.
        worked += len(encode(signed)) / 100e6
        seen[signed.transaction.sender] += 1
        return Reason.OK if signed.transaction.sender == miner.public_key else Reason.NOT_A_MINER

    async with open_hub(rng=random.Random(1), link=Link()) as hub:
        gossip = TransactionGossip(hub.join(PeerId("me")), accept)
        intake = Intake(gossip.take, clock=lambda: worked)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(intake.run)
            began = trio.current_time()
            frame = Inbound(HOSTILE, Lane.TRANSACTIONS, encode(Batch(tuple(flood))))
            for turn in range(200):
                intake.put(frame)
                if turn % 50 == 25:
                    assert intake.put(Inbound(HONEST, Lane.TRANSACTIONS, encode(Batch((honest,))))) is None
                await trio.sleep(0.001)
            elapsed = trio.current_time() - began + worked
            nursery.cancel_scope.cancel()
    assert seen[miner.public_key] == 4
    assert intake.dropped[Drop.PEER_QUEUE_FULL] > 100
    assert worked <= elapsed / SHARE + 2 * SLICE_SECONDS
