"""A node that forgets a block between two reads of one answer says that it is not there."""

import pytest

from chain.types.transaction import SignedTransaction, Transaction, Transfer, sign_transaction
from tests.tools.chain_node import PARAMS, ChainNode, chain_node
from tests.tools.keys import ALICE, BOB
from tools.rpc.faults import Code, RpcFault
from tools.rpc.methods.story import why
from tools.rpc.methods.transactions import transaction


def forgetting_node(monkeypatch: pytest.MonkeyPatch, sent: SignedTransaction) -> ChainNode:
    """A node whose block of ``sent`` is pruned as soon as it was found, as another thread may do."""
    node = chain_node()
    node.reports.append(sent)  # not by way of the mempool, which would remember it
    node.produce(2 * PARAMS.epoch_length)
    store, find = node.store, node.store.find_transaction

    def find_and_forget(transaction_id: bytes) -> tuple[int, int] | None:
        place = find(transaction_id)
        store.prune(store.head.height - 1, most=store.head.height)
        return place

    monkeypatch.setattr(store, "find_transaction", find_and_forget)
    return node


@pytest.fixture
def sent() -> SignedTransaction:
    body = Transfer(BOB.public_key, 5)
    return sign_transaction(Transaction(PARAMS.chain_id, ALICE.public_key, 0, 10, 0, body), ALICE)


def story(node: ChainNode, transaction_id: bytes) -> object:
    return why(node, transaction_id.hex())


@pytest.mark.parametrize("ask", [transaction, story])
def test_a_transaction_whose_block_goes_in_the_middle_is_not_here(monkeypatch, sent, ask):
    node = forgetting_node(monkeypatch, sent)
    with pytest.raises(RpcFault, match="and what lies before is not here") as caught:
        ask(node, sent.id)
    assert (caught.value.number, caught.value.code) == (Code.NOT_FOUND, "BEFORE_FIRST_BLOCK")
