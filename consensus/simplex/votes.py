"""The votes of one view, counted in seats.

Memory bound: per validator at most two statements of each kind. An equivocator's second vote is kept because
either may complete an honest quorum (dropping it lets one traitor stop the chain); a third adds nothing.
"""

from chain.types.committee import Committee, is_quorum
from chain.types.statement import Kind, Statement
from consensus.messages import Certificate, Seal, Vote

_KEPT_PER_KIND = 2


class VoteTable:
    """Who signed what in one view."""

    __slots__ = ("_committee", "_given", "_seats", "_signatures", "_total")

    def __init__(self, committee: Committee, total: int) -> None:
        """Count for ``committee``, which has ``total`` seats."""
        self._committee = committee
        self._total = total
        self._signatures: dict[Statement, dict[int, bytes]] = {}
        self._seats: dict[Statement, int] = {}
        self._given: dict[int, list[Statement]] = {}

    def add(self, index: int, vote: Vote) -> bool:
        """Count a vote of validator ``index``; False if it was counted before or is one too many."""
        statement = vote.statement
        given = self._given.setdefault(index, [])
        if statement in given or sum(s.kind is vote.kind for s in given) >= _KEPT_PER_KIND:
            return False
        given.append(statement)
        self._signatures.setdefault(statement, {})[index] = vote.signature
        self._seats[statement] = self._seats.get(statement, 0) + self._committee.validators[index].seats
        return True

    def has(self, index: int, vote: Vote) -> bool:
        """Whether this very vote has been counted, or is one too many of its kind."""
        given = self._given.get(index, ())
        return vote.statement in given or sum(s.kind is vote.kind for s in given) >= _KEPT_PER_KIND

    def certificate(self, statement: Statement) -> Certificate | None:
        """A certificate for ``statement`` if a quorum signed it."""
        if not is_quorum(self._seats.get(statement, 0), self._total):
            return None
        seals = tuple(
            Seal(index, signature) for index, signature in sorted(self._signatures[statement].items())
        )
        return Certificate(statement.kind, statement.epoch, statement.view, statement.digest, seals)

    def known(self, statement: Statement) -> tuple[tuple[int, bytes], ...]:
        """Pairs (validator, signature) counted for ``statement``."""
        return tuple(self._signatures.get(statement, {}).items())

    def signers(self, kind: Kind, digest: bytes) -> tuple[int, ...]:
        """Validators that signed a statement of this kind about this block."""
        return tuple(
            index
            for statement, signatures in self._signatures.items()
            if statement.kind is kind and statement.digest == digest
            for index in signatures
        )
