"""Simplex for one epoch, as a pure step: no clock, no keys, no disk, no waiting, no randomness.

`Simplex.step` takes one event and returns the effects that a shell performs in order. Rules S1 to S8 are
those of `consensus/README.md`; S2 and S3 are in `proposing`. An observer (a key without seats, or no key)
runs the same machine and never signs.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

from chain.types.block import Block, Header
from chain.types.committee import Committee
from chain.types.statement import Kind, Statement
from consensus.messages import Certificate, ConsensusMessage, Head, Hearsay, Vote
from consensus.simplex import effects, events, news, proposing
from consensus.simplex.effects import Effect
from consensus.simplex.events import Event, Timer
from consensus.simplex.instance import FETCHED_VIEWS, Instance, Setting
from consensus.simplex.passing_on import pass_on
from consensus.simplex.rounds import VIEWS_AHEAD, Round
from consensus.simplex.tree import Missing, SafetyViolation
from p2p.network import PeerId

_RESENT_VIEWS: Final = 8
"""Views before the current one whose certificates are sent again; older ones are fetched."""


class Simplex:
    """The protocol of one node in one epoch."""

    def __init__(self, setting: Setting) -> None:
        self._state = Instance(setting)
        self._helped: set[PeerId] = set()
        self._handlers: dict[type[Event], Callable[[Any], None]] = {
            events.Resumed: self._on_resumed,
            events.ProposalSeen: self._on_proposal,
            events.VoteSeen: self._on_vote,
            events.CertificateSeen: self._on_certificate_seen,
            events.HearsaySeen: self._on_hearsay,
            events.BlockFetched: self._on_fetched,
            events.TimerFired: self._on_timer,
            events.Validated: self._on_validated,
            events.Built: self._on_built,
            events.Signed: self._on_signed,
            events.Proposed: self._on_proposed,
            events.Advanced: self._on_advanced,
            events.PeerJoined: self._on_joined,
        }

    @property
    def epoch(self) -> int:
        """The epoch of this instance."""
        return self._state.epoch

    @property
    def view(self) -> int:
        """The view we are in."""
        return self._state.view

    @property
    def floor(self) -> int:
        """The first view that is not final."""
        return self._state.rounds.floor

    @property
    def committee(self) -> Committee:
        """The committee of this epoch."""
        return self._state.setting.committee

    @property
    def done(self) -> bool:
        """The epoch's last block is final: the next instance takes over, this one ignores everything."""
        return self._state.done

    @property
    def is_member(self) -> bool:
        """Whether our key has seats in this epoch."""
        return self._state.me is not None

    @property
    def base(self) -> Header:
        """The newest final block that this instance knows of."""
        return self._state.tree.base

    def leader(self, view: int) -> bytes:
        """Consensus key of the leader of ``view``."""
        return self._state.leader(view)

    def block(self, digest: bytes) -> Block | None:
        """A body that is not final yet."""
        return self._state.tree.block(digest)

    def header(self, digest: bytes) -> Header | None:
        """Header of the newest final block, or of one above it that is here."""
        return self._state.tree.header(digest)

    def certificates(self, first_view: int, end_view: int) -> Iterator[Certificate]:
        """Those of a range of views, for a peer that fetches them; the newest finalization always."""
        rounds = self._state.rounds
        if self._state.certificate is not None:
            yield self._state.certificate
        for view in range(max(first_view, rounds.floor), min(end_view, first_view + FETCHED_VIEWS)):
            found = rounds.find(view)
            if found is not None:
                yield from found.certificates()

    def to_keep(self) -> list[Certificate]:
        """Those of the newest views; the newest finalization is the ledger's to keep."""
        end = self.view + 1
        newest = self.certificates(max(0, end - FETCHED_VIEWS), end)
        return [certificate for certificate in newest if certificate.kind is not Kind.FINALIZE]

    def known_signatures(self, statement: Statement) -> tuple[tuple[int, bytes], ...]:
        """Pairs (validator, signature) that were verified under ``statement``."""
        found = self._state.rounds.find(statement.view)
        return () if found is None else found.votes.known(statement)

    def knows(self, origin: PeerId, message: ConsensusMessage) -> bool:
        """Whether a message would change nothing, so that its signatures need not be verified.

        A repeated vote of a view that is over is news once a peer: the peer is stuck there and wants help.
        """
        return news.is_known(self._state, message, was_helped=origin in self._helped)

    def knows_by_head(self, head: Head) -> bool:
        """Whether a head tells that its message would change nothing: then it need not be decoded."""
        return news.is_known_by_head(self._state, head)

    def news(self, hearsay: Hearsay) -> tuple[tuple[bytes, Statement, bytes], ...]:
        """Signer, statement and signature of what hearsay may tell us: alone worth verifying."""
        return news.news(self._state, hearsay)

    def step(self, event: Event) -> list[Effect]:
        """Take one event; the effects are to be performed in order.

        Raises:
            SafetyViolation: Two certificates contradict each other; nothing is sure any more.
        """
        if self.done:
            return []
        self._state.out = []
        self._handlers[type(event)](event)
        return self._state.out

    def _on_resumed(self, event: events.Resumed) -> None:
        state, floor = self._state, self._state.rounds.floor
        for digest, block in event.blocks:
            state.restore_body(digest, block)
        for digest, proposal in event.proposals:
            if proposal.view >= floor:
                found = state.rounds.at(proposal.view)
                found.own_proposal, found.building = proposal, True
                found.proposals.append((digest, proposal, None))
                state.tree.add(digest, proposal.block)
        own = [vote for vote in event.votes if vote.view >= floor and state.me is not None]
        for vote in own:
            found = state.rounds.at(vote.view)
            found.signed[vote.kind] = vote.digest
            found.own.append(vote)
        known = [certificate for certificate in event.certificates if certificate.view >= floor]
        for certificate in known:
            self._keep(certificate)
        entered = max([floor] + [certificate.view + 1 for certificate in known])
        state.presence.watch_from(entered)
        self._enter(entered)
        for found in state.rounds.known():
            self._sign_finalize(found)
        for vote in own:
            if vote.view >= state.rounds.floor and not state.done:
                self._count(vote)
        if not state.done:
            self._say_all(None)

    def _enter(self, view: int) -> None:
        """S1."""
        state = self._state
        if view > state.view + 1:
            state.presence.watch_from(view)
        state.view, state.attempt = view, 0
        self._helped.clear()
        state.forget_bodies(view + 1 - _RESENT_VIEWS)
        pace, found = state.setting.pace, state.current
        if state.me is not None:
            fruitless = state.rounds.fruitless(view)
            leader = state.leader(view)
            found.skipped = leader != state.me and state.presence.is_silent(state.index[leader], view)
            self._set_timer(Timer.PROPOSAL, pace.proposal(fruitless, silent=found.skipped))
            self._set_timer(Timer.CERTIFICATE, pace.certificate(fruitless))
        self._set_timer(Timer.RESEND, pace.resend(0))
        self._pass_on()
        self._advance()

    def _set_timer(self, timer: Timer, delay_ms: int) -> None:
        self._state.out.append(effects.SetTimer(timer, self.epoch, self.view, delay_ms))

    def _on_timer(self, event: events.TimerFired) -> None:
        """S4."""
        state = self._state
        if (event.epoch, event.view) != (state.epoch, state.view):
            return
        if event.timer is Timer.RESEND:
            state.attempt += 1
            state.ask_again()
            self._helped.clear()
            self._say_all(None)
            self._set_timer(Timer.RESEND, state.setting.pace.resend(state.attempt))
            self._advance()
        elif event.timer is Timer.CERTIFICATE or not state.current.proposals:
            proposing.nullify(state)

    def _on_signed(self, event: events.Signed) -> None:
        vote, state = event.vote, self._state
        if vote.view < state.rounds.floor or vote in state.rounds.at(vote.view).own:
            return
        state.rounds.at(vote.view).own.append(vote)
        state.out.append(effects.Broadcast(vote))
        self._count(vote)

    def _on_vote(self, event: events.VoteSeen) -> None:
        vote, state = event.vote, self._state
        if vote.view > state.view + VIEWS_AHEAD or vote.signer not in state.index:
            return
        # Below the final block no votes are remembered; a slow voter of the view just over is not stuck.
        is_counted = vote.view >= state.rounds.floor
        if not is_counted:
            # Whoever is farther away than a quorum is always this late, and is there all the same.
            state.presence.heard(state.index[vote.signer], vote.view)
            state.note(vote.signer, vote.statement, vote.signature)
        is_moving = self._count(vote) if is_counted else vote.view >= state.view - 1
        if not is_moving and vote.view < state.view and vote.kind is not Kind.FINALIZE:
            self._help(event.origin, vote.view)

    def _count(self, vote: Vote) -> bool:
        """Add a vote to its view; False if its sender seems to be stuck there."""
        state = self._state
        index, found = state.index[vote.signer], state.rounds.at(vote.view)
        state.presence.heard(index, vote.view)
        state.note(vote.signer, vote.statement, vote.signature)
        if not found.votes.add(index, vote):
            return False
        certificate = found.votes.certificate(vote.statement)
        if certificate is not None:
            self._on_certificate(certificate)
        return vote.view >= state.view - 1

    def _help(self, origin: PeerId, view: int) -> None:
        """Bring a peer that votes in a view that is over to ours, once a peer and view of ours."""
        state = self._state
        if origin in self._helped:
            return
        self._helped.add(origin)
        if state.certificate is not None and view <= state.certificate.view:
            state.out.append(effects.Send(origin, state.certificate))
        for found in state.rounds.recent(state.view, 1):
            state.out += [effects.Send(origin, certificate) for certificate in found.certificates()]

    def _on_certificate_seen(self, event: events.CertificateSeen) -> None:
        state, certificate = self._state, event.certificate
        for signer, seal in zip(state.signers(certificate), certificate.signatures, strict=True):
            state.note(signer, certificate.statement, seal.signature)
        try:
            self._on_certificate(certificate)
        except SafetyViolation as violation:
            accused = [effect.evidence for effect in state.out if isinstance(effect, effects.Accuse)]
            violation.evidence = tuple(accused)
            raise

    def _on_hearsay(self, event: events.HearsaySeen) -> None:
        for said in event.said:
            self._state.note(*said)

    def _pass_on(self) -> None:
        """Tell the others what they may not have heard of views that are over."""
        if self._state.me is not None:
            self._state.out += map(effects.Broadcast, pass_on(self._state))

    def _on_certificate(self, certificate: Certificate) -> None:
        """S5, S6, S7: keep it, pass it on, act on it, enter the next view."""
        state = self._state
        if certificate.view < state.rounds.floor:
            return
        for seal in certificate.signatures:
            state.presence.heard(seal.validator, certificate.view)
        if not self._keep(certificate):
            return
        if certificate.kind is not Kind.FINALIZE:
            state.save(certificate)
        state.out.append(effects.Broadcast(certificate))
        if certificate.view >= state.view:
            state.ask_again()
        if certificate.kind is Kind.NOTARIZE:
            self._sign_finalize(state.rounds.at(certificate.view))
        self._finalize()
        if state.done:
            return
        if certificate.view >= state.view:
            self._enter(certificate.view + 1)
        else:
            self._advance()

    def _keep(self, certificate: Certificate) -> bool:
        """Put a certificate in its place; False if there is one of its kind."""
        state, found = self._state, self._state.rounds.at(certificate.view)
        if not found.put(certificate):
            return False
        state.outcomes.won(certificate.kind, certificate.view, certificate.digest)
        if certificate.kind is Kind.FINALIZE and (
            state.pending is None or certificate.view > state.pending.view
        ):
            state.pending = certificate
        return True

    def _sign_finalize(self, found: Round) -> None:
        """S5: finalize the notarized block, if we never signed nullify for this view."""
        if found.notarization is not None and Kind.FINALIZE not in found.signed and self._may_finalize(found):
            self._state.sign(found, Kind.FINALIZE, found.notarization.digest)

    def _may_finalize(self, found: Round) -> bool:
        return Kind.NULLIFY not in found.signed

    def _finalize(self) -> None:
        """S7: as soon as all bodies are here."""
        state, certificate = self._state, self._state.pending
        if certificate is None:
            return
        path = state.tree.path(certificate.digest)
        if isinstance(path, Missing):
            state.fetch(path.digest, state.signers(certificate))
            return
        state.pending = None
        if path:
            state.settle(path, certificate)

    def _on_advanced(self, event: events.Advanced) -> None:
        state = self._state
        if event.header.height <= state.tree.base.height:
            return
        if state.pending is not None and state.pending.view <= event.certificate.view:
            state.pending = None
        state.outcomes.skip(event.certificate.view + 1)
        state.rebase(event.header, event.certificate)
        if not state.done and event.certificate.view >= state.view:
            self._enter(event.certificate.view + 1)
        self._advance()

    def _advance(self) -> None:
        """Do whatever has become possible."""
        state = self._state
        if not state.done:
            self._finalize()
        if not state.done and state.me is not None:
            proposing.try_propose(state)
            proposing.try_notarize(state)

    def _on_fetched(self, event: events.BlockFetched) -> None:
        self._state.tree.add(event.digest, event.block)
        self._advance()

    def _on_validated(self, event: events.Validated) -> None:
        self._state.judge(event.digest, event.fault)
        self._advance()

    def _on_built(self, event: events.Built) -> None:
        proposing.take_built(self._state, event)

    def _on_proposed(self, event: events.Proposed) -> None:
        proposing.take_own(self._state, event.proposal, event.digest)
        self._advance()

    def _on_proposal(self, event: events.ProposalSeen) -> None:
        view, signature = event.proposal.view, event.proposal.signature
        statement = Statement(Kind.PROPOSE, self.epoch, view, event.digest)
        self._state.note(self.leader(view), statement, signature)
        proposing.take_proposal(self._state, event.origin, event.proposal, event.digest)
        self._advance()

    def _on_joined(self, event: events.PeerJoined) -> None:
        self._say_all(event.origin)

    def _say_all(self, to: PeerId | None) -> None:
        """S4: everything that a peer stuck in or before this view may lack."""
        state, said = self._state, list[ConsensusMessage]()
        if state.certificate is not None:
            said.append(state.certificate)
        for found in state.rounds.recent(state.view, _RESENT_VIEWS):
            said += found.certificates()
            said += [vote for vote in found.own if vote.kind is Kind.FINALIZE]
        current = state.current
        if current.own_proposal is not None:
            said.append(current.own_proposal)
        said += current.own
        state.out += [effects.Broadcast(m) if to is None else effects.Send(to, m) for m in said]
