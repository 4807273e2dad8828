"""The state of one epoch's Simplex, and the small acts that its rules are made of.

The rules themselves are in `protocol` (S1, S4 to S7) and `proposing` (S2, S3). Invariant: nothing here knows
a clock, a key or a disk; what is wanted of them is put into `Instance.out`.
"""

from dataclasses import dataclass
from typing import Final

from chain.types.block import Block, Header
from chain.types.committee import Committee
from chain.types.statement import Kind, Statement
from consensus.messages import Certificate
from consensus.simplex import effects
from consensus.simplex.effects import Effect
from consensus.simplex.leader import leader_of
from consensus.simplex.passing_on import Outcomes
from consensus.simplex.rounds import Round, Rounds
from consensus.simplex.timers import Pace, Presence
from consensus.simplex.tree import BlockTree, Dead, Missing, Ready, Unchecked
from consensus.simplex.witness import WITNESSED_VIEWS, Witness

FETCHED_VIEWS: Final = 64
"""Views whose certificates one fetch asks for."""


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


class Instance:
    """State of one node in one epoch."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.epoch = setting.epoch
        self.index = {v.consensus_key: i for i, v in enumerate(setting.committee.validators)}
        """Positions in the committee by consensus key."""
        self.me = setting.me if setting.me in self.index else None
        """Our consensus key if it has seats; None for an observer."""
        self.view = 0
        self.attempt = 0
        """How often everything about this view was sent again."""
        self.done = False
        """The epoch's last block is final: the next instance takes over."""
        self.certificate = setting.base_certificate
        """What made the newest final block of this epoch final."""
        self.pending: Certificate | None = None
        """A finalization whose bodies are not all here."""
        floor = 0 if setting.base_certificate is None else setting.base_certificate.view + 1
        self.rounds = Rounds(setting.committee, floor)
        self.tree = BlockTree(setting.base, setting.base_digest)
        self.witness = Witness()
        self.outcomes = Outcomes()
        self.presence = Presence(len(setting.committee.validators))
        self.out: list[Effect] = []
        """Effects of the running step, in order."""
        self._leaders: dict[int, bytes] = {}
        self._saved: set[bytes] = set()
        self._asked: set[tuple[str, bytes | int]] = set()
        self._validating: set[bytes] = set()

    @property
    def current(self) -> Round:
        """The round of the view we are in."""
        return self.rounds.at(self.view)

    def leader(self, view: int) -> bytes:
        """Consensus key of the leader of ``view``."""
        found = self._leaders.get(view)
        if found is None:
            setting = self.setting
            found = leader_of(setting.committee, beacon=setting.beacon, epoch=self.epoch, view=view)
            if len(self._leaders) > FETCHED_VIEWS:
                self._leaders.clear()
            self._leaders[view] = found
        return found

    def note(self, signer: bytes, statement: Statement, signature: bytes) -> None:
        """Remember what a key signed, and accuse it if that contradicts what it signed before."""
        evidence = self.witness.note(signer, statement, signature)
        if evidence is not None:
            self.out.append(effects.Accuse(evidence))

    def sign(self, found: Round, kind: Kind, digest: bytes) -> None:
        """Have our vote made durable; `consensus.simplex.events.Signed` sends it."""
        if self.me is not None:
            found.signed[kind] = digest
            self.out.append(effects.Sign(Statement(kind, self.epoch, found.view, digest)))

    def save(self, certificate: Certificate) -> None:
        """Keep a certificate before anything is signed that relies on it; an observer signs nothing."""
        if self.me is not None:
            self.out.append(effects.Save(certificates=(certificate,)))

    def save_body(self, digest: bytes, block: Block) -> None:
        """Keep a body before we sign that it is good: whoever needs it later may have nobody else to ask."""
        if digest not in self._saved:
            self._saved.add(digest)
            self.out.append(effects.Save(blocks=((digest, block),)))

    def restore_body(self, digest: bytes, block: Block) -> None:
        """Take a body that was saved in an earlier life."""
        self.tree.add(digest, block)
        self._saved.add(digest)

    def forget_bodies(self, end: int) -> None:
        """Forget the proposals below view ``end``, and with them all bodies that nothing else leads to."""
        self.rounds.forget_proposals(end)
        self.tree.keep((*self.rounds.named(), *self._saved))

    def is_ready(self, digest: bytes) -> bool:
        """Whether a block and its ancestors are executed here; if not, do the next thing about it."""
        match self.tree.readiness(digest):
            case Ready():
                return True
            case Missing(missing):
                self.fetch(missing, self.holders(missing))
            case Unchecked(unchecked, block):
                if unchecked not in self._validating:
                    self._validating.add(unchecked)
                    self.out.append(effects.Validate(block, unchecked))
            case Dead():
                pass
        return False

    def judge(self, digest: bytes, fault: str | None) -> None:
        """Take the ledger's verdict on a block."""
        self._validating.discard(digest)
        self.tree.judge(digest, fault)

    def fetch(self, digest: bytes, holders: tuple[bytes, ...]) -> None:
        """S8, for a body."""
        if ("body", digest) not in self._asked:
            self._asked.add(("body", digest))
            self.out.append(effects.Fetch(self.epoch, (digest,), 0, 0, holders))

    def fetch_views(self, views: tuple[int, ...], holders: tuple[bytes, ...]) -> None:
        """S8, for certificates: one question for the newest stretch of ``views``."""
        if views and ("views", max(views)) not in self._asked:
            self._asked.add(("views", max(views)))
            end = max(views) + 1
            first = max(min(views), end - FETCHED_VIEWS)
            self.out.append(effects.Fetch(self.epoch, (), first, end, holders))

    def ask_again(self) -> None:
        """Answers may have been lost: what is still missing is asked for once more."""
        self._asked.clear()

    def holders(self, digest: bytes) -> tuple[bytes, ...]:
        """Validators that signed the block; failing that, the leader whose block builds on it."""
        for found in reversed(self.rounds.known()):
            certificate = found.notarization or found.finalization
            if certificate is not None and certificate.digest == digest:
                return self.signers(certificate)
            signers = found.votes.signers(Kind.NOTARIZE, digest)
            if signers:
                validators = self.setting.committee.validators
                return tuple(validators[index].consensus_key for index in signers)
        return (self.leader(self.view),)

    def signers(self, certificate: Certificate) -> tuple[bytes, ...]:
        """Consensus keys of those who signed."""
        validators = self.setting.committee.validators
        return tuple(validators[seal.validator].consensus_key for seal in certificate.signatures)

    def settle(self, path: tuple[Block, ...], certificate: Certificate) -> None:
        """S7: the blocks of ``path`` are final, oldest first; the certificate is for the last."""
        self.out.append(effects.Finalize(path, certificate))
        digests = (*(block.header.parent for block in path[1:]), certificate.digest)
        for block, digest in zip(path, digests, strict=True):
            self.outcomes.won(Kind.NOTARIZE, block.header.view, digest)
        self.outcomes.decide(certificate.view + 1)
        self.rebase(path[-1].header, certificate)

    def rebase(self, header: Header, certificate: Certificate) -> None:
        """S7: ``header`` is final; drop everything older."""
        self.certificate = certificate
        self.tree.rebase(header, certificate.digest)
        self.rounds.raise_floor(certificate.view + 1)
        self.witness.forget(certificate.view + 1 - WITNESSED_VIEWS)
        self.outcomes.forget(certificate.view + 1 - WITNESSED_VIEWS)
        self._saved = {digest for digest in self._saved if self.tree.block(digest) is not None}
        self._validating = {digest for digest in self._validating if self.tree.block(digest) is not None}
        self.done = header.height == self.setting.last_height
