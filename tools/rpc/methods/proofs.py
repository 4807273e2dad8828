"""Proofs for strangers."""

from chain.codec import encode, encode_fields
from chain.execution import state_keys
from consensus.sync.light import TooManyEpochs
from tools.balance_proof import FORMAT, BalanceProof
from tools.rpc.faults import Code, RpcFault
from tools.rpc.view import NodeView
from tools.rpc.wire import Address


def prove_balance(node: NodeView, address: Address) -> BalanceProof:
    """A proof of an account's balance at the last final block, for whoever has the genesis file."""
    head, state = node.head, node.state
    try:
        chain = node.chain_proof(head.height)
    except TooManyEpochs as error:
        raise RpcFault(
            Code.NOT_FOUND,
            f"no single proof leads from the genesis file to the head: {error}",
            code="PROOF_TOO_LONG",
            next_step="ask a node that you trust: `headrace balance ADDRESS`",
        ) from error
    if chain is None:
        raise RpcFault(
            Code.NOT_READY,
            "nothing but genesis is final yet",
            next_step="wait for the first block: `headrace status`",
        )
    proof = state.prove(state_keys.account(address))
    return BalanceProof(FORMAT, node.genesis.digest, address, encode(chain), encode_fields(proof.to_fields()))
