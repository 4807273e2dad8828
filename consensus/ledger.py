"""What consensus asks of the ledger, and nothing more: the seam that a node fills with `chain`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from chain.types.block import Block, Header
from chain.types.committee import Committee
from chain.types.params import ChainParams
from consensus.messages import Certificate


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """All that a leader decides about its block, before the transactions."""

    parent: bytes
    """Digest of the parent, which has been validated, built or finalized here."""
    epoch: int
    view: int
    timestamp_ms: int
    """Later than the parent's."""
    proposer: bytes
    """The leader's consensus key."""
    vrf_proof: bytes
    """Over `chain.types.block.beacon_input` of the parent's beacon and ``view``."""


class Ledger(Protocol):
    """The final chain, and speculative blocks on top of it, keyed by digest.

    One task calls the asynchronous methods, one at a time. The others are quick look-ups that come at any
    time between, also while one of those waits.
    """

    @property
    def params(self) -> ChainParams:
        """The chain's constants."""
        ...

    @property
    def final_head(self) -> Header:
        """Header of the last final block; of the genesis block (height 0) on a fresh chain."""
        ...

    def committee(self, epoch: int) -> Committee:
        """Committee of ``epoch``, which is at most the epoch of the height after `final_head`.

        Computed by executing the last block of the epoch before, and kept for ever (one a epoch).
        """
        ...

    def block(self, digest: bytes) -> Block | None:
        """A block, final or speculative; None if it is not here. Genesis has no block."""
        ...

    def height_of(self, digest: bytes) -> int | None:
        """Height of the final block with this digest, genesis included; None if no such block is final."""
        ...

    @property
    def first_block(self) -> int:
        """Least height from 1 on whose block is here; `final_head`'s successor if there is none yet.

        Later than 1 on a node that began with a state, or that forgets old blocks.
        """
        ...

    def final_block(self, height: int) -> Block | None:
        """The final block at ``height``, genesis (0) included; None above the head or below `first_block`."""
        ...

    def encoded_block(self, height: int) -> bytes | None:
        """What `final_block` gives, as `chain.codec` encodes it; for those who only pass it on."""
        ...

    def final_header(self, height: int) -> Header | None:
        """The final header at ``height``; below `first_block` of genesis and of each epoch's end alone."""
        ...

    def finalization(self, height: int) -> Certificate | None:
        """The certificate that made ``height`` final: of that block, or of its nearest descendant with one.

        The descendant is never in a later epoch, because the last block of an epoch always has its own.
        None above the head. Below `first_block` only the ends of epochs still have theirs.
        """
        ...

    async def validate(self, block: Block) -> None:
        """Check and execute a block whose parent is final here or has been validated, and keep the outcome.

        Covers everything that depends on the chain alone: header fields against the parent, VRF proof,
        timestamp after the parent's, transactions, roots. That the proposer led the view has been checked.
        Repeating it for a block that is known is cheap and does nothing.

        Raises:
            chain.execution.invalid.InvalidBlock: The block breaks a rule.
        """
        ...

    async def build(self, request: BuildRequest) -> Block:
        """Make a block from waiting transactions and keep its outcome, as if it had been validated."""
        ...

    async def finalize(self, blocks: Sequence[Block], certificate: Certificate) -> None:
        """Make blocks final, oldest first, all in one synced batch together with the certificate of the last.

        The first extends `final_head`, and all have been validated just before. Speculative blocks that do
        not descend from the new head are dropped.

        Raises:
            chain.execution.invalid.InvalidBlock: A block does not execute; nothing was written. Two thirds
                signed it, so this machine (or two thirds of the others) is wrong, and the node stops.
        """
        ...
