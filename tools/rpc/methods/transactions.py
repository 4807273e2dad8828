"""Transactions in and out."""

from chain.address import encode_address
from chain.codec import Hash32, decode, encode
from chain.msgpack_reader import DecodeError
from chain.reasons import Reason
from chain.types.transaction import (
    Body,
    CommitWork,
    ProveWork,
    RegisterMiner,
    ReportEquivocation,
    SignedTransaction,
    SubmitTask,
    Transfer,
    Unregister,
)
from tools.rpc.advice import refusal
from tools.rpc.faults import RpcFault
from tools.rpc.messages import Encoded, Sent, TransactionView
from tools.rpc.methods.earlier import not_here
from tools.rpc.view import NodeView


async def send_transaction(node: NodeView, encoded: Encoded) -> Sent:
    """Hand a signed transaction, in its canonical form, to the mempool."""
    try:
        signed = decode(SignedTransaction, encoded, limit=node.genesis.params.max_transaction_bytes)
    except DecodeError as error:
        fault = refusal(Reason.MALFORMED)
        fault.message = f"{fault.message} ({error})"
        raise fault from None
    reason = await node.submit(signed)
    if reason is not Reason.OK:
        raise refusal(reason)
    return Sent(signed.id)


def transaction(node: NodeView, id: Hash32) -> TransactionView:  # noqa: A002 - the parameter's name on the wire
    """A transaction by its id: final with its outcome, or waiting in this node's mempool."""
    place = node.store.find_transaction(id)
    if place is None:
        waiting = node.mempool.get(id)
        if waiting is None:
            raise _unknown(node, id)
        return _view(waiting, node.genesis.params.address_prefix)
    height, index = place
    block, outcome = node.store.block(height), node.store.outcome(height)
    if block is None or outcome is None:  # pruned since it was found
        raise _unknown(node, id)
    receipt = outcome.receipts[index]
    view = _view(block.transactions[index], node.genesis.params.address_prefix)
    return TransactionView(
        id=view.id,
        final=True,
        height=height,
        index=index,
        reason=receipt.reason,
        explanation=receipt.reason.explanation,
        weight=receipt.weight,
        fee=receipt.fee,
        sender=view.sender,
        nonce=view.nonce,
        max_base_fee=view.max_base_fee,
        tip=view.tip,
        kind=view.kind,
        summary=view.summary,
        encoded=view.encoded,
    )


def summary_of(body: Body, *, prefix: str) -> str:
    """What a transaction asks for, in a few words."""
    match body:
        case Transfer(to=to, amount=amount):
            return f"send {amount} to {encode_address(to, prefix=prefix)}"
        case RegisterMiner(consensus_key=key, bond=bond):
            return f"register as the miner of consensus key {key.hex()} with a bond of {bond}"
        case Unregister():
            return "stop mining"
        case SubmitTask(model=model, rows=rows, payment=payment):
            return f"ask model {model.hex()[:16]} about {rows} rows for {payment}"
        case CommitWork(units=units, tasks=tasks, commons_count=count):
            return f"commit to {units} units: {len(tasks)} tasks, {count} shards"
        case ProveWork(commit=commit, proof=proof):
            return f"prove commit {commit.hex()} in {len(proof)} bytes"
        case ReportEquivocation(evidence=evidence):
            return (
                f"report that consensus key {evidence.signer.hex()} signed two statements that exclude each "
                f"other in view {evidence.view} of epoch {evidence.epoch}"
            )


def _unknown(node: NodeView, transaction_id: bytes) -> RpcFault:
    fate = node.mempool.fate(transaction_id)
    if fate is not None:
        fault = refusal(fate)
        fault.message = f"this node dropped the transaction: {fault.message}"
        return fault
    return not_here(
        node,
        f"this node knows no transaction {transaction_id.hex()}",
        next_step="check the id; if it was sent long ago and is not final, send it again",
    )


def _view(signed: SignedTransaction, prefix: str) -> TransactionView:
    inner = signed.transaction
    return TransactionView(
        id=signed.id,
        final=False,
        height=None,
        index=None,
        reason=None,
        explanation="The transaction waits to be put into a block.",
        weight=0,
        fee=0,
        sender=inner.sender,
        nonce=inner.nonce,
        max_base_fee=inner.max_base_fee,
        tip=inner.tip,
        kind=type(inner.body).__name__,
        summary=summary_of(inner.body, prefix=prefix),
        encoded=encode(signed),
    )
