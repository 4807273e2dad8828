"""Simplex for one epoch, as a pure step: no clock, no keys, no disk, no waiting, no randomness.

`Simplex.step` takes one event and returns the effects that a shell performs in order. Rules S1 to S8 are those of
`consensus/README.md`. An observer (a key without seats, or no key) runs the same machine and never signs.
"""

from dataclasses import dataclass
from typing import Final

from chain.types.block import Block, Header
from chain.types.committee import Committee
from consensus import effects, events
from consensus.effects import Effect
from consensus.events import Event, Timer
from consensus.evidence import Evidence
from consensus.leader import leader_of
from consensus.messages import NOTHING, Certificate, ConsensusMessage, Kind, Proposal, Statement, Vote
from consensus.rounds import VIEWS_AHEAD, Round, Rounds
from consensus.timers import Pace, Presence
from consensus.tree import BlockTree, Dead, Missing, Ready, Unchecked
from p2p.network import PeerId

PROPOSALS_AHEAD: Final = 4
"""Bodies are large: only those of the next few views are taken early."""

_RESENT_VIEWS: Final = 8
"""Views before the current one whose certificates are sent again; older ones are fetched."""

_FETCHED_VIEWS: Final = 64
"""Views whose certificates one fetch asks for."""

_FRUITLESS_LIMIT: Final = 16


@dataclass(frozen=True, slots=True)
class Setting:
    """What is fixed for an epoch's instance, and the final block it starts from."""

    epoch: int
    committee: Committee
    beacon: bytes
    """Of the last block of the epoch before."""
    last_height: int
    pace: Pace
    me: bytes | None
    """Our consensus key."""
    base: Header
    """Last final block: of the epoch before, or of this one after a restart."""
    base_digest: bytes
    base_certificate: Certificate | None
    """What made the base final, if the base is of this epoch."""


