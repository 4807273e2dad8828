"""Records of the wire: bounds, round trips, and what a certificate must show."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.codec import decode, encode
from chain.crypto.ed25519 import SecretKey, derive_seed
from chain.msgpack_reader import DecodeError, DecodeReason
from chain.types.block import Block
from chain.types.committee import Committee, Validator, is_quorum
from chain.types.evidence import Evidence, evidence_of
from chain.types.statement import NOTHING, Kind, Statement, excludes
from consensus.messages import (
    Certificate,
    CertificateError,
    CertificateFault,
    Hearsay,
    Proposal,
    Seal,
    Vote,
    Word,
    decode_message,
    encode_message,
    head_of,
    read_head,
)
from consensus.sync.requests import BlocksRequest, BlocksResponse, FetchRequest, FetchResponse, Status
from tests.consensus.fakes import CHAIN_ID, committee_of, genesis

KEYS = sorted(
    (SecretKey(derive_seed(bytes(32), "consensus", i)) for i in range(7)), key=lambda key: key.public_key
)
COMMITTEE = committee_of(key.public_key for key in KEYS)
HEADER = genesis(COMMITTEE)
BLOCK = Block(HEADER, ())
STATEMENT = Statement(Kind.FINALIZE, 3, 5, BLOCK.digest)


def vote_of(key: SecretKey, statement: Statement = STATEMENT) -> Vote:
    signature = key.sign(statement.signing_bytes(CHAIN_ID))
    return Vote(statement.kind, statement.epoch, statement.view, statement.digest, key.public_key, signature)


def certificate_of(*indices: int, statement: Statement = STATEMENT) -> Certificate:
    seals = tuple(Seal(i, KEYS[i].sign(statement.signing_bytes(CHAIN_ID))) for i in indices)
    return Certificate(statement.kind, statement.epoch, statement.view, statement.digest, seals)


PROPOSAL = Proposal(3, 5, BLOCK, bytes(64))
HEARSAY = Hearsay(3, 5, (Word(0, Kind.FINALIZE, BLOCK.digest, bytes(64)),))
MESSAGES = [vote_of(KEYS[0]), PROPOSAL, certificate_of(0, 1, 2, 3, 4), HEARSAY]
RECORDS = [
    FetchRequest((bytes(32),), 1, 2, 3),
    FetchResponse((BLOCK,), (certificate_of(0),)),
    Status(1, bytes(32), 0),
    BlocksRequest(1, 64),
    BlocksResponse((BLOCK,), (HEADER,), certificate_of(0)),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: type(m).__name__)
def test_a_message_comes_back_as_it_was(message) -> None:
    assert decode_message(encode_message(message), limit=1 << 20) == message


@pytest.mark.parametrize("record", RECORDS, ids=lambda r: type(r).__name__)
def test_a_request_comes_back_as_it_was(record) -> None:
    assert decode(type(record), encode(record), limit=1 << 20) == record


@given(st.binary(max_size=400))
@settings(max_examples=300, deadline=None)
def test_noise_is_refused_with_a_reason(data: bytes) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_message(data, limit=1 << 20)
    assert isinstance(caught.value.reason, DecodeReason)


@given(st.sampled_from([encode_message(m) for m in MESSAGES]), st.data())
@settings(max_examples=300, deadline=None)
def test_damage_is_refused_or_is_another_canonical_message(data: bytes, draw) -> None:
    position = draw.draw(st.integers(0, len(data) - 1))
    changed = bytearray(data)
    changed[position] ^= draw.draw(st.integers(1, 255))
    cut = bytes(changed)[: draw.draw(st.sampled_from([len(data), len(data) - 1, position]))]
    try:
        message = decode_message(cut, limit=1 << 20)
    except DecodeError:
        return
    assert encode_message(message) == cut
    assert read_head(cut) == head_of(message)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: type(m).__name__)
def test_a_head_is_read_from_the_ends_of_a_frame(message) -> None:
    frame = encode_message(message)
    assert read_head(frame) == head_of(message)
    # What lies between costs nothing: it is not even looked at.
    assert read_head(frame[:60] + bytes(1000) + frame[-66:]) == head_of(message)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", DecodeReason.TRUNCATED),
        (b"\x92\x92\x01\x96\x01", DecodeReason.WRONG_LENGTH),
        (b"\x91\x93\x01\x96\x01", DecodeReason.WRONG_LENGTH),
        (b"\x91\x92\x05\x96\x01".ljust(80), DecodeReason.UNKNOWN_TAG),
        (b"\x91\x92\x01\x95\x01".ljust(80), DecodeReason.WRONG_LENGTH),
        (b"\x91\x92\x01\x96\x04".ljust(80), DecodeReason.OUT_OF_RANGE),
        (b"\x91\x92\x01\x96\x01\xcc\x03".ljust(80), DecodeReason.NOT_CANONICAL),
        (b"\x91\x92\x01\x96\x01\x03\xc0".ljust(80), DecodeReason.WRONG_TYPE),
        (b"\x91\x92\x02\x94\x03\x05".ljust(80), DecodeReason.WRONG_TYPE),
    ],
)
def test_what_is_no_head(data: bytes, reason: DecodeReason) -> None:
    with pytest.raises(DecodeError) as caught:
        read_head(data)
    assert caught.value.reason is reason


@given(st.sampled_from([(type(r), encode(r)) for r in RECORDS]), st.data())
@settings(max_examples=200, deadline=None)
def test_damaged_requests_are_refused_or_canonical(case, draw) -> None:
    kind, data = case
    changed = bytearray(data)
    changed[draw.draw(st.integers(0, len(data) - 1))] ^= draw.draw(st.integers(1, 255))
    try:
        record = decode(kind, bytes(changed), limit=1 << 20)
    except DecodeError:
        return
    assert encode(record) == bytes(changed)


def test_a_message_over_the_limit_is_not_read() -> None:
    with pytest.raises(DecodeError) as caught:
        decode_message(bytes(101), limit=100)
    assert caught.value.reason is DecodeReason.TOO_LONG


@pytest.mark.parametrize(
    ("kind", "named"), [(Kind.NULLIFY, bytes([1]) * 32), (Kind.NOTARIZE, NOTHING), (Kind.FINALIZE, NOTHING)]
)
def test_only_a_nullification_names_no_block(kind: Kind, named: bytes) -> None:
    with pytest.raises(ValueError, match="cannot name block"):
        Statement(kind, 0, 0, named)
    with pytest.raises(ValueError, match="cannot name block"):
        Vote(kind, 0, 0, named, bytes(32), bytes(64))


def test_a_proposal_is_no_vote() -> None:
    with pytest.raises(ValueError, match="a proposal is no vote"):
        Vote(Kind.PROPOSE, 0, 0, bytes([1]) * 32, bytes(32), bytes(64))
    with pytest.raises(ValueError, match="a proposal has no certificate"):
        Certificate(Kind.PROPOSE, 0, 0, bytes([1]) * 32, ())


@pytest.mark.parametrize(
    "other",
    [
        replace(STATEMENT, kind=Kind.NOTARIZE), replace(STATEMENT, epoch=4), replace(STATEMENT, view=6),
        replace(STATEMENT, digest=bytes([7]) * 32),
    ],
    ids=["kind", "epoch", "view", "digest"],
)  # fmt: skip
def test_a_signature_covers_every_field(other: Statement) -> None:
    vote = vote_of(KEYS[0])
    assert vote.is_authentic(CHAIN_ID)
    assert not vote.is_authentic("another-chain")
    forged = Vote(other.kind, other.epoch, other.view, other.digest, vote.signer, vote.signature)
    assert not forged.is_authentic(CHAIN_ID)


def test_a_proposal_is_signed_by_its_leader() -> None:
    signature = KEYS[1].sign(PROPOSAL.statement.signing_bytes(CHAIN_ID))
    proposal = replace(PROPOSAL, signature=signature)
    assert proposal.is_authentic(KEYS[1].public_key, CHAIN_ID)
    assert not proposal.is_authentic(KEYS[2].public_key, CHAIN_ID)
    assert not replace(proposal, view=6).is_authentic(KEYS[1].public_key, CHAIN_ID)


def test_a_quorum_holds() -> None:
    certificate_of(0, 2, 3, 4, 6).verify(COMMITTEE, CHAIN_ID)


def test_known_signatures_are_not_verified_again() -> None:
    good = certificate_of(0, 1, 2, 3, 4)
    forged = replace(good, signatures=(*good.signatures[:4], Seal(4, bytes(64))))
    forged.verify(COMMITTEE, CHAIN_ID, known=[(4, bytes(64))])
    with pytest.raises(CertificateError):
        forged.verify(COMMITTEE, CHAIN_ID, known=[(3, bytes(64))])


GOOD = certificate_of(0, 1, 2, 3, 4)


@pytest.mark.parametrize(
    ("certificate", "chain_id", "reason"),
    [
        (certificate_of(0, 1, 2, 3), CHAIN_ID, CertificateFault.NO_QUORUM),
        (certificate_of(0, 1, 2, 3, 3), CHAIN_ID, CertificateFault.NOT_ASCENDING),
        (certificate_of(1, 0, 2, 3, 4), CHAIN_ID, CertificateFault.NOT_ASCENDING),
        (replace(GOOD, signatures=(*GOOD.signatures[:4], Seal(7, bytes(64)))), CHAIN_ID,
         CertificateFault.UNKNOWN_VALIDATOR),
        (replace(GOOD, signatures=(*GOOD.signatures[:4], Seal(5, GOOD.signatures[4].signature))), CHAIN_ID,
         CertificateFault.BAD_SIGNATURE),
        (replace(GOOD, view=6), CHAIN_ID, CertificateFault.BAD_SIGNATURE),
        (GOOD, "another-chain", CertificateFault.BAD_SIGNATURE),
        (replace(GOOD, signatures=()), CHAIN_ID, CertificateFault.NO_QUORUM),
    ],
)  # fmt: skip
def test_what_is_no_certificate(certificate: Certificate, chain_id: str, reason: CertificateFault) -> None:
    with pytest.raises(CertificateError) as caught:
        certificate.verify(COMMITTEE, chain_id)
    assert caught.value.reason is reason


@pytest.mark.parametrize(
    ("seats", "total", "enough"), [(2, 3, False), (3, 3, True), (6, 9, False), (7, 9, True)]
)
def test_exactly_two_thirds_is_no_quorum(seats: int, total: int, enough: bool) -> None:
    assert is_quorum(seats, total) is enough
    # The same through a certificate: one validator holds the seats that agree, another the rest.
    if seats == total:
        return
    first, second = KEYS[0], KEYS[1]
    committee = Committee((
        Validator(first.public_key, first.public_key, seats),
        Validator(second.public_key, second.public_key, total - seats),
    ))  # fmt: skip
    if enough:
        certificate_of(0).verify(committee, CHAIN_ID)
    else:
        with pytest.raises(CertificateError, match=f"{seats} of {total} seats"):
            certificate_of(0).verify(committee, CHAIN_ID)


def test_evidence_is_two_statements_that_exclude_each_other() -> None:
    other = replace(STATEMENT, digest=bytes([9]) * 32)
    first, second = vote_of(KEYS[0]), vote_of(KEYS[0], other)
    signed = ((STATEMENT, first.signature), (other, second.signature))
    evidence = evidence_of(first.signer, *signed)
    assert evidence == evidence_of(first.signer, *reversed(signed))
    assert evidence is not None
    assert evidence.is_authentic(CHAIN_ID)
    assert not replace(evidence, second_signature=evidence.first_signature).is_authentic(CHAIN_ID)
    with pytest.raises(ValueError, match="comes after"):
        Evidence(first.signer, evidence.second, bytes(64), evidence.first, bytes(64))
    assert evidence_of(first.signer, signed[0], signed[0]) is None
    with pytest.raises(ValueError, match="may both be signed"):
        Evidence(first.signer, STATEMENT, first.signature, STATEMENT, first.signature)


@pytest.mark.parametrize(
    ("first", "second", "verdict"),
    [
        (Kind.FINALIZE, Kind.NULLIFY, True),
        (Kind.NULLIFY, Kind.FINALIZE, True),
        (Kind.NOTARIZE, Kind.NULLIFY, False),
        (Kind.NOTARIZE, Kind.FINALIZE, False),
        (Kind.PROPOSE, Kind.NOTARIZE, False),
        (Kind.NULLIFY, Kind.NULLIFY, False),
    ],
)
def test_which_kinds_exclude_each_other(first: Kind, second: Kind, verdict: bool) -> None:
    def statement(kind: Kind) -> Statement:
        return Statement(kind, 1, 1, NOTHING if kind is Kind.NULLIFY else bytes([1]) * 32)

    assert excludes(statement(first), statement(second)) is verdict
    assert not excludes(statement(first), replace(statement(second), view=2))
    assert not excludes(statement(first), replace(statement(second), epoch=2))
