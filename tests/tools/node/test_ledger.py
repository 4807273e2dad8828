"""The ledger that consensus drives: speculation costs nothing, only what is final is written."""

import dataclasses

import pytest

from chain.execution import queries
from chain.execution.invalid import BlockReason, InvalidBlock
from chain.reasons import Reason
from chain.types.block import Block
from chain.types.transaction import Transfer
from tests.tools.node.chain_maker import ALICE, BOB, certificate, make_chain


async def test_a_built_block_becomes_final_with_its_transactions():
    chain = make_chain()
    sent = chain.transaction(ALICE, 0, Transfer(BOB.public_key, 7))
    assert chain.mempool.add(sent, chain.store.state) is Reason.OK
    seen = []
    chain.ledger.on_final = lambda blocks, _: seen.extend(block.header.height for block in blocks)
    before = queries.account(chain.store.state, BOB.public_key).balance
    block = await chain.build(chain.head(), 0)
    assert block.transactions == (sent,)
    assert chain.store.head.height == 0
    await chain.ledger.finalize([block], certificate(block))
    assert seen == [1]
    assert queries.account(chain.store.state, BOB.public_key).balance == before + 7
    assert chain.store.find_transaction(sent.id) == (1, 0)
    assert chain.ledger.finalization(1) == certificate(block)
    assert chain.store.outcome(1).receipts[0].reason is Reason.OK


async def test_another_node_agrees_on_what_a_leader_built():
    leader, follower = make_chain(), make_chain()
    leader.mempool.add(leader.transaction(ALICE, 0, Transfer(BOB.public_key, 7)), leader.store.state)
    parent = leader.head()
    blocks = []
    for view in range(3):
        parent = await leader.build(parent, view)
        await follower.ledger.validate(parent)
        blocks.append(parent)
    await follower.ledger.finalize(blocks, certificate(parent))
    assert follower.store.state.root == parent.header.state_root


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"state_root": bytes(32)}, "wrong_state_root"),
        ({"receipts_root": bytes(32)}, "wrong_receipts_root"),
        ({"next_committee_root": bytes(32)}, "wrong_committee_root"),
        ({"beacon": bytes(32)}, "wrong_beacon"),
        ({"view": 9}, "bad_vrf_proof"),
        ({"base_fee": 9}, "wrong_base_fee"),
        ({"timestamp_ms": 1_000}, "timestamp_too_early"),
        ({"parent": bytes(32)}, "wrong_parent"),
        ({"height": 2}, "wrong_height"),
        ({"epoch": 1}, "wrong_epoch"),
        ({"chain_id": "other"}, "wrong_chain"),
        ({"proposer": ALICE.public_key}, "not_a_member"),
    ],
)
async def test_a_block_that_lies_is_refused_by_name(changes, reason):
    chain = make_chain()
    block = await chain.build(chain.head(), 0)
    lie = Block(dataclasses.replace(block.header, **changes), block.transactions)
    with pytest.raises(InvalidBlock) as caught:
        await chain.ledger.validate(lie)
    assert caught.value.reason is BlockReason(reason)


async def test_a_fork_is_forgotten_when_its_rival_is_final():
    chain = make_chain()
    one = await chain.build(chain.head(), 0)
    two = await chain.build(chain.head(), 1)
    child_of_two = await chain.build(two, 2)
    await chain.ledger.finalize([one], certificate(one))
    assert chain.ledger.block(one.digest) == one
    assert chain.ledger.block(two.digest) is None
    assert chain.ledger.block(child_of_two.digest) is None
    with pytest.raises(InvalidBlock):
        await chain.ledger.validate(child_of_two)


async def test_descendants_of_the_final_block_survive():
    chain = make_chain()
    one = await chain.build(chain.head(), 0)
    child = await chain.build(one, 1)
    await chain.ledger.finalize([one], certificate(one))
    assert chain.ledger.block(child.digest) == child
    await chain.ledger.finalize([child], certificate(child))
    assert chain.store.head.height == 2


async def test_the_certificate_of_a_descendant_covers_its_ancestors():
    chain = make_chain()
    one = await chain.build(chain.head(), 0)
    two = await chain.build(one, 1)
    await chain.ledger.finalize([one, two], certificate(two))
    assert chain.store.finalization(1) is None
    assert chain.ledger.finalization(1) == certificate(two)


async def test_the_committee_of_the_next_epoch_is_kept():
    chain = make_chain()
    parent = chain.head()
    last = chain.ledger.params.last_height(0)
    for view in range(last):
        parent = await chain.build(parent, view)
        await chain.ledger.finalize([parent], certificate(parent))
    assert chain.ledger.committee(1) == chain.ledger.committee(0)
    assert chain.store.committee(1) == chain.ledger.committee(0)
    assert chain.store.committee(2) is None


async def test_a_line_longer_than_the_bound_can_still_be_built_on(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tools.node.ledger.MAX_SPECULATIVE", 3)
    leader, follower = make_chain(), make_chain()
    parent = leader.head()
    line = []
    for view in range(6):
        parent = await leader.build(parent, view)
        await follower.ledger.validate(parent)
        line.append(parent)
    await follower.ledger.finalize(line, certificate(parent))
    assert follower.store.head.height == 6


async def test_a_block_dropped_for_want_of_room_is_not_missed(monkeypatch: pytest.MonkeyPatch):
    """A fork of two goes first; what builds on it later is as good as ever."""
    chain = make_chain()
    fork = [await chain.build(chain.head(), 0)]
    fork.append(await chain.build(fork[0], 1))
    child = await chain.build(fork[1], 2)
    follower = make_chain()
    monkeypatch.setattr("tools.node.ledger.MAX_SPECULATIVE", 2)
    for block in fork:
        await follower.ledger.validate(block)
    for view in range(3, 6):
        await follower.ledger.validate(await chain.build(chain.head(), view))
    assert follower.ledger.block(fork[1].digest) == fork[1]
    await follower.ledger.validate(child)
    await follower.ledger.finalize([*fork, child], certificate(child))
    assert follower.store.head.height == 3
