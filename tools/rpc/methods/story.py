"""Why: everything that the ledger says about one name, in order, and how it stands now."""

from dataclasses import dataclass
from typing import Annotated

from chain.address import AddressError, decode_address, encode_address
from chain.codec import AtMost
from chain.execution import queries
from chain.execution.records import TaskStatus
from chain.execution.run import bounded_text
from chain.reasons import Reason
from chain.types.receipt import Event, Receipt
from chain.types.transaction import (
    NOBODY,
    CommitWork,
    ReportEquivocation,
    SignedTransaction,
    SubmitTask,
)
from tools.amounts import coins
from tools.rpc.faults import Code, RpcFault
from tools.rpc.messages import EventView, Story
from tools.rpc.methods.earlier import not_here
from tools.rpc.methods.events import event_view
from tools.rpc.methods.transactions import summary_of
from tools.rpc.methods.work import at_stake
from tools.rpc.view import NodeView

Name = Annotated[str, AtMost(128)]

_TASK = {
    TaskStatus.WAITING: "waits for a miner",
    TaskStatus.ASSIGNED: "is in a miner's hands",
    TaskStatus.COMMITTED: "has an answer whose proof is due",
    TaskStatus.ANSWERED: "is answered, proven and paid",
    TaskStatus.REFUNDED: "was refunded",
}


@dataclass(frozen=True, slots=True)
class _Final:
    """A final transaction in its place."""

    height: int
    signed: SignedTransaction
    receipt: Receipt


def why(node: NodeView, id: Name) -> Story:  # noqa: A002 - the parameter's name on the wire
    """The story of a task, commit, transaction, miner, account or consensus key.

    The name is an id or key in hexadecimal, or an address.
    """
    subject = _subject(node, id)
    final = _final(node, subject)
    events = [event_view(height, event) for height, event in node.store.events_about(subject)]
    if final is not None:
        events = [*_receipt_line(node, final), *events]
    proposed = node.store.proposed_by(subject)
    events.sort(key=lambda event: event.height)
    kind, summary = _kind(node, subject, final)
    if kind == "unknown" and not events and not proposed:
        raise not_here(
            node,
            f"nothing final, and nothing waiting at this node, is called {id[:80]!a}",
            next_step="check the name; what was sent through another node may take a second to arrive",
        )
    if proposed:
        # A line each would bury what the key is asked about.
        summary += (
            f" Not listed: {proposed.blocks} blocks that it proposed from height {proposed.first} on; "
            f"{coins(proposed.burned)} coins of fees were burned in them."
        )
    return Story(subject=subject, kind=kind, summary=summary, events=tuple(events))


def _subject(node: NodeView, name: str) -> bytes:
    try:
        raw = bytes.fromhex(name)
        if len(raw) == 32 and raw.hex() == name:
            return raw
    except ValueError:
        pass
    try:
        return decode_address(name, prefix=node.genesis.params.address_prefix)
    except AddressError as error:
        raise RpcFault(
            Code.INVALID_PARAMS,
            f"$.id: neither 64 hexadecimal digits nor an address: {error}",
            next_step="give a task, commit or transaction id, a consensus key, or an address",
        ) from None


def _final(node: NodeView, subject: bytes) -> _Final | None:
    place = node.store.find_transaction(subject)
    if place is None:
        return None
    height, index = place
    block, outcome = node.store.block(height), node.store.outcome(height)
    if block is None or outcome is None:  # pruned since it was found
        return None
    return _Final(height, block.transactions[index], outcome.receipts[index])


def _receipt_line(node: NodeView, final: _Final) -> list[EventView]:
    """The transaction's own outcome; a refusal has left an event already, with its values."""
    transaction, receipt = final.signed.transaction, final.receipt
    if receipt.reason is not Reason.OK:
        return []
    detail = summary_of(transaction.body, prefix=node.genesis.params.address_prefix)
    sender = b"" if transaction.sender == NOBODY else transaction.sender
    event = Event(receipt.reason, receipt.transaction, sender, receipt.fee, bounded_text(detail))
    return [event_view(final.height, event)]


def _kind(node: NodeView, subject: bytes, final: _Final | None) -> tuple[str, str]:
    """What a name names, and how that stands."""
    if final is not None:
        return _of_transaction(node, subject, final)
    if node.mempool.get(subject) is not None:
        return "transaction", "The transaction waits at this node to be put into a block."
    fate = node.mempool.fate(subject)
    if fate is not None:
        return "transaction", f"This node dropped the waiting transaction: {fate.name}. {fate.explanation}"
    prefix = node.genesis.params.address_prefix
    miner = queries.miner(node.state, subject)
    if miner is not None:
        holds = f"a bond of {coins(miner.bond)} coins"
        staked = f"{coins(at_stake(node, subject))} of it at stake in {miner.open_commits} open commits"
        return "miner", f"The miner is {miner.status.name}, with {holds}, {staked}."
    conviction = queries.conviction(node.state, subject)
    if conviction is not None:
        return "consensus key", (
            f"The key contradicted itself in view {conviction.view} of epoch {conviction.epoch}, was "
            f"convicted at height {conviction.height} and never gets a seat again; it cost its miner "
            f"{coins(conviction.burned)} coins. Both statements, with their signatures, are in transaction "
            f"{conviction.report.hex()}."
        )
    tied = queries.miner_of(node.state, subject)
    seats = node.status().committee.seats_of(subject)
    if tied is not None or seats:
        owner = "no miner" if tied is None else f"miner {encode_address(tied, prefix=prefix)}"
        return (
            "consensus key",
            f"The key belongs to {owner} and holds {seats} seats in the present committee.",
        )
    account = queries.account(node.state, subject)
    if account.balance or account.nonce:
        return (
            "account",
            f"The account has {coins(account.balance)} coins and sent {account.nonce} transactions.",
        )
    return "unknown", "The name is not in the final state; its past is below."


def _of_transaction(node: NodeView, subject: bytes, final: _Final) -> tuple[str, str]:
    reason = final.receipt.reason
    body = final.signed.transaction.body
    if reason is not Reason.OK:
        return "transaction", f"Only the fee was taken: {reason.name}. {reason.explanation}"
    if isinstance(body, SubmitTask):
        task = queries.task(node.state, subject)
        return "task", "The task is finished." if task is None else f"The task {_TASK[task.status]}."
    if isinstance(body, CommitWork):
        commit = queries.commit(node.state, subject)
        if commit is None:
            return "commit", "The commit is closed; how, is below."
        return "commit", f"The commit awaits its proof; {coins(commit.stake)} coins of the bond are at stake."
    if isinstance(body, ReportEquivocation):
        key = body.evidence.signer.hex()
        return "evidence", f"Two signatures of consensus key {key} that no honest validator makes."
    return "transaction", f"The transaction is final at height {final.height} and did what it asked for."
