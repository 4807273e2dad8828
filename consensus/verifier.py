"""Turns a peer's message into an event once its signatures hold, or says what is wrong with it."""

from collections.abc import Callable

from chain.types.committee import Committee
from chain.types.statement import Statement
from consensus.halting import Halted, HaltReason
from consensus.messages import Certificate, CertificateError, ConsensusMessage, Hearsay, Proposal, Vote
from consensus.signing.signer import Signer
from consensus.simplex import events
from consensus.simplex.protocol import Simplex
from consensus.sync.batch import body_matches
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
        if isinstance(message, Hearsay):
            return self._hearsay(simplex, message)
        return self._certificate(simplex, origin, message)

    def check_seals(self, certificate: Certificate, committee: Committee) -> None:
        """Look for a seal of our key that we did not make in a certificate that was verified.

        Raises:
            Halted: KEY_IN_USE_ELSEWHERE.
        """
        own = None if self._signer is None else committee.index_of(self._signer.public_key)
        if own is not None and any(seal.validator == own for seal in certificate.signatures):
            self._check_own(certificate.statement, "a certificate with a seal")

    def _check_own(self, statement: Statement, what: str) -> None:
        """Whoever shows us what our key signed must show something that our log holds."""
        if self._signer is not None and not self._signer.has_signed(statement):
            raise Halted(
                HaltReason.KEY_IN_USE_ELSEWHERE,
                f"{what} of our key under {statement} of epoch {statement.epoch} view {statement.view} "
                "is not in our signing log: stop the other node that has this key",
            )

    def _vote(self, origin: PeerId, vote: Vote) -> events.Event | None:
        if not vote.is_authentic(self._chain_id):
            raise Lie(f"a vote that {vote.signer.hex()} did not sign")
        if self._signer is None or vote.signer != self._signer.public_key:
            return events.VoteSeen(origin, vote)
        self._check_own(vote.statement, f"a vote from peer {origin}")
        return None

    def _proposal(self, simplex: Simplex, origin: PeerId, proposal: Proposal) -> events.Event:
        leader = simplex.leader(proposal.view)
        if not proposal.is_authentic(leader, self._chain_id):
            raise Lie(f"a proposal of view {proposal.view} that its leader did not sign")
        if self._signer is not None and leader == self._signer.public_key:
            self._check_own(proposal.statement, "a proposal")
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
        self.check_seals(certificate, simplex.committee)
        return events.CertificateSeen(origin, certificate)

    def _hearsay(self, simplex: Simplex, hearsay: Hearsay) -> events.Event:
        """Only what is news is verified, so a lie costs one signature and honest repeats cost none."""
        if hearsay.words[-1].validator >= len(simplex.committee.validators):
            raise Lie(f"hearsay of view {hearsay.view} about validators that there are not")
        news = simplex.news(hearsay)
        for signer, statement, signature in news:
            if not statement.is_signed(signer, signature, self._chain_id):
                raise Lie(f"hearsay of view {hearsay.view} of what {signer.hex()} did not sign")
            if self._signer is not None and signer == self._signer.public_key:
                self._check_own(statement, "hearsay")
        return events.HearsaySeen(news)
