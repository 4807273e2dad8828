"""Proofs that a node cannot make."""

import pytest

from tests.tools.chain_node import chain_node
from tests.tools.keys import ALICE
from tools.rpc.faults import Code, RpcFault
from tools.rpc.methods.proofs import prove_balance


async def test_a_way_that_is_too_long_is_said_to_be(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("consensus.sync.light.MAX_EPOCHS", 1)
    node = chain_node()
    node.produce(3 * node.genesis.params.epoch_length)
    with pytest.raises(RpcFault, match="2 epochs after epoch 0, at most 1") as caught:
        await prove_balance(node, ALICE.public_key)
    assert (caught.value.number, caught.value.code) == (Code.NOT_FOUND, "PROOF_TOO_LONG")
    assert "headrace balance" in caught.value.next_step
