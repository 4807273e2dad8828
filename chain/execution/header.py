"""Headers: made from an execution by a leader, checked against parent and execution by everyone else.

A block is checked in two steps, the cheap one first:

```
 check_header      header against parent: chain, height, epoch, time, proposer, base fee, body, VRF proof
 execute_block     on the parent's state
 check_outcome     header against execution: receipts, state, next committee
```

That the proposer led the view is consensus' to know.
"""

from collections.abc import Sequence

from chain.codec import encode
from chain.crypto import vrf
from chain.execution.block import Execution
from chain.execution.invalid import BlockReason, InvalidBlock
from chain.execution.run import BlockContext
from chain.types.block import (
    PROTOCOL_VERSION,
    VRF_PROOF_BYTES,
    Block,
    Header,
    beacon_input,
    next_beacon,
    transactions_root,
)
from chain.types.committee import Committee
from chain.types.params import ChainParams
from chain.types.transaction import SignedTransaction


def context_for(
    parent: Header,
    *,
    params: ChainParams,
    timestamp_ms: int,
    proposer: bytes,
    vrf_proof: bytes,
    base_fee: int,
) -> BlockContext:
    """The context of a block that a leader is about to make.

    Args:
        parent: Header of the parent.
        params: The chain's rules.
        timestamp_ms: Later than the parent's.
        proposer: The leader's consensus key.
        vrf_proof: The leader's own, over `beacon_input` of the parent's beacon and the view.
        base_fee: `Execution.next_base_fee` of the parent.
    """
    output = vrf.proof_to_hash(vrf_proof)
    assert output is not None, "a leader's own proof is malformed"
    assert timestamp_ms > parent.timestamp_ms, f"time {timestamp_ms} after {parent.timestamp_ms}"
    height = parent.height + 1
    return BlockContext(
        height=height,
        epoch=params.epoch_of(height),
        timestamp_ms=timestamp_ms,
        proposer=proposer,
        parent_beacon=parent.beacon,
        beacon=next_beacon(parent.beacon, output),
        base_fee=base_fee,
    )


def make_header(
    parent: Header,
    context: BlockContext,
    execution: Execution,
    transactions: Sequence[SignedTransaction],
    *,
    view: int,
    vrf_proof: bytes,
) -> Header:
    """The header of an executed block.

    Args:
        parent: Header of the parent.
        context: What the block was executed with.
        execution: What came of it.
        transactions: The block's body.
        view: View that the block is made in.
        vrf_proof: The one that gave the context its beacon.
    """
    return Header(
        version=PROTOCOL_VERSION,
        chain_id=parent.chain_id,
        height=context.height,
        epoch=context.epoch,
        view=view,
        parent=parent.digest,
        timestamp_ms=context.timestamp_ms,
        proposer=context.proposer,
        vrf_proof=vrf_proof,
        beacon=context.beacon,
        base_fee=context.base_fee,
        transactions_root=transactions_root(transactions),
        receipts_root=execution.outcome.root,
        state_root=execution.state.root,
        next_committee_root=execution.next_committee.root,
    )


