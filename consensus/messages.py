"""What validators say to one another: proposals, votes, the certificates that votes add up to, and hearsay.

Every signature covers a `Statement` and the chain id, and nothing else, so two signatures by one key over two
statements that exclude each other are evidence wherever they were found.
"""

import enum
from collections.abc import Iterable
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Annotated, ClassVar, Final

from chain.codec import U16, U64, AtMost, Hash32, PublicKey, Signature, decode, encode
from chain.crypto import ed25519
from chain.msgpack_reader import DecodeError, DecodeReason, Reader
from chain.types.block import Block
from chain.types.committee import MAX_SEATS, Committee, is_quorum
from chain.types.statement import Kind, Statement, check_digest


@dataclass(frozen=True, slots=True)
class Vote:
    """One validator's signature under a statement; it counts as many seats as the validator holds."""

    TAG: ClassVar[int] = 1
    kind: Kind
    epoch: U64
    view: U64
    digest: Hash32
    signer: PublicKey
    signature: Signature

    def __post_init__(self) -> None:
        if self.kind is Kind.PROPOSE:
            raise ValueError("a proposal is no vote")
        check_digest(self.kind, self.digest)

    @property
    def statement(self) -> Statement:
        """What was signed."""
        return Statement(self.kind, self.epoch, self.view, self.digest)

    def is_authentic(self, chain_id: str) -> bool:
        """Whether the named signer signed it (not: whether it has a seat)."""
        return self.statement.is_signed(self.signer, self.signature, chain_id)


@dataclass(frozen=True, slots=True)
class Proposal:
    """A leader's block for a view.

    ``epoch`` and ``view`` are the proposal's own; the header's view is older where the last block of an epoch
    is proposed again.
    """

    TAG: ClassVar[int] = 2
    epoch: U64
    view: U64
    block: Block
    signature: Signature
    """By the leader of the view, over the `Kind.PROPOSE` statement of the block's digest."""

    @property
    def statement(self) -> Statement:
        """What was signed. Computes the block's digest."""
        return Statement(Kind.PROPOSE, self.epoch, self.view, self.block.digest)

    def is_authentic(self, leader: bytes, chain_id: str) -> bool:
        """Whether ``leader`` signed it."""
        return self.statement.is_signed(leader, self.signature, chain_id)


@dataclass(frozen=True, slots=True)
class Seal:
    """One validator's part of a certificate."""

    validator: U16
    """Position in the committee of the epoch."""
    signature: Signature


class CertificateFault(enum.Enum):
    """Why a certificate proves nothing."""

    NOT_ASCENDING = "not_ascending"
    UNKNOWN_VALIDATOR = "unknown_validator"
    NO_QUORUM = "no_quorum"
    BAD_SIGNATURE = "bad_signature"


class CertificateError(ValueError):
    """A certificate that does not hold against a committee."""

    def __init__(self, reason: CertificateFault, message: str) -> None:
        super().__init__(f"{reason.value}: {message}")
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Certificate:
    """A quorum of signatures under one statement: a notarization, nullification or finalization."""

    TAG: ClassVar[int] = 3
    kind: Kind
    epoch: U64
    view: U64
    digest: Hash32
    signatures: Annotated[tuple[Seal, ...], AtMost(MAX_SEATS)]
    """Strictly ascending by validator."""

    def __post_init__(self) -> None:
        if self.kind is Kind.PROPOSE:
            raise ValueError("a proposal has no certificate")
        check_digest(self.kind, self.digest)

    @property
    def statement(self) -> Statement:
        """What a quorum signed."""
        return Statement(self.kind, self.epoch, self.view, self.digest)

    def verify(self, committee: Committee, chain_id: str, *, known: Iterable[tuple[int, bytes]] = ()) -> None:
        """Check it against the committee of its epoch, cheapest checks first.

        Args:
            committee: The committee of this certificate's epoch.
            chain_id: Bound into every signature.
            known: Pairs (validator, signature) that were verified under this very statement before.

        Raises:
            CertificateError: With any of the reasons of `CertificateFault`.
        """
        validators, seats, previous = committee.validators, 0, -1
        for seal in self.signatures:
            if seal.validator <= previous:
                raise CertificateError(
                    CertificateFault.NOT_ASCENDING, f"validator {seal.validator} follows {previous}"
                )
            if seal.validator >= len(validators):
                raise CertificateError(
                    CertificateFault.UNKNOWN_VALIDATOR, f"validator {seal.validator} of {len(validators)}"
                )
            previous = seal.validator
            seats += validators[seal.validator].seats
        if not is_quorum(seats, committee.seats):
            raise CertificateError(CertificateFault.NO_QUORUM, f"{seats} of {committee.seats} seats")
        message, checked = self.statement.signing_bytes(chain_id), set(known)
        for seal in self.signatures:
            if (seal.validator, seal.signature) in checked:
                continue
            if not ed25519.verify(validators[seal.validator].consensus_key, message, seal.signature):
                raise CertificateError(CertificateFault.BAD_SIGNATURE, f"validator {seal.validator}")


