"""What one consensus signature says: the only thing that a consensus key ever signs in a view.

It lies down here, below consensus, so that the ledger can judge two of them that exclude each other.
"""

import enum
from dataclasses import dataclass
from typing import Final

from chain.codec import U64, Hash32, PublicKey, Signature
from chain.crypto import ed25519
from chain.hashing import digest

NOTHING: Final = bytes(32)
"""The digest that a nullification carries: it names no block."""


class Kind(enum.IntEnum):
    """What a signature says about a view. The numbers are signed: never renumber."""

    PROPOSE = 0
    NOTARIZE = 1
    NULLIFY = 2
    FINALIZE = 3


@dataclass(frozen=True, slots=True)
class Statement:
    """What one signature says, without who says it."""

    kind: Kind
    epoch: U64
    view: U64
    digest: Hash32
    """The block's digest; `NOTHING` if and only if the kind is `Kind.NULLIFY`."""

    def __post_init__(self) -> None:
        check_digest(self.kind, self.digest)

    def __str__(self) -> str:
        return self.kind.name if self.digest == NOTHING else f"{self.kind.name} {self.digest.hex()}"

    def signing_bytes(self, chain_id: str) -> bytes:
        """The 32 bytes that are signed."""
        return digest(
            "headrace/consensus",
            chain_id.encode(),
            bytes([self.kind])
            + self.epoch.to_bytes(8, "little")
            + self.view.to_bytes(8, "little")
            + self.digest,
        )

    def is_signed(self, signer: PublicKey, signature: Signature, chain_id: str) -> bool:
        """Whether ``signature`` is ``signer``'s under this statement on this chain."""
        return ed25519.verify(signer, self.signing_bytes(chain_id), signature)


def excludes(first: Statement, second: Statement) -> bool:
    """Whether no honest validator signs both: two blocks of one kind in a view, or finalize and nullify."""
    if (first.epoch, first.view) != (second.epoch, second.view):
        return False
    if first.kind is second.kind:
        return first.digest != second.digest
    return {first.kind, second.kind} == {Kind.FINALIZE, Kind.NULLIFY}


def check_digest(kind: Kind, block: bytes) -> None:
    """Only a nullification names no block.

    Raises:
        ValueError: The digest does not fit the kind.
    """
    if (kind is Kind.NULLIFY) != (block == NOTHING):
        raise ValueError(f"{kind.name} cannot name block {block.hex()}")