def check_header(
    parent: Header, block: Block, *, params: ChainParams, committee: Committee, base_fee: int
) -> BlockContext:
    """Check all of a header that needs no execution; returns what to execute the body with.

    Args:
        parent: Header of the parent.
        block: The block to check.
        params: The chain's rules.
        committee: Of the block's epoch.
        base_fee: `Execution.next_base_fee` of the parent.

    Raises:
        InvalidBlock: WRONG_VERSION, WRONG_CHAIN, WRONG_HEIGHT, WRONG_PARENT, WRONG_EPOCH,
            TIMESTAMP_TOO_EARLY,
            NOT_A_MEMBER, TOO_MANY_BYTES, WRONG_TRANSACTIONS_ROOT, WRONG_BASE_FEE, BAD_VRF_PROOF or
            WRONG_BEACON.
    """
    header = block.header
    height = parent.height + 1
    _same(BlockReason.WRONG_VERSION, "version", header.version, PROTOCOL_VERSION)
    _same(BlockReason.WRONG_CHAIN, "chain", header.chain_id, params.chain_id)
    _same(BlockReason.WRONG_HEIGHT, "height", header.height, height)
    _same(BlockReason.WRONG_PARENT, "parent", header.parent, parent.digest)
    _same(BlockReason.WRONG_EPOCH, "epoch", header.epoch, params.epoch_of(height))
    if header.timestamp_ms <= parent.timestamp_ms:
        raise InvalidBlock(
            BlockReason.TIMESTAMP_TOO_EARLY,
            f"timestamp {header.timestamp_ms} ms, the parent's is {parent.timestamp_ms} ms",
        )
    if committee.index_of(header.proposer) is None:
        raise InvalidBlock(
            BlockReason.NOT_A_MEMBER, f"proposer {header.proposer.hex()} has no seat in epoch {header.epoch}"
        )
    _same(BlockReason.WRONG_BASE_FEE, "base fee", header.base_fee, base_fee)
    size = len(encode(block))
    if size > params.max_block_bytes:
        raise InvalidBlock(BlockReason.TOO_MANY_BYTES, f"{size} bytes, at most {params.max_block_bytes}")
    root = transactions_root(block.transactions)
    _same(BlockReason.WRONG_TRANSACTIONS_ROOT, "transactions root", header.transactions_root, root)
    _check_beacon(parent, header)
    return BlockContext(
        height=height,
        epoch=header.epoch,
        timestamp_ms=header.timestamp_ms,
        proposer=header.proposer,
        parent_beacon=parent.beacon,
        beacon=header.beacon,
        base_fee=base_fee,
    )


def check_outcome(header: Header, execution: Execution) -> None:
    """Compare a header with what executing its block gave.

    Raises:
        InvalidBlock: WRONG_RECEIPTS_ROOT, WRONG_STATE_ROOT or WRONG_COMMITTEE_ROOT.
    """
    _same(BlockReason.WRONG_RECEIPTS_ROOT, "receipts root", header.receipts_root, execution.outcome.root)
    _same(BlockReason.WRONG_STATE_ROOT, "state root", header.state_root, execution.state.root)
    _same(
        BlockReason.WRONG_COMMITTEE_ROOT,
        "committee root", header.next_committee_root, execution.next_committee.root,
    )  # fmt: skip


def genesis_header(
    *, chain_id: str, timestamp_ms: int, beacon: bytes, base_fee: int, state_root: bytes, committee: Committee
) -> Header:
    """The header at height 0, which nobody proposed and nobody signs.

    Args:
        chain_id: The chain's name.
        timestamp_ms: Of the genesis document.
        beacon: The first one; the digest of the genesis document, so that it binds every later one.
        base_fee: The floor.
        state_root: Of the state that `open_genesis_state` gives.
        committee: Votes on height 1.
    """
    return Header(
        version=PROTOCOL_VERSION,
        chain_id=chain_id,
        height=0,
        epoch=0,
        view=0,
        parent=bytes(32),
        timestamp_ms=timestamp_ms,
        proposer=bytes(32),
        vrf_proof=bytes(VRF_PROOF_BYTES),
        beacon=beacon,
        base_fee=base_fee,
        transactions_root=transactions_root(()),
        receipts_root=bytes(32),
        state_root=state_root,
        next_committee_root=committee.root,
    )


def _check_beacon(parent: Header, header: Header) -> None:
    alpha = beacon_input(header.chain_id, parent.beacon, header.view)
    output = vrf.verify(header.proposer, alpha, header.vrf_proof)
    if output is None:
        raise InvalidBlock(
            BlockReason.BAD_VRF_PROOF,
            f"the proof is not {header.proposer.hex()}'s for view {header.view} over {parent.beacon.hex()}",
        )
    _same(BlockReason.WRONG_BEACON, "beacon", header.beacon, next_beacon(parent.beacon, output))


def _same(reason: BlockReason, what: str, got: object, expected: object) -> None:
    if got != expected:
        raise InvalidBlock(reason, f"{what} {_shown(got)}, expected {_shown(expected)}")


def _shown(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else repr(value)
