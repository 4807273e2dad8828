"""Turns a peer's message into an event once its signatures hold, or says what is wrong with it."""

from collections.abc import Callable

from consensus import events
from consensus.batch import body_matches
from consensus.halting import Halted, HaltReason
from consensus.messages import Certificate, CertificateError, ConsensusMessage, Proposal, Vote
from consensus.signer import Signer
from consensus.simplex import Simplex
from p2p.network import PeerId


class Lie(Exception):  # noqa: N818 - reads as a sentence where it is caught
    """What no honest peer sends."""


class Distrust(Exception):  # noqa: N818 - reads as a sentence where it is caught
    """What we do not act on, though its sender may be honest."""


class Verifier:
    """Checks messages of the current epoch."""

    def __init__(
        self, chain_id: str, signer: Signer | None, *, now_ms: Callable[[], int], max_clock_ahead_ms: int
    ) -> None:
        self._chain_id = chain_id
        self._signer = signer
        self._now_ms = now_ms
        self._max_clock_ahead_ms = max_clock_ahead_ms

    def check(self, simplex: Simplex, origin: PeerId, message: ConsensusMessage) -> events.Event | None:
        """The event that the message is, or None if it is our own coming back.

        Raises:
            Lie: The peer is at fault.
            Distrust: Nobody can tell who is.
            Halted: KEY_IN_USE_ELSEWHERE.
        """
        if isinstance(message, Vote):
            return self._vote(origin, message)
        if isinstance(message, Proposal):
            return self._proposal(simplex, origin, message)
        return self._certificate(simplex, origin, message)

    def _vote(self, origin: PeerId, vote: Vote) -> events.Event | None:
        if not vote.is_authentic(self._chain_id):
            raise Lie(f"a vote that {vote.signer.hex()} did not sign")
        if self._signer is None or vote.signer != self._signer.public_key:
            return events.VoteSeen(origin, vote)
        if not self._signer.has_signed(vote.statement):
            raise Halted(
                HaltReason.KEY_IN_USE_ELSEWHERE,
                f"peer {origin} sent a {vote.kind.name} of our key for epoch {vote.epoch} view {vote.view} "
                "that is not in our signing log",
            )
        return None

    def _proposal(self, simplex: Simplex, origin: PeerId, proposal: Proposal) -> events.Event:
        if not proposal.is_authentic(simplex.leader(proposal.view), self._chain_id):
            raise Lie(f"a proposal of view {proposal.view} that its leader did not sign")
        # A digest names a header. Kept under it, another's body would keep us from the true one for ever.
        if not body_matches(proposal.block):
            raise Lie(f"a proposal of view {proposal.view} whose header names other transactions")
        self._check_time(simplex, proposal)
        return events.ProposalSeen(origin, proposal, proposal.block.digest)

    def _check_time(self, simplex: Simplex, proposal: Proposal) -> None:
        """No vote for a block from the future, unless its parent is from there and it could not be earlier.

        Without the exception a quorum whose clocks were once hours ahead would stop the chain for hours. A
        parent that is not here is judged by others: more than a third notarized it, and they have it. A block
        that is proposed again was notarized (S3 asks for it), so its time was believed once and stays.
        """
        header = proposal.block.header
        ahead = header.timestamp_ms - self._now_ms()
        if ahead <= self._max_clock_ahead_ms or header.view < proposal.view:
            return
        parent = simplex.header(header.parent)
        if parent is not None and header.timestamp_ms > parent.timestamp_ms + 1:
            # Our own clock may be the wrong one: no vote, but no complaint and no verdict on the block
            # either.
            raise Distrust(f"a proposal of view {proposal.view} is {ahead} ms ahead of our clock")

    def _certificate(self, simplex: Simplex, origin: PeerId, certificate: Certificate) -> events.Event:
        try:
            known = simplex.known_signatures(certificate.statement)
            certificate.verify(simplex.committee, self._chain_id, known=known)
        except CertificateError as error:
            raise Lie(f"a {certificate.kind.name} certificate of view {certificate.view}: {error}") from error
        return events.CertificateSeen(origin, certificate)
