"""Headers and blocks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final

from chain.codec import U16, U64, AtMost, Exactly, Hash32, PublicKey, encode
from chain.hashing import digest, merkle_root
from chain.types.transaction import SignedTransaction

PROTOCOL_VERSION: Final = 1
MAX_TRANSACTIONS: Final = 1 << 14
VRF_PROOF_BYTES: Final = 80


@dataclass(frozen=True, slots=True)
class Header:
    """All that a certificate signs; every root is of the state *after* this block."""

    version: U16
    chain_id: Annotated[str, AtMost(32)]
    height: U64
    epoch: U64
    view: U64
    """View in which the block was made; a later view may propose the same block again."""
    parent: Hash32
    timestamp_ms: U64
    """Leader's clock; later than the parent's."""
    proposer: PublicKey
    vrf_proof: Annotated[bytes, Exactly(VRF_PROOF_BYTES)]
    beacon: Hash32
    base_fee: U64
    """Per unit of weight, in force in this block."""
    transactions_root: Hash32
    receipts_root: Hash32
    """Over the outcomes of transactions and of the block's own events."""
    state_root: Hash32
    next_committee_root: Hash32
    """Committee that votes on the next height."""

    @property
    def digest(self) -> bytes:
        """Names the block and all of its history."""
        return digest("headrace/header", encode(self))


@dataclass(frozen=True, slots=True)
class Block:
    """A header and the transactions that it commits to."""

    header: Header
    transactions: Annotated[tuple[SignedTransaction, ...], AtMost(MAX_TRANSACTIONS)]

    @property
    def digest(self) -> bytes:
        """The header's digest."""
        return self.header.digest


def transactions_root(transactions: Sequence[SignedTransaction]) -> bytes:
    """Root over the signed bytes of each transaction, in order."""
    return merkle_root("headrace/transactions", [encode(transaction) for transaction in transactions])


def beacon_input(chain_id: str, parent_beacon: bytes, view: int) -> bytes:
    """What the leader of ``view`` feeds to its VRF."""
    return digest("headrace/beacon-input", chain_id.encode(), parent_beacon, view.to_bytes(8, "little"))


def next_beacon(parent_beacon: bytes, vrf_output: bytes) -> bytes:
    """The chain's randomness after a block whose leader's VRF gave ``vrf_output``."""
    return digest("headrace/beacon", parent_beacon, vrf_output)
