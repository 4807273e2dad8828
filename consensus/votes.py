"""The votes of one view, counted in seats.

Memory bound: per validator at most two statements of each kind. An equivocator's second vote is kept because
either may complete an honest quorum (dropping it lets one traitor stop the chain); a third adds nothing.
"""

from chain.types.committee import Committee, is_quorum
from chain.types.evidence import Evidence, evidence_of
from chain.types.statement import Kind, Statement
from consensus.messages import Certificate, Seal, Vote

_KEPT_PER_KIND = 2


class VoteTable:
    """Who signed what in one view."""

    __slots__ = ("_certified", "_committee", "_given", "_seats", "_signatures", "_total")

    def __init__(self, committee: Committee, total: int) -> None:
        """Count for ``committee``, which has ``total`` seats."""
        self._committee = committee
        self._total = total
        self._signatures: dict[Statement, dict[int, bytes]] = {}
        self._seats: dict[Statement, int] = {}
        self._given: dict[int, list[Statement]] = {}
        self._certified: dict[Statement, dict[int, bytes]] = {}

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

    def certify(self, certificate: Certificate) -> list[Evidence]:
        """Remember who signed a certificate of this view; returns proof against those whom it convicts.

        The signatures of a certificate are not counted: it counts by itself. But a validator that tells us
        one thing and others another may be seen to do so only there. At most three a view: one of each kind,
        for two of a kind stop the node.
        """
        statement = certificate.statement
        if statement in self._certified:
            return []
        found = [
            evidence
            for seal in certificate.signatures
            for evidence in self._against(seal.validator, statement, seal.signature)
        ]
        self._certified[statement] = {seal.validator: seal.signature for seal in certificate.signatures}
        return found

    def evidence(self, index: int, vote: Vote) -> Evidence | None:
        """Proof that ``vote`` contradicts an earlier one of the same validator, if it does."""
        return next(iter(self._against(index, vote.statement, vote.signature)), None)

    def _against(self, index: int, statement: Statement, signature: bytes) -> list[Evidence]:
        """All that a signature of a validator makes with what else it signed in this view."""
        signer = self._committee.validators[index].consensus_key
        known = [(earlier, self._signatures[earlier][index]) for earlier in self._given.get(index, ())]
        known += [(earlier, seals[index]) for earlier, seals in self._certified.items() if index in seals]
        found = [evidence_of(signer, earlier, (statement, signature)) for earlier in known]
        return [evidence for evidence in found if evidence is not None]
