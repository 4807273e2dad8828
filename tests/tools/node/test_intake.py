"""Peers' transactions are taken in turn, for a share of the time; what finds no room has a reason."""

import random
from collections import Counter
from collections.abc import Iterator

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from chain.codec import encode
from chain.crypto.ed25519 import SecretKey
from chain.reasons import Reason
from chain.types.transaction import ProveWork, SignedTransaction, Transaction, sign_transaction
from p2p.memory import Link, open_hub
from p2p.network import Inbound, Lane, PeerId
from tools.node.gossip import Batch, TransactionGossip
from tools.node.intake import (
    ALL_BYTES,
    CLASS_BYTES,
    FRAME_BYTES,
    PEER_BYTES,
    SHARE,
    SLICE_SECONDS,
    Drop,
    Intake,
    size_of,
)

HONEST, HOSTILE = PeerId("honest"), PeerId("hostile")
COST = 0.002
"""Seconds that a transaction of these tests costs: more than any real one."""

LARGEST = 1 << 18
"""Bytes of a transaction, as networks have it."""

LARGEST_WAITING = PEER_BYTES - FRAME_BYTES
"""Payload of a frame that takes all that a peer may have waiting."""


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
    half = PEER_BYTES // 2 - FRAME_BYTES
    # One frame is taken however large it is; a second only if both fit.
    assert [intake.put(_frame(HOSTILE, 1, size)) for size in (half, half, 1)] == [
        None, None, Drop.PEER_QUEUE_FULL,
    ]  # fmt: skip
    others = [PeerId(str(number)) for number in range(ALL_BYTES // PEER_BYTES)]
    reasons = [intake.put(_frame(peer, 1, LARGEST_WAITING)) for peer in others]
    assert reasons == [None] * (len(others) - 1) + [Drop.INTAKE_FULL]
    assert intake.dropped == {Drop.PEER_QUEUE_FULL: 1, Drop.INTAKE_FULL: 1}
    with trio.move_on_after(60):
        await intake.run()
    assert [intake.put(_frame(peer, 1, LARGEST_WAITING)) for peer in others] == [None] * len(others)


def _filled(intake: Intake, frame_size: int) -> list[PeerId]:
    """Peers that have filled the intake with frames of a size, each as much as it may."""
    payload = frame_size - FRAME_BYTES
    peers = [PeerId(f"sybil{number}") for number in range(ALL_BYTES // PEER_BYTES)]
    for peer in peers:
        assert [intake.put(_frame(peer, 1, payload)) for _ in range(PEER_BYTES // frame_size)].count(None) > 0
    assert intake._waiting.total == ALL_BYTES
    return peers


async def test_sixteen_peers_that_fill_it_keep_nobody_out(autojump_clock):
    bench = Workbench()
    peers = _filled(bench.intake, 1 << 16)
    # However often they send again, what an honest peer hands in is taken, and done.
    for sent in range(20):
        assert bench.intake.put(_frame(HONEST, 1, 20_000)) is None
        for peer in peers:
            bench.intake.put(_frame(peer, 1, (1 << 16) - FRAME_BYTES))
        assert bench.intake._waiting.total <= ALL_BYTES
        assert bench.intake._waiting.bytes_of(HONEST) == (sent + 1) * (20_000 + FRAME_BYTES)
    assert bench.intake.dropped[Drop.GAVE_WAY] == 7, "as many as take up the room"
    with trio.move_on_after(600):
        await bench.intake.run()
    assert bench.done.count(HONEST) == 20
    assert bench.intake._waiting.total == 0


async def test_who_has_as_much_as_all_others_does_not_push_them_out(autojump_clock):
    intake = Workbench().intake
    peers = _filled(intake, PEER_BYTES)
    assert intake.put(_frame(HONEST, 1, LARGEST_WAITING)) is Drop.INTAKE_FULL
    assert intake.put(_frame(HONEST, 1, LARGEST_WAITING - 1)) is None
    assert intake.dropped == {Drop.INTAKE_FULL: 1, Drop.GAVE_WAY: 1}
    assert [intake._waiting.bytes_of(peer) for peer in peers].count(0) == 1


async def test_the_only_frame_gives_way_although_it_was_begun(autojump_clock):
    bench = Workbench()
    peers = [PeerId(f"sybil{number}") for number in range(ALL_BYTES // PEER_BYTES)]
    for peer in peers:
        bench.intake.put(_frame(peer, 100, LARGEST_WAITING))
    for _ in peers:
        bench.intake._slice()
    assert len(bench.intake._running) == len(peers)
    assert bench.intake.put(_frame(HONEST, 1)) is None
    assert len(bench.intake._running) == len(peers) - 1
    # Who gave way begins anew with its next frame.
    lost = next(peer for peer in peers if peer not in bench.intake._running)
    assert bench.intake.put(_frame(lost, 1)) is None
    with trio.move_on_after(600):
        await bench.intake.run()
    assert Counter(bench.done) == Counter([HONEST, *peers])
    assert not bench.intake._running


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 9), st.booleans()), max_size=120))
def test_the_account_is_exact_whatever_happens(events: list[tuple[int, int, bool]]) -> None:
    bench = Workbench()
    for number, eighths, works in [*((n, 8, False) for n in range(10, 26)), *events]:
        bench.intake.put(_frame(PeerId(str(number)), 3, eighths * LARGEST_WAITING // 8))
        if works:
            bench.intake._slice()
        waiting = bench.intake._waiting
        told = {peer: sum(map(size_of, frames)) for peer, frames in waiting.frames.items()}
        assert waiting._bytes == told
        assert waiting.total == sum(told.values()) <= ALL_BYTES
        classes = [peer for peers in waiting._classes for peer in peers]
        assert sorted(classes) == sorted(told)
        assert bench.intake._running.keys() <= told.keys()
        most = waiting.greatest()
        assert most is not None and told[most] + CLASS_BYTES > min(max(told.values()), PEER_BYTES)


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
