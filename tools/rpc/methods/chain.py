"""The node and its final chain: status, rules, blocks, committee, peers."""

from chain.codec import U64
from chain.reasons import Reason
from chain.types.block import Block
from chain.types.committee import Committee, is_quorum
from chain.types.params import ChainParams
from chain.types.receipt import BlockOutcome
from tools.rpc.faults import Code, RpcFault
from tools.rpc.messages import (
    BlockView,
    CommitteeView,
    MempoolLine,
    PeerLine,
    SeatView,
    Status,
    TransactionLine,
)
from tools.rpc.methods.earlier import not_here
from tools.rpc.methods.events import all_events, event_view
from tools.rpc.view import NodeView
from tools.version import version


def status(node: NodeView) -> Status:
    """How the node and its chain stand."""
    now, head, params = node.status(), node.head, node.genesis.params
    own = node.consensus_key
    return Status(
        version=version(),
        chain_id=params.chain_id,
        genesis=node.genesis.digest,
        height=head.height,
        block=head.digest,
        state_root=head.state_root,
        timestamp_ms=head.timestamp_ms,
        lag_ms=now.lag_ms,
        epoch=now.epoch,
        epoch_last_height=params.last_height(now.epoch),
        view=now.view,
        base_fee=head.base_fee,
        mempool=len(node.mempool),
        peers=len(node.peers()),
        validators=len(now.committee.validators),
        seats=now.committee.seats,
        consensus_key=own,
        own_seats=now.committee.seats_of(own) if own is not None else 0,
        syncing=now.syncing,
        first_block=node.store.first,
        disk=now.disk,
    )


def params(node: NodeView) -> ChainParams:
    """The rules' constants, from the genesis document."""
    return node.genesis.params


def block(node: NodeView, height: U64 | None = None) -> BlockView:
    """A final block with what happened in it; the latest if no height is given."""
    wanted = node.head.height if height is None else height
    found, outcome = node.store.block(wanted), node.store.outcome(wanted)
    if 0 < wanted < node.store.first:
        raise not_here(node, f"no block of height {wanted}", next_step="ask for a higher one")
    if found is None or outcome is None:
        raise RpcFault(
            Code.NOT_FOUND,
            f"height {wanted} is not final here; the head is {node.head.height}",
            next_step="ask for a lower height, or wait: `headrace status`",
        )
    header = found.header
    return BlockView(
        height=header.height,
        digest=header.digest,
        parent=header.parent,
        epoch=header.epoch,
        view=header.view,
        timestamp_ms=header.timestamp_ms,
        proposer=header.proposer,
        beacon=header.beacon,
        base_fee=header.base_fee,
        state_root=header.state_root,
        transactions=_lines(found, outcome),
        events=tuple(event_view(wanted, event) for event in all_events(outcome)),
        certified=node.store.finalization(wanted) is not None,
    )


def committee(node: NodeView) -> CommitteeView:
    """Who votes on the next height, and how concentrated the seats are."""
    now = node.status()
    ordered = sorted(now.committee.validators, key=lambda v: (-v.seats, v.consensus_key))
    total = now.committee.seats
    return CommitteeView(
        epoch=now.epoch,
        seats=total,
        quorum=next(seats for seats in range(total + 1) if is_quorum(seats, total)),
        from_genesis=_is_from_genesis(node, now.epoch),
        largest_permille=ordered[0].seats * 1000 // total,
        to_halt=holders_to_halt(now.committee),
        validators=tuple(SeatView(v.consensus_key, v.payout, v.seats) for v in ordered),
    )


def _is_from_genesis(node: NodeView, epoch: int) -> bool:
    """Whether no work has decided a committee yet. Seats cannot tell: work may earn the very same ones."""
    params = node.genesis.params
    for decided in range(epoch, params.genesis_epochs - 1, -1):
        outcome = node.store.outcome(params.last_height(decided - 1)) if decided else None
        if outcome is None and decided:
            # Before this node's first block: the seats are all there is to go by.
            return node.store.committee(decided) == node.genesis.committee
        if outcome and any(event.reason is Reason.SEATS_APPORTIONED for event in outcome.closing):
            return False
    return True


def holders_to_halt(committee: Committee) -> int:
    """Fewest seat holders without whom no quorum exists (the Nakamoto coefficient for liveness)."""
    left = committee.seats
    for count, seats in enumerate(sorted((v.seats for v in committee.validators), reverse=True), start=1):
        left -= seats
        if not is_quorum(left, committee.seats):
            return count
    raise AssertionError("no seats are no quorum")


def peers(node: NodeView) -> tuple[PeerLine, ...]:
    """Connected peers."""
    return tuple(
        PeerLine(
            peer=peer.peer,
            address=peer.address,
            inbound=peer.inbound,
            connected_ms=peer.connected_ms,
            bytes_in=peer.bytes_in,
            bytes_out=peer.bytes_out,
            score=peer.score,
            complaint=peer.complaint,
            dropped_consensus=peer.dropped_consensus,
            dropped_transactions=peer.dropped_transactions,
        )
        for peer in node.peers()
    )


def mempool(node: NodeView) -> MempoolLine:
    """How much waits to be put into a block."""
    return MempoolLine(len(node.mempool))


def _lines(block: Block, outcome: BlockOutcome) -> tuple[TransactionLine, ...]:
    return tuple(
        TransactionLine(
            id=receipt.transaction,
            sender=signed.transaction.sender,
            kind=type(signed.transaction.body).__name__,
            reason=receipt.reason,
            fee=receipt.fee,
        )
        for signed, receipt in zip(block.transactions, outcome.receipts, strict=True)
    )
