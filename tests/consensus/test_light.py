"""What convinces a stranger with a genesis committee, and what does not."""

from dataclasses import replace

import pytest

from chain.codec import decode, encode
from chain.types.statement import Kind
from consensus.sync.light import (
    ChainProof,
    EpochProof,
    ProofError,
    ProofFault,
    TrustedCommittee,
    WayTooLong,
    verify_chain_proof,
)
from tests.consensus.chains import COMMITTEES, PARAMS, certify, chain_of, proven

CHAIN = chain_of(14, direct=lambda height: height not in (9, 10))
GENESIS = TrustedCommittee(0, COMMITTEES[0])


def proof_of(height: int, first_epoch: int = 0) -> ChainProof:
    proof = proven(CHAIN, height, first_epoch)
    assert proof is not None
    return proof


@pytest.mark.parametrize("height", range(1, 15))
def test_every_final_header_is_proven_through_its_epochs(height: int) -> None:
    proof = decode(ChainProof, encode(proof_of(height)), limit=1 << 20)
    assert verify_chain_proof(proof, GENESIS, params=PARAMS).height == height
    assert len(proof.epochs) == (height - 1) // 4


def test_a_header_without_its_own_certificate_is_bridged() -> None:
    assert [header.height for header in proof_of(9).bridge] == [10, 11]


def test_a_stranger_may_start_from_a_later_committee() -> None:
    proof = proof_of(14, first_epoch=2)
    assert len(proof.epochs) == 1
    assert verify_chain_proof(proof, TrustedCommittee(2, COMMITTEES[0]), params=PARAMS).height == 14
    with pytest.raises(ProofError) as caught:
        verify_chain_proof(proof, GENESIS, params=PARAMS)
    assert caught.value.reason is ProofFault.WRONG_EPOCH


@pytest.mark.parametrize(("height", "first_epoch"), [(0, 0), (15, 0), (4, 1)])
def test_what_cannot_be_proven(height: int, first_epoch: int) -> None:
    assert proven(CHAIN, height, first_epoch) is None


def test_a_way_that_is_too_long_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consensus.sync.light.MAX_EPOCHS", 2)
    assert len(proof_of(12).epochs) == 2
    with pytest.raises(WayTooLong, match="height 13 is 3 epochs after epoch 0, at most 2"):
        proven(CHAIN, 13)
    assert len(proof_of(13, first_epoch=1).epochs) == 2


def test_a_way_of_too_many_bytes_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    size = len(encode(proof_of(13)))
    monkeypatch.setattr("consensus.sync.light.MAX_PROOF_BYTES", size + 2)
    assert len(proof_of(13).epochs) == 3
    monkeypatch.setattr("consensus.sync.light.MAX_PROOF_BYTES", size - 1)
    with pytest.raises(
        WayTooLong, match=f"from epoch 0 to height 13, 3 epochs, has more than {size - 1} bytes"
    ):
        proven(CHAIN, 13)


GOOD = proof_of(10)
FIRST = GOOD.epochs[0]


def with_first(link: EpochProof) -> ChainProof:
    return replace(GOOD, epochs=(link, *GOOD.epochs[1:]))


LIES = {
    "another chain": (replace(GOOD, header=replace(GOOD.header, chain_id="other")), ProofFault.WRONG_CHAIN),
    "an epoch left out": (replace(GOOD, epochs=GOOD.epochs[1:]), ProofFault.WRONG_EPOCH),
    "not the last block": (with_first(replace(FIRST, header=proof_of(3).header)), ProofFault.WRONG_HEIGHT),
    "another epoch's height": (replace(GOOD, header=replace(GOOD.header, height=3)), ProofFault.WRONG_HEIGHT),
    "a committee of one's own": (
        with_first(replace(FIRST, next_committee=COMMITTEES[0])),
        ProofFault.WRONG_COMMITTEE,
    ),
    "a notarization": (
        with_first(replace(FIRST, certificate=certify(CHAIN.final_block(4), kind=Kind.NOTARIZE))),
        ProofFault.WRONG_CERTIFICATE,
    ),
    "another block's": (replace(GOOD, certificate=FIRST.certificate), ProofFault.WRONG_CERTIFICATE),
    "a forgery": (
        replace(GOOD, certificate=replace(GOOD.certificate, view=77)),
        ProofFault.BAD_CERTIFICATE,
    ),
    "too few signatures": (
        replace(GOOD, certificate=replace(GOOD.certificate, signatures=GOOD.certificate.signatures[:2])),
        ProofFault.BAD_CERTIFICATE,
    ),
    "a broken bridge": (
        replace(GOOD, bridge=(replace(GOOD.bridge[0], parent=bytes(32)),)),
        ProofFault.BROKEN_CHAIN,
    ),
    "a changed balance": (
        replace(GOOD, header=replace(GOOD.header, state_root=bytes(32))),
        ProofFault.BROKEN_CHAIN,
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_convinces_nobody(lie: str) -> None:
    proof, reason = LIES[lie]
    with pytest.raises(ProofError) as caught:
        verify_chain_proof(proof, GENESIS, params=PARAMS)
    assert caught.value.reason is reason


def test_every_fault_has_its_lie() -> None:
    assert {reason for _, reason in LIES.values()} == set(ProofFault)


def test_a_chain_of_an_attacker_convinces_nobody() -> None:
    """A whole chain from a committee of one's own, internally without a fault."""
    forged = chain_of(6, committees=COMMITTEES[::-1])
    made = proven(forged, 6)
    assert made is not None
    assert verify_chain_proof(made, TrustedCommittee(0, COMMITTEES[1]), params=PARAMS).height == 6
    with pytest.raises(ProofError) as caught:
        verify_chain_proof(made, GENESIS, params=PARAMS)
    assert caught.value.reason is ProofFault.BAD_CERTIFICATE
