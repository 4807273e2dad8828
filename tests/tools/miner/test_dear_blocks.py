"""A miner whose transactions wait while blocks become dear."""

import trio

from chain.execution import queries
from chain.execution.records import MinerStatus
from chain.reasons import Reason
from chain.types.transaction import SubmitTask, Transaction, sign_transaction
from genesis.registry import digits_model
from tests.tools.chain_node import PARAMS, ChainNode, chain_node
from tests.tools.keys import ALICE, MINER
from tests.tools.miner.test_run import miner_of, reasons

HEAVY = bytes(PARAMS.max_transaction_bytes - 300)


def crowd(node: ChainNode) -> None:
    """Fill the next block beyond its target."""
    for _ in range(3):
        nonce = node.mempool.next_nonce(ALICE.public_key, queries.account(node.state, ALICE.public_key).nonce)
        body = SubmitTask(digits_model().id, 1, HEAVY, 1)
        transaction = Transaction(PARAMS.chain_id, ALICE.public_key, nonce, 1000, 0, body)
        assert node.mempool.add(sign_transaction(transaction, ALICE), node.state) is Reason.OK


async def test_what_waited_while_blocks_became_dear_is_proven_all_the_same(autojump_clock):
    """Two leaders leave the miner out, and then the base fee is more than twice what it was."""
    node = chain_node()
    miner = miner_of(node)
    select = node.mempool.select

    def without_the_miner(state, *, max_bytes):
        chosen = select(state, max_bytes=max_bytes)
        return [signed for signed in chosen if signed.transaction.sender != MINER.public_key]

    async with trio.open_nursery() as nursery:
        nursery.start_soon(miner.run)
        for _ in range(10):
            await trio.sleep(0.5)
            node.produce()
        left = queries.open_commits(node.state, MINER.public_key)
        for turn in range(12):
            node.mempool.select = without_the_miner if turn < 2 else select
            crowd(node)
            await trio.sleep(0.5)
            node.produce()
        nursery.cancel_scope.cancel()
    assert left
    for commit in left:
        assert Reason.PROOF_MISSING not in reasons(node, commit)
        assert Reason.WORK_PROVEN in reasons(node, commit)
    assert queries.miner(node.state, MINER.public_key).status is MinerStatus.ACTIVE
