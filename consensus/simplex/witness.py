"""What each key was seen to sign, kept long enough to catch it in a contradiction.

A liar tells different validators different things, so the two halves of its contradiction meet late if at
all: in a certificate that somebody else put together, or in hearsay (`passing_on`), often when the view is
final here and its votes are forgotten. So the first signature of each kind, key and view is kept apart from
the votes, until `WITNESSED_VIEWS` views after it could matter to the protocol.

Memory bound: of the views from `WITNESSED_VIEWS` below the last final one to the highest whose messages are
taken, four signatures a validator. A key is accused once an epoch, which is all that the ledger asks for.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from chain.types.evidence import Evidence, evidence_of
from chain.types.statement import Kind, Statement, excludes

WITNESSED_VIEWS: Final = 16

_Signed = tuple[Statement, bytes]


class Witness:
    """Remembers signatures that were verified; pure."""

    __slots__ = ("_accused", "_contested", "_floor", "_said", "_statements")

    def __init__(self) -> None:
        self._said: dict[int, dict[bytes, list[_Signed]]] = {}
        """By view and signer, one of a kind."""
        self._statements: dict[int, set[Statement]] = {}
        """All that was said in a view, by anybody: few, so that most messages are seen to be harmless."""
        self._contested: set[int] = set()
        """Views in which two statements, whoever made them, exclude each other."""
        self._accused: set[bytes] = set()
        self._floor = 0

    def note(self, signer: bytes, statement: Statement, signature: bytes) -> Evidence | None:
        """Remember a verified signature; evidence if its signer contradicts itself for the first time."""
        if signer in self._accused or statement.view < self._floor:
            return None
        said = self._said.setdefault(statement.view, {}).setdefault(signer, [])
        is_first = True
        for earlier in said:
            if excludes(earlier[0], statement):
                self._accused.add(signer)
                return evidence_of(signer, earlier, (statement, signature))
            is_first = is_first and earlier[0].kind is not statement.kind
        if is_first:
            said.append((statement, signature))
            self._add(statement)
        return None

    def _add(self, statement: Statement) -> None:
        known = self._statements.setdefault(statement.view, set())
        if statement not in known:
            if any(excludes(earlier, statement) for earlier in known):
                self._contested.add(statement.view)
            known.add(statement)

    def contradicts(self, signers: Iterable[bytes], statement: Statement) -> bool:
        """Whether one of ``signers``, not accused so far, said what this statement excludes.

        The statement need not be verified: it is worth verifying if this is true.
        """
        view = statement.view
        known = self._statements.get(view, ())
        if (view not in self._contested and statement in known) or not any(
            excludes(earlier, statement) for earlier in known
        ):
            return False
        said = self._said[view]
        return any(
            excludes(earlier, statement)
            for signer in signers
            if signer not in self._accused
            for earlier, _ in said.get(signer, ())
        )

    def has_proposed_else(self, leader: bytes, view: int, signature: bytes) -> bool:
        """Whether a leader, not accused so far, is known to have signed another proposal of a view.

        By the signature alone: a proposal's statement costs hashing its header.
        """
        if leader in self._accused:
            return False
        said = self._said.get(view, {}).get(leader, ())
        return any(earlier.kind is Kind.PROPOSE and known != signature for earlier, known in said)

    def is_news(self, signer: bytes, statement: Statement) -> bool:
        """Whether a statement, not verified so far, would be remembered or would convict its signer."""
        if signer in self._accused or statement.view < self._floor:
            return False
        said = self._said.get(statement.view, {}).get(signer, ())
        return all(earlier != statement for earlier, _ in said)

    def remembers(self, view: int) -> bool:
        """Whether what is said in a view is still remembered."""
        return view >= self._floor

    def statements(self, view: int) -> Iterable[Statement]:
        """All that was said in a view, each once, whoever said it."""
        return self._statements.get(view, ())

    def said(self, view: int) -> Iterator[tuple[bytes, Statement, bytes]]:
        """Signer, statement and signature of all that was said in a view by keys not accused so far."""
        for signer, said in self._said.get(view, {}).items():
            if signer not in self._accused:
                yield from ((signer, *signed) for signed in said)

    def views(self) -> list[int]:
        """Views in which anything was said, in order."""
        return sorted(self._said)

    def forget(self, below: int) -> None:
        """Drop the views below ``below``, for good."""
        self._floor = max(self._floor, below)
        for view in [view for view in self._said if view < below]:
            del self._said[view]
            self._statements.pop(view, None)
            self._contested.discard(view)