@dataclass(frozen=True, slots=True)
class Word:
    """What one validator said in a view, in the mouth of another."""

    validator: U16
    """Position in the committee of the epoch."""
    kind: Kind
    digest: Hash32
    signature: Signature

    def __post_init__(self) -> None:
        check_digest(self.kind, self.digest)


@dataclass(frozen=True, slots=True)
class Hearsay:
    """What somebody heard others say in a view that is over; it counts for nothing but as evidence."""

    TAG: ClassVar[int] = 4
    epoch: U64
    view: U64
    words: Annotated[tuple[Word, ...], AtMost(len(Kind) * MAX_SEATS)]
    """Strictly ascending by validator and kind: one of a kind and key."""

    def __post_init__(self) -> None:
        if not self.words:
            raise ValueError("hearsay without a word")
        places = [(word.validator, word.kind) for word in self.words]
        if any(later <= earlier for earlier, later in pairwise(places)):
            raise ValueError("the words of hearsay do not ascend by validator and kind")

    def statement(self, word: Word) -> Statement:
        """What the signature of one of the words covers."""
        return Statement(word.kind, self.epoch, self.view, word.digest)


ConsensusMessage = Vote | Proposal | Certificate | Hearsay


@dataclass(frozen=True, slots=True)
class _Envelope:
    message: ConsensusMessage


def encode_message(message: ConsensusMessage) -> bytes:
    """The bytes of one frame on the consensus lane."""
    return encode(_Envelope(message))


def decode_message(data: bytes, *, limit: int) -> ConsensusMessage:
    """Read one frame of at most ``limit`` bytes.

    Raises:
        chain.codec.DecodeError: With any of its reasons.
    """
    return decode(_Envelope, data, limit=limit).message


@dataclass(frozen=True, slots=True)
class Head:
    """What a frame's ends tell of its message, without the megabytes between them."""

    message: type[Vote] | type[Proposal] | type[Certificate] | type[Hearsay]
    kind: Kind | None
    """Of the statement; None for hearsay."""
    epoch: int
    view: int
    signature: bytes
    """A proposal's; empty for the others."""


def head_of(message: ConsensusMessage) -> Head:
    """The head of a message that is decoded already."""
    if isinstance(message, Proposal):
        return Head(Proposal, Kind.PROPOSE, message.epoch, message.view, message.signature)
    kind = None if isinstance(message, Hearsay) else message.kind
    return Head(type(message), kind, message.epoch, message.view, b"")


_BY_TAG: Final = {kind.TAG: kind for kind in (Vote, Proposal, Certificate, Hearsay)}
_SIGNATURE_BYTES: Final = 64


def read_head(data: bytes) -> Head:
    """Read the head of a frame, in the one form that `encode_message` gives it.

    Every frame that `decode_message` takes has the head of its message. That a head can be read says nothing
    of what is behind it.

    Raises:
        chain.codec.DecodeError: No message has such a head.
    """
    reader = Reader(data)
    _enter_array(reader, 1)
    _enter_array(reader, 2)
    tag = reader.integer()
    if tag not in _BY_TAG:
        raise DecodeError(DecodeReason.UNKNOWN_TAG, f"{tag} is none of {sorted(_BY_TAG)}")
    message = _BY_TAG[tag]
    _enter_array(reader, len(fields(message)))
    kind, signature = None, b""
    if message is Proposal:
        kind = Kind.PROPOSE
        # The last field: two bytes of msgpack before it.
        signature = Reader(data[-_SIGNATURE_BYTES - 2 :]).octets(_SIGNATURE_BYTES, _SIGNATURE_BYTES)
    elif message is not Hearsay:
        number = reader.integer()
        if number not in Kind.__members__.values():
            raise DecodeError(DecodeReason.OUT_OF_RANGE, f"{number} is no Kind")
        kind = Kind(number)
    return Head(message, kind, reader.integer(), reader.integer(), signature)


def _enter_array(reader: Reader, length: int) -> None:
    found = reader.array()
    if found != length:
        raise DecodeError(DecodeReason.WRONG_LENGTH, f"{found} values where {length} were due")
