"""Proofs for strangers."""

from typing import Final

import trio

from chain.codec import encode, encode_fields
from chain.execution import state_keys
from consensus.sync.light import WayTooLong
from tools.balance_proof import FORMAT, BalanceProof
from tools.rpc.faults import Code, RpcFault
from tools.rpc.view import NodeView
from tools.rpc.wire import Address

_OWN_THREAD: Final = trio.CapacityLimiter(1)
_IN_TURN: Final = trio.Lock()
"""One proof at a time: each of a long chain takes tens of megabytes while it is made."""


async def prove_balance(node: NodeView, address: Address) -> BalanceProof:
    """A proof of an account's balance at the last final block, for whoever has the genesis file."""
    async with _IN_TURN:
        height, proof = node.head.height, node.state.prove(state_keys.account(address))
        way = await _way_to(node, height)
    return BalanceProof(FORMAT, node.genesis.digest, address, way, encode_fields(proof.to_fields()))


async def _way_to(node: NodeView, height: int) -> bytes:
    """What leads from the genesis file to a final header, encoded."""
    try:
        chain = await node.chain_proof(height)
    except WayTooLong as error:
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
    # Megabytes of a long chain take a third of a second, in which no vote would be counted.
    return await trio.to_thread.run_sync(encode, chain, limiter=_OWN_THREAD)
