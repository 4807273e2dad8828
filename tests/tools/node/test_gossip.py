"""Transactions travel in batches; what only a liar sends is held against the sender, all else is not."""

import random

import pytest
import trio
import trio.testing

from chain.codec import encode
from chain.crypto.ed25519 import SecretKey
from chain.reasons import Reason
from chain.types.transaction import ProveWork, SignedTransaction, Transaction, Transfer, sign_transaction
from p2p.memory import Link, open_hub
from p2p.network import MAX_TRANSACTIONS_FRAME, Inbound, Lane, PeerId
from tools.node.gossip import Batch, TransactionGossip

ALICE = SecretKey(bytes([1]) * 32)


def _signed(nonce: int) -> SignedTransaction:
    body = Transfer(bytes(32), 1)
    return sign_transaction(Transaction("test", ALICE.public_key, nonce, 1, 0, body), ALICE)


def _frame(*transactions: SignedTransaction) -> bytes:
    return encode(Batch(transactions))


async def test_many_transactions_share_a_frame(autojump_clock):
    async with open_hub(rng=random.Random(1), link=Link()) as hub, trio.open_nursery() as nursery:
        a, b = hub.join(PeerId("a")), hub.join(PeerId("b"))
        gossip = TransactionGossip(a, lambda _: Reason.OK)
        nursery.start_soon(gossip.run)
        sent = [_signed(nonce) for nonce in range(50)]
        for transaction in sent:
            gossip.pass_on(transaction)
        frame = await b.inbound.receive()
        assert (frame.lane, frame.payload) == (Lane.TRANSACTIONS, _frame(*sent))
        nursery.cancel_scope.cancel()


async def test_goes_to_everybody_but_its_source(autojump_clock):
    async with open_hub(rng=random.Random(1), link=Link()) as hub, trio.open_nursery() as nursery:
        a, b, c = (hub.join(PeerId(name)) for name in "abc")
        gossip = TransactionGossip(a, lambda _: Reason.OK)
        nursery.start_soon(gossip.run)
        list(gossip.take(Inbound(b.local_id, Lane.TRANSACTIONS, _frame(_signed(0)))))
        assert (await c.inbound.receive()).payload == _frame(_signed(0))
        with trio.move_on_after(10) as waited:
            await b.inbound.receive()
        assert waited.cancelled_caught
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("reason", list(Reason))
async def test_only_a_lie_is_held_against_a_peer(reason, autojump_clock):
    async with open_hub(rng=random.Random(1), link=Link()) as hub:
        a, b = hub.join(PeerId("a")), hub.join(PeerId("b"))
        await trio.testing.wait_all_tasks_blocked()
        gossip = TransactionGossip(a, lambda _: reason)
        list(gossip.take(Inbound(b.local_id, Lane.TRANSACTIONS, _frame(_signed(0)))))
        [peer] = a.stats().peers
        lies = (
            Reason.WRONG_CHAIN, Reason.TOO_LARGE, Reason.BAD_SIGNATURE, Reason.REPORT_NOT_PLAIN,
            Reason.EVIDENCE_UNSIGNED,
        )  # fmt: skip
        assert (peer.score < 0) is (reason in lies)


async def test_bytes_that_are_no_batch_are_reported(autojump_clock):
    async with open_hub(rng=random.Random(1), link=Link()) as hub:
        a, b = hub.join(PeerId("a")), hub.join(PeerId("b"))
        await trio.testing.wait_all_tasks_blocked()
        gossip = TransactionGossip(a, lambda _: pytest.fail("nothing to accept"))
        list(gossip.take(Inbound(b.local_id, Lane.TRANSACTIONS, b"\x91\x93")))
        [peer] = a.stats().peers
        assert peer.score < 0
        assert "transactions: " in peer.last_report.reason


async def test_a_batch_beyond_a_frame_is_split(autojump_clock):
    async with open_hub(rng=random.Random(1), link=Link()) as hub, trio.open_nursery() as nursery:
        a, b = hub.join(PeerId("a")), hub.join(PeerId("b"))
        gossip = TransactionGossip(a, lambda _: Reason.OK)
        nursery.start_soon(gossip.run)
        large = [_large(nonce) for nonce in range(3)]
        assert sum(len(encode(transaction)) for transaction in large) > MAX_TRANSACTIONS_FRAME
        for transaction in large:
            gossip.pass_on(transaction)
        received = b""
        while len(received) < sum(len(encode(transaction)) for transaction in large):
            frame = (await b.inbound.receive()).payload
            assert len(frame) <= MAX_TRANSACTIONS_FRAME
            received += frame
        nursery.cancel_scope.cancel()


def _large(nonce: int) -> SignedTransaction:
    body = ProveWork(bytes(32), bytes(MAX_TRANSACTIONS_FRAME // 2 - 4096))
    return sign_transaction(Transaction("test", ALICE.public_key, nonce, 1, 0, body), ALICE)
