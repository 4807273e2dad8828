"""What is known of each view of one epoch, and what follows from the certificates of several views together.

Memory bound: views below the last final one are dropped; votes are taken up to `VIEWS_AHEAD` views ahead, and
certificates beyond that only one at a time, because each of them makes us enter the view after it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from chain.types.committee import Committee
from chain.types.statement import Kind
from consensus.messages import Certificate, Proposal, Vote
from consensus.simplex.tree import SafetyViolation
from consensus.simplex.votes import VoteTable
from p2p.network import PeerId

VIEWS_AHEAD: Final = 16
"""Votes of views further ahead are dropped; a certificate brings us there."""

_COUNTED_VIEWS: Final = 64


@dataclass(slots=True)
class Round:
    """One view."""

    view: int
    votes: VoteTable
    proposals: list[tuple[bytes, Proposal, PeerId | None]] = field(default_factory=list)
    """At most two, each with its digest and who sent it: the first is the one that may get our vote."""
    notarization: Certificate | None = None
    nullification: Certificate | None = None
    finalization: Certificate | None = None
    signed: dict[Kind, bytes] = field(default_factory=dict)
    """What we asked the guard to sign, by kind."""
    own: list[Vote] = field(default_factory=list)
    """Our durable votes."""
    own_proposal: Proposal | None = None
    building: bool = False
    rejected: bool = False
    """The leader's proposal broke a rule."""
    skipped: bool = False
    """Its leader had been silent and was not waited for."""

    @property
    def notarized(self) -> bytes | None:
        """The one block that a quorum notarized; a finalization shows as much."""
        certificate = self.notarization or self.finalization
        return None if certificate is None else certificate.digest

    def put(self, certificate: Certificate) -> bool:
        """Keep a certificate; False if there is one of its kind.

        Raises:
            SafetyViolation: It contradicts one that is there: two blocks, or finalized and nullified.
        """
        for other in self.certificates():
            if not may_coexist(other, certificate):
                raise SafetyViolation(f"view {self.view} has both {_name(other)} and {_name(certificate)}")
        match certificate.kind:
            case Kind.NOTARIZE if self.notarization is None:
                self.notarization = certificate
            case Kind.NULLIFY if self.nullification is None:
                self.nullification = certificate
            case Kind.FINALIZE if self.finalization is None:
                self.finalization = certificate
            case _:
                return False
        return True

    def certificates(self) -> tuple[Certificate, ...]:
        """Those there are."""
        every = (self.notarization, self.nullification, self.finalization)
        return tuple(certificate for certificate in every if certificate is not None)


def may_coexist(first: Certificate, second: Certificate) -> bool:
    """Whether a view can have both certificates while no more than a third of the seats is faulty."""
    kinds = {first.kind, second.kind}
    if Kind.NULLIFY in kinds:
        return Kind.FINALIZE not in kinds
    return first.digest == second.digest


def _name(certificate: Certificate) -> str:
    return f"{certificate.kind.name} of {certificate.digest.hex()}"


@dataclass(frozen=True, slots=True)
class Support:
    """Whether a parent may be built on in a view."""

    holds: bool
    gaps: tuple[int, ...]
    """Views, newest first, of which a certificate is missing for it to hold."""


class Rounds:
    """The views from the last final one on."""

    def __init__(self, committee: Committee, floor: int) -> None:
        self.floor = floor
        """First view after the one that made our base final; 0 at the start of an epoch."""
        self._committee = committee
        self._total = committee.seats
        self._rounds: dict[int, Round] = {}

    def at(self, view: int) -> Round:
        """The round of ``view``, made if need be."""
        found = self._rounds.get(view)
        if found is None:
            found = self._rounds[view] = Round(view, VoteTable(self._committee, self._total))
        return found

    def find(self, view: int) -> Round | None:
        """The round of ``view`` if anything is known of it."""
        return self._rounds.get(view)

    def known(self) -> tuple[Round, ...]:
        """All rounds, in order of views."""
        return tuple(self._rounds[view] for view in sorted(self._rounds))

    def recent(self, view: int, count: int) -> tuple[Round, ...]:
        """Known rounds among the ``count`` before ``view``, in order of views."""
        views = range(max(self.floor, view - count), view)
        return tuple(self._rounds[v] for v in views if v in self._rounds)

    def raise_floor(self, floor: int) -> None:
        """Drop all views below ``floor``."""
        self.floor = floor
        self._rounds = {view: found for view, found in self._rounds.items() if view >= floor}

    def support(self, view: int, parent: bytes, base_digest: bytes) -> Support:
        """S3: the parent is notarized and all views between it and ``view`` are nullified."""
        gaps: list[int] = []
        for below in range(view - 1, self.floor - 1, -1):
            found = self._rounds.get(below)
            if found is not None and found.notarized == parent:
                return Support(holds=not gaps, gaps=tuple(gaps))
            if found is None or found.nullification is None:
                gaps.append(below)
        # All down to the base: either the base is the parent, or a notarization that we lack is.
        return Support(holds=parent == base_digest and not gaps, gaps=tuple(gaps))

    def fruitless(self, view: int) -> int:
        """Views in a row before ``view`` that were waited for and brought no block; the newest few count."""
        count = 0
        for below in range(view - 1, max(self.floor, view - _COUNTED_VIEWS) - 1, -1):
            found = self._rounds.get(below)
            if found is None or found.nullification is None or found.notarized is not None:
                break
            count += not found.skipped
        return count

    def forget_proposals(self, end: int) -> None:
        """Forget the proposals of all views below ``end``."""
        for view, found in self._rounds.items():
            if view < end:
                found.proposals.clear()

    def named(self) -> Iterator[bytes]:
        """Digests of blocks that a certificate names, that we voted for, or that are proposed."""
        for found in self._rounds.values():
            if found.notarized is not None:
                yield found.notarized
            if Kind.NOTARIZE in found.signed:
                yield found.signed[Kind.NOTARIZE]
            for digest, _, _ in found.proposals:
                yield digest
