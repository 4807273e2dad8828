"""What convinces a stranger who holds nothing but a committee, such as the one in the genesis file.

    committee of epoch e ──signs──► last block of e ──names──► committee of e+1 ──► ... ──► header

One certificate an epoch; no blocks, no state. With the header proven, a state proof shows any balance.
"""

import enum
from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import Annotated, Final

from chain.codec import AtMost, encode
from chain.types.block import Header
from chain.types.committee import Committee
from chain.types.params import ChainParams
from chain.types.statement import Kind
from consensus.ledger import Ledger
from consensus.messages import Certificate, CertificateError
from consensus.sync.requests import MAX_BRIDGE

MAX_EPOCHS: Final = 1 << 14
"""Epochs that one proof spans; a longer way is gone in stages, each from where the last one led."""

MAX_PROOF_BYTES: Final = 1 << 23
"""Of a proof in its wire form; where committees are large, this is reached long before."""

_LENGTH_BYTES: Final = 2
"""Of the number of epochs, beyond the one byte that says none."""


class ProofFault(enum.Enum):
    """Why a chain proof convinces nobody."""

    WRONG_CHAIN = "wrong_chain"
    WRONG_EPOCH = "wrong_epoch"
    WRONG_HEIGHT = "wrong_height"
    WRONG_CERTIFICATE = "wrong_certificate"
    BAD_CERTIFICATE = "bad_certificate"
    WRONG_COMMITTEE = "wrong_committee"
    BROKEN_CHAIN = "broken_chain"


class ProofError(ValueError):
    """A chain proof that does not hold."""

    def __init__(self, reason: ProofFault, message: str) -> None:
        super().__init__(f"{reason.value}: {message}")
        self.reason = reason


class WayTooLong(ValueError):  # noqa: N818 - reads as a sentence where it is caught
    """The way to a header is longer than one proof may be."""


@dataclass(frozen=True, slots=True)
class EpochProof:
    """The end of an epoch, and the committee that it put in place."""

    header: Header
    certificate: Certificate
    next_committee: Committee


@dataclass(frozen=True, slots=True)
class ChainProof:
    """A way from a trusted committee to one header."""

    epochs: Annotated[tuple[EpochProof, ...], AtMost(MAX_EPOCHS)]
    """Ends of the epochs from the trusted one up to the one before the header's."""
    header: Header
    bridge: Annotated[tuple[Header, ...], AtMost(MAX_BRIDGE)]
    """Headers that lead from it to the certified one; empty if it is certified itself."""
    certificate: Certificate


@dataclass(frozen=True, slots=True)
class TrustedCommittee:
    """Where a stranger starts: the genesis committee is that of epoch 0."""

    epoch: int
    committee: Committee


def verify_chain_proof(proof: ChainProof, trusted: TrustedCommittee, *, params: ChainParams) -> Header:
    """The proven header.

    Args:
        proof: From anybody.
        trusted: From the genesis file, or from an earlier proof.
        params: From the genesis file.

    Raises:
        ProofError: With any of the reasons of `ProofFault`.
    """
    for link in proof.epochs:
        trusted = verify_epoch(link, trusted, params=params)
    epoch, committee = trusted.epoch, trusted.committee
    previous = proof.header
    _check_place(previous, epoch, params)
    for header in proof.bridge:
        _check_place(header, epoch, params)
        if header.parent != previous.digest:
            raise ProofError(
                ProofFault.BROKEN_CHAIN, f"height {header.height} does not follow {previous.digest.hex()}"
            )
        previous = header
    _check_certificate(proof.certificate, previous, committee, params.chain_id)
    return proof.header


def verify_epoch(link: EpochProof, trusted: TrustedCommittee, *, params: ChainParams) -> TrustedCommittee:
    """The committee that the end of an epoch puts in place, if the trusted one signed that end.

    Raises:
        ProofError: WRONG_CHAIN, WRONG_EPOCH, WRONG_HEIGHT, WRONG_CERTIFICATE, BAD_CERTIFICATE or
            WRONG_COMMITTEE.
    """
    epoch, header = trusted.epoch, link.header
    _check_place(header, epoch, params)
    last = params.last_height(epoch)
    if header.height != last:
        raise ProofError(
            ProofFault.WRONG_HEIGHT, f"height {header.height} ends epoch {epoch}, expected {last}"
        )
    _check_certificate(link.certificate, header, trusted.committee, params.chain_id)
    root = link.next_committee.root
    if root != header.next_committee_root:
        raise ProofError(
            ProofFault.WRONG_COMMITTEE,
            f"committee {root.hex()} after epoch {epoch}, expected {header.next_committee_root.hex()}",
        )
    return TrustedCommittee(epoch + 1, link.next_committee)