class Simplex:
    """The protocol state of one node in one epoch."""

    def __init__(self, setting: Setting) -> None:
        self.epoch = setting.epoch
        self.committee = setting.committee
        self.view = 0
        self.done = False
        """The epoch's last block is final: the next instance takes over."""
        self.certificate = setting.base_certificate
        """What made the newest final block of this epoch final."""
        self._setting = setting
        self._index = {v.consensus_key: i for i, v in enumerate(setting.committee.validators)}
        self._me = setting.me if setting.me in self._index else None
        floor = 0 if setting.base_certificate is None else setting.base_certificate.view + 1
        self._rounds = Rounds(setting.committee, floor)
        self._tree = BlockTree(setting.base, setting.base_digest)
        self._presence = Presence(len(setting.committee.validators))
        self._final: Certificate | None = None
        self._leaders: dict[int, bytes] = {}
        self._saved: set[bytes] = set()
        self._asked: set[tuple[str, bytes | int]] = set()
        self._validating: set[bytes] = set()
        self._helped: set[PeerId] = set()
        self._attempt = 0
        self._out: list[Effect] = []

    @property
    def is_member(self) -> bool:
        """Whether our key has seats in this epoch."""
        return self._me is not None

    @property
    def base(self) -> Header:
        """The newest final block that this instance knows of."""
        return self._tree.base

    def leader(self, view: int) -> bytes:
        """Consensus key of the leader of ``view``."""
        found = self._leaders.get(view)
        if found is None:
            setting = self._setting
            found = leader_of(setting.committee, beacon=setting.beacon, epoch=self.epoch, view=view)
            self._leaders[view] = found
        return found

    def step(self, event: Event) -> list[Effect]:
        """Take one event; the effects are to be performed in order.

        Raises:
            consensus.tree.SafetyViolation: Two certificates contradict each other; nothing can be trusted now.
        """
        if self.done:
            return []
        self._out = []
        match event:
            case events.VoteSeen():
                self._on_vote(event.origin, event.vote)
            case events.CertificateSeen():
                self._on_certificate(event.certificate)
            case events.ProposalSeen():
                self._on_proposal(event.origin, event.proposal, event.digest)
            case events.TimerFired():
                self._on_timer(event)
            case events.Signed():
                self._on_signed(event.vote)
            case events.Validated():
                self._on_validated(event)
            case events.Built():
                self._on_built(event)
            case events.Proposed():
                self._on_proposed(event)
            case events.BlockFetched():
                self._tree.add(event.digest, event.block)
                self._advance()
            case events.PeerJoined():
                self._say_all(event.origin)
            case events.Advanced():
                self._on_advanced(event)
            case events.Resumed():
                self._on_resumed(event)
        return self._out

    def known_signatures(self, statement: Statement) -> tuple[tuple[int, bytes], ...]:
        """Pairs (validator, signature) that were verified under ``statement``."""
        found = self._rounds.find(statement.view)
        return () if found is None else found.votes.known(statement)

    def knows(self, message: ConsensusMessage) -> bool:
        """Whether a message would change nothing, so that its signatures need not be verified.

        A repeated vote of an older view is not called known: its sender is stuck there and wants help.
        """
        if isinstance(message, Proposal):
            return not self._rounds.floor <= message.view <= self.view + PROPOSALS_AHEAD
        found = self._rounds.find(message.view)
        if isinstance(message, Certificate):
            have = () if found is None else found.certificates()
            return message.view < self._rounds.floor or any(c.statement == message.statement for c in have)
        index = self._index.get(message.signer)
        if index is None or message.view > self.view + VIEWS_AHEAD:
            return True
        return message.view >= self.view and found is not None and found.votes.has(index, message)

    def certificates(self, first_view: int, end_view: int) -> tuple[Certificate, ...]:
        """Those of a range of views, for a peer that fetches them; the newest finalization always."""
        views = range(max(first_view, self._rounds.floor), min(end_view, first_view + _FETCHED_VIEWS))
        rounds = [found for view in views if (found := self._rounds.find(view)) is not None]
        final = () if self.certificate is None else (self.certificate,)
        return final + tuple(certificate for found in rounds for certificate in found.certificates())

    def block(self, digest: bytes) -> Block | None:
        """A body that is not final yet."""
        return self._tree.block(digest)

    def _on_resumed(self, event: events.Resumed) -> None:
        for digest, block in event.blocks:
            self._tree.add(digest, block)
            self._saved.add(digest)
        floor = self._rounds.floor
        entered = floor
        for vote in event.votes:
            if vote.view >= floor:
                self._rounds.at(vote.view).signed[vote.kind] = vote.digest
        for digest, proposal in event.proposals:
            if proposal.view >= floor:
                found = self._rounds.at(proposal.view)
                found.own_proposal, found.building = proposal, True
                found.proposals.append((digest, proposal, None))
                self._tree.add(digest, proposal.block)
        for certificate in event.certificates:
            if certificate.view >= floor:
                _put(self._rounds.at(certificate.view), certificate)
                entered = max(entered, certificate.view + 1)
                if certificate.kind is Kind.FINALIZE and (self._final is None or certificate.view > self._final.view):
                    self._final = certificate
        self._presence.watch_from(entered)
        self._enter(entered)
        for found in self._rounds.known():
            self._sign_finalize(found)
        for vote in event.votes:
            if vote.view >= self._rounds.floor and self._me is not None and not self.done:
                self._rounds.at(vote.view).own.append(vote)
                self._count(vote)
        if not self.done:
            self._say_all(None)

    def _enter(self, view: int) -> None:
        """S1."""
        if view > self.view + 1:
            self._presence.watch_from(view)
        self.view = view
        self._attempt = 0
        self._asked.clear()
        self._helped.clear()
        for digest, _ in self._rounds.stale_proposals(view - _RESENT_VIEWS):
            self._tree.drop(digest)
        self._leaders = {v: key for v, key in self._leaders.items() if v >= view}
        if self._me is not None:
            pace, found = self._setting.pace, self._rounds.at(view)
            fruitless = self._rounds.fruitless(view, _FRUITLESS_LIMIT)
            leader = self.leader(view)
            found.skipped = leader != self._me and self._presence.is_silent(self._index[leader], view)
            self._set_timer(Timer.PROPOSAL, pace.proposal(fruitless, silent=found.skipped))
            self._set_timer(Timer.CERTIFICATE, pace.certificate(fruitless))
        self._set_timer(Timer.RESEND, self._setting.pace.resend(0))
        self._advance()

    def _set_timer(self, timer: Timer, delay_ms: int) -> None:
        self._out.append(effects.SetTimer(timer, self.epoch, self.view, delay_ms))

    def _on_timer(self, event: events.TimerFired) -> None:
        if (event.epoch, event.view) != (self.epoch, self.view):
            return
        if event.timer is Timer.RESEND:
            self._attempt += 1
            self._asked.clear()
            self._helped.clear()
            self._say_all(None)
            self._set_timer(Timer.RESEND, self._setting.pace.resend(self._attempt))
            self._advance()
        elif event.timer is Timer.CERTIFICATE or not self._rounds.at(self.view).proposals:
            self._nullify()

    def _nullify(self) -> None:
        """S4."""
        found = self._rounds.at(self.view)
        if Kind.NULLIFY not in found.signed and Kind.FINALIZE not in found.signed:
            self._sign(found, Kind.NULLIFY, NOTHING)

    def _sign(self, found: Round, kind: Kind, digest: bytes) -> None:
        if self._me is not None:
            found.signed[kind] = digest
            self._out.append(effects.Sign(Statement(kind, self.epoch, found.view, digest)))

    def _on_signed(self, vote: Vote) -> None:
        found = self._rounds.at(vote.view) if vote.view >= self._rounds.floor else None
        if found is None or vote in found.own:
            return
        found.own.append(vote)
        self._out.append(effects.Broadcast(vote))
        self._count(vote)

    def _on_vote(self, origin: PeerId, vote: Vote) -> None:
        if vote.view > self.view + VIEWS_AHEAD or vote.signer not in self._index:
            return
        if vote.view < self._rounds.floor:
            # Below the final block nobody remembers votes; a slow voter of the view just over is not stuck.
            is_stuck = vote.view < self.view - 1
        else:
            is_stuck = not self._count(vote)
        if is_stuck:
            self._help(origin, vote)

    def _count(self, vote: Vote) -> bool:
        """Add a vote to its view; False if that changed nothing and its sender may be stuck."""
        index = self._index[vote.signer]
        found = self._rounds.at(vote.view)
        self._presence.heard(index, vote.view)
        evidence = found.votes.evidence(index, vote)
        if not found.votes.add(index, vote):
            return False
        if evidence is not None:
            self._out.append(effects.Accuse(evidence))
        certificate = found.votes.certificate(vote.statement)
        if certificate is not None:
            self._on_certificate(certificate)
        return vote.view >= self.view - 1

    def _help(self, origin: PeerId, vote: Vote) -> None:
        """Bring a peer that votes in a view that is over to ours, once a peer and view of ours."""
        if vote.view >= self.view or vote.kind is Kind.FINALIZE or origin in self._helped:
            return
        self._helped.add(origin)
        if self.certificate is not None and vote.view <= self.certificate.view:
            self._out.append(effects.Send(origin, self.certificate))
        self._out += [effects.Send(origin, c) for f in self._rounds.recent(self.view, 1) for c in f.certificates()]

    def _on_certificate(self, certificate: Certificate) -> None:
        if certificate.view < self._rounds.floor:
            return
        for seal in certificate.signatures:
            self._presence.heard(seal.validator, certificate.view)
        found = self._rounds.at(certificate.view)
        if not _put(found, certificate):
            return
        # S5, S6, S7: keep it, pass it on. A finalization is kept by the ledger.
        if self._me is not None and certificate.kind is not Kind.FINALIZE:
            self._out.append(effects.Save(certificates=(certificate,)))
        self._out.append(effects.Broadcast(certificate))
        if certificate.kind is Kind.NOTARIZE:
            self._sign_finalize(found)
        elif certificate.kind is Kind.FINALIZE and (self._final is None or certificate.view > self._final.view):
            self._final = certificate
            self._finalize()
        if certificate.view >= self.view and not self.done:
            self._enter(certificate.view + 1)
        else:
            self._advance()

    def _sign_finalize(self, found: Round) -> None:
        """S5: finalize unless we ever signed nullify for this view."""
        if found.notarization is not None and Kind.FINALIZE not in found.signed and self._may_finalize(found):
            self._sign(found, Kind.FINALIZE, found.notarization.digest)

    def _may_finalize(self, found: Round) -> bool:
        return Kind.NULLIFY not in found.signed

    def _finalize(self) -> None:
        """S7: as soon as all bodies are here."""
        certificate = self._final
        if certificate is None or self.done:
            return
        path = self._tree.path(certificate.digest)
        if isinstance(path, Missing):
            self._fetch(path.digest, self._signers(certificate))
            return
        self._final = None
        if path:
            self._out.append(effects.Finalize(path, certificate))
            self._rebase(path[-1].header, certificate)

    def _rebase(self, header: Header, certificate: Certificate) -> None:
        self.certificate = certificate
        self._tree.rebase(header, certificate.digest)
        self._rounds.raise_floor(certificate.view + 1)
        self._saved = {digest for digest in self._saved if self._tree.block(digest) is not None}
        self._validating = {digest for digest in self._validating if self._tree.block(digest) is not None}
        self.done = header.height == self._setting.last_height

    def _on_advanced(self, event: events.Advanced) -> None:
        if event.header.height <= self._tree.base.height:
            return
        if self._final is not None and self._final.view <= event.certificate.view:
            self._final = None
        self._rebase(event.header, event.certificate)
        if event.certificate.view >= self.view and not self.done:
            self._enter(event.certificate.view + 1)
        self._advance()

    def _advance(self) -> None:
        """Do whatever has become possible."""
        if not self.done:
            self._finalize()
        if not self.done and self._me is not None:
            self._try_propose()
            self._try_notarize()

    def _try_propose(self) -> None:
        """S2: one proposal a view; one that was signed before is re-sent by `_say_all`, never rebuilt."""
        found = self._rounds.at(self.view)
        if self.leader(self.view) != self._me or found.building:
            return
        parent_digest = self._choose_parent()
        parent = None if parent_digest is None else self._tree.header(parent_digest)
        if parent_digest is None or parent is None:
            return
        found.building = True
        if parent.height == self._setting.last_height:
            # The epoch's last block is proposed again until one of these views is final.
            block = self._tree.block(parent_digest)
            assert block is not None, "the base of an epoch that goes on is not its last block"
            self._out.append(effects.Propose(self.view, block))
        else:
            self._out.append(effects.Build(self.epoch, self.view, parent, parent_digest))

    def _choose_parent(self) -> bytes | None:
        """S2: the notarized block of the highest view above which all is nullified, if it is known."""
        for view in range(self.view - 1, self._rounds.floor - 1, -1):
            found = self._rounds.find(view)
            digest = None if found is None else found.notarized
            if digest is not None and self._is_ready(digest):
                return digest
            if found is None or found.nullification is None:
                if digest is None:
                    self._fetch_views((view,), ())
                return None
        return self._tree.base_digest

    def _on_built(self, event: events.Built) -> None:
        if (event.epoch, event.view) == (self.epoch, self.view):
            self._tree.add(event.digest, event.block)
            self._tree.judge(event.digest, None)
            self._out.append(effects.Propose(event.view, event.block))

    def _on_proposed(self, event: events.Proposed) -> None:
        if event.proposal.view < self._rounds.floor:
            return
        found = self._rounds.at(event.proposal.view)
        found.own_proposal = event.proposal
        self._tree.add(event.digest, event.proposal.block)
        found.proposals.append((event.digest, event.proposal, None))
        self._out.append(effects.Broadcast(event.proposal))
        self._advance()

    def _on_proposal(self, origin: PeerId, proposal: Proposal, digest: bytes) -> None:
        view = proposal.view
        if not self._rounds.floor <= view <= self.view + PROPOSALS_AHEAD:
            return
        found = self._rounds.at(view)
        self._presence.heard(self._index[self.leader(view)], view)
        if view < self.view and found.notarized != digest:
            return
        if any(digest == known for known, _, _ in found.proposals) or len(found.proposals) == 2:
            return
        found.proposals.append((digest, proposal, origin))
        self._tree.add(digest, proposal.block)
        if len(found.proposals) == 2:
            self._accuse_leader(found)
        self._advance()

    def _accuse_leader(self, found: Round) -> None:
        (first_digest, first, _), (second_digest, second, _) = found.proposals
        statements = [Statement(Kind.PROPOSE, self.epoch, found.view, d) for d in (first_digest, second_digest)]
        self._out.append(effects.Accuse(Evidence(
            self.leader(found.view), statements[0], first.signature, statements[1], second.signature
        )))  # fmt: skip

    def _try_notarize(self) -> None:
        """S3: the first proposal from the leader, once."""
        found = self._rounds.at(self.view)
        if not found.proposals or found.rejected or Kind.NOTARIZE in found.signed:
            return
        digest, proposal, _ = found.proposals[0]
        header, leader = proposal.block.header, self.leader(self.view)
        fault = self._fault(header)
        if fault is not None:
            self._reject(found, fault)
            return
        anew = header.view == self.view
        support = self._rounds.support(self.view, header.parent if anew else digest, self._tree.base_digest)
        if not support.holds:
            self._fetch_views(support.gaps or tuple(range(self._rounds.floor, self.view)), (leader,))
        if self._is_ready(digest) and support.holds:
            self._save_body(digest, proposal.block)
            self._sign(found, Kind.NOTARIZE, digest)

    def _fault(self, header: Header) -> str | None:
        """S3, as far as the header alone tells."""
        if header.epoch != self.epoch:
            return f"a block of epoch {header.epoch} in epoch {self.epoch}"
        if not self._tree.base.height < header.height <= self._setting.last_height:
            return f"height {header.height} is not in ({self._tree.base.height}, {self._setting.last_height}]"
        if header.view == self.view:
            if header.proposer != self.leader(self.view):
                return f"proposer {header.proposer.hex()} does not lead view {self.view}"
        elif header.view > self.view or header.height != self._setting.last_height:
            return f"a block of view {header.view} proposed in view {self.view}"
        return None

    def _reject(self, found: Round, fault: str) -> None:
        """S4: an invalid proposal needs no waiting."""
        found.rejected = True
        origin = found.proposals[0][2]
        if origin is not None:
            self._out.append(effects.Report(origin, f"invalid proposal in view {found.view}: {fault}"))
        self._nullify()

    def _on_validated(self, event: events.Validated) -> None:
        self._validating.discard(event.digest)
        self._tree.judge(event.digest, event.fault)
        self._advance()

    def _is_ready(self, digest: bytes) -> bool:
        """Whether a block is executed here; if not, do the next thing about it."""
        match self._tree.readiness(digest):
            case Ready():
                return True
            case Missing(missing):
                self._fetch(missing, self._holders(missing))
            case Unchecked(unchecked, block):
                if unchecked not in self._validating:
                    self._validating.add(unchecked)
                    self._out.append(effects.Validate(block, unchecked))
            case Dead(fault):
                found = self._rounds.at(self.view)
                if found.proposals and found.proposals[0][0] == digest and not found.rejected:
                    self._reject(found, fault)
        return False

    def _save_body(self, digest: bytes, block: Block) -> None:
        if digest not in self._saved:
            self._saved.add(digest)
            self._out.append(effects.Save(blocks=((digest, block),)))

    def _fetch(self, digest: bytes, holders: tuple[bytes, ...]) -> None:
        """S8."""
        if ("body", digest) not in self._asked:
            self._asked.add(("body", digest))
            self._out.append(effects.Fetch(self.epoch, (digest,), 0, 0, holders))

    def _fetch_views(self, views: tuple[int, ...], holders: tuple[bytes, ...]) -> None:
        """S8, for certificates: one question for the newest stretch of ``views``."""
        if views and ("views", max(views)) not in self._asked:
            self._asked.add(("views", max(views)))
            end = max(views) + 1
            first = max(min(views), end - _FETCHED_VIEWS)
            self._out.append(effects.Fetch(self.epoch, (), first, end, holders))

    def _holders(self, digest: bytes) -> tuple[bytes, ...]:
        """Validators that signed the block, or whose block builds on it."""
        keys = self.committee.validators
        for found in reversed(self._rounds.known()):
            if found.notarized == digest:
                certificate = found.notarization or found.finalization
                assert certificate is not None
                return self._signers(certificate)
            signers = found.votes.signers(Kind.NOTARIZE, digest)
            if signers:
                return tuple(keys[index].consensus_key for index in signers)
        return (self.leader(self.view),)

    def _signers(self, certificate: Certificate) -> tuple[bytes, ...]:
        return tuple(self.committee.validators[seal.validator].consensus_key for seal in certificate.signatures)

    def _say_all(self, to: PeerId | None) -> None:
        """S4: everything that a peer stuck in or before this view may lack."""
        said: list[ConsensusMessage] = []
        if self.certificate is not None:
            said.append(self.certificate)
        for found in self._rounds.recent(self.view, _RESENT_VIEWS):
            said += found.certificates()
            said += [vote for vote in found.own if vote.kind is Kind.FINALIZE]
        current = self._rounds.at(self.view)
        if current.own_proposal is not None:
            said.append(current.own_proposal)
        said += current.own
        self._out += [effects.Broadcast(m) if to is None else effects.Send(to, m) for m in said]


def _put(found: Round, certificate: Certificate) -> bool:
    """Keep a certificate; False if there is one of its kind."""
    name = {Kind.NOTARIZE: "notarization", Kind.NULLIFY: "nullification", Kind.FINALIZE: "finalization"}
    slot = name[certificate.kind]
    if getattr(found, slot) is not None:
        return False
    setattr(found, slot, certificate)
    return True