def make_epoch_proof(ledger: Ledger, epoch: int) -> EpochProof | None:
    """The proof of an epoch's end; None if it has not ended here."""
    last = ledger.params.last_height(epoch)
    if last > ledger.final_head.height:
        return None
    certificate = ledger.finalization(last)
    assert certificate is not None, f"epoch {epoch} ended without a finalization"
    return EpochProof(_header(ledger, last), certificate, ledger.committee(epoch + 1))


def make_chain_proof(
    ledger: Ledger, height: int, *, first_epoch: int = 0
) -> Generator[None, None, ChainProof | None]:
    """A proof of the header at ``height`` for whoever trusts the committee of ``first_epoch``.

    Made step by step, an epoch each: a long way takes seconds, and whoever makes it has more to do.

    Returns:
        None if the height is not final here, is genesis, lies before that epoch, or its header is not kept.

    Raises:
        WayTooLong: It lies more than `MAX_EPOCHS` or `MAX_PROOF_BYTES` after it: prove a header between the
            two first.
    """
    params = ledger.params
    if not 1 <= height <= ledger.final_head.height or params.epoch_of(height) < first_epoch:
        return None
    if ledger.final_header(height) is None:
        return None
    way = params.epoch_of(height) - first_epoch
    if way > MAX_EPOCHS:
        raise WayTooLong(f"height {height} is {way} epochs after epoch {first_epoch}, at most {MAX_EPOCHS}")
    end = _end_of_way(ledger, height)
    links: list[EpochProof] = []
    size = len(encode(end)) + _LENGTH_BYTES
    for epoch in range(first_epoch, params.epoch_of(height)):
        yield
        link = make_epoch_proof(ledger, epoch)
        assert link is not None, f"epoch {epoch} lies before height {height} and has not ended"
        links.append(link)
        size += len(encode(link))
        if size > MAX_PROOF_BYTES:
            raise WayTooLong(
                f"the way from epoch {first_epoch} to height {height}, {way} epochs, has more than "
                f"{MAX_PROOF_BYTES} bytes"
            )
    return replace(end, epochs=tuple(links))


def _end_of_way(ledger: Ledger, height: int) -> ChainProof:
    """What proves a header to whoever trusts the committee that signed it."""
    certificate = ledger.finalization(height)
    assert certificate is not None, f"final height {height} has no finalization above it"
    header = _header(ledger, height)
    bridge: list[Header] = []
    while (bridge[-1] if bridge else header).digest != certificate.digest:
        bridge.append(_header(ledger, height + len(bridge) + 1))
    return ChainProof((), header, tuple(bridge), certificate)


def _header(ledger: Ledger, height: int) -> Header:
    header = ledger.final_header(height)
    assert header is not None, f"final height {height} is not in the ledger"
    return header


def _check_place(header: Header, epoch: int, params: ChainParams) -> None:
    if header.chain_id != params.chain_id:
        raise ProofError(
            ProofFault.WRONG_CHAIN, f"a header of {header.chain_id!r}, expected {params.chain_id!r}"
        )
    if header.epoch != epoch:
        raise ProofError(ProofFault.WRONG_EPOCH, f"a header of epoch {header.epoch}, expected {epoch}")
    if header.height == 0 or params.epoch_of(header.height) != epoch:
        raise ProofError(ProofFault.WRONG_HEIGHT, f"height {header.height} is not in epoch {epoch}")


def _check_certificate(certificate: Certificate, header: Header, committee: Committee, chain_id: str) -> None:
    digest = header.digest
    if (certificate.kind, certificate.epoch, certificate.digest) != (Kind.FINALIZE, header.epoch, digest):
        raise ProofError(
            ProofFault.WRONG_CERTIFICATE,
            f"{certificate.kind.name} of {certificate.digest.hex()} in epoch {certificate.epoch}, expected "
            f"FINALIZE of {digest.hex()} in epoch {header.epoch}",
        )
    try:
        certificate.verify(committee, chain_id)
    except CertificateError as error:
        raise ProofError(ProofFault.BAD_CERTIFICATE, str(error)) from error
