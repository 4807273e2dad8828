"""What a validator tells the others of a view that is over: whatever was said there and did not win.

Two statements that contradict each other, each told to another honest validator alone, never meet by
themselves: a vote that is in no certificate and a proposal that was not notarized go no further than where
they were sent. So, `AFTER_VIEWS` views later, everyone who heard what lost says so, once, in one message.

- *Complete*: of two statements that exclude each other, at most one won its view. Whoever heard the other
  passes it on to all, and among them is whoever heard the first.
- *Silent when all is well*: a view in which everybody said what won gives no message. A view that was
  nullified, or that somebody honest nullified, gives one message a validator: as much as one more round of
  votes.
- *Bounded*: one message a view and validator, in it one statement of a kind and key (`witness`).
- *Never against the honest*: hearsay holds signatures of their makers and is counted as nobody's vote.
  It convicts whoever signed two statements that exclude each other, which no honest key ever does; so it
  may pass on the votes of honest validators for a block that lost, as it must where a leader made two.

What is told so late that the listener has left the view long ago is not passed on: nothing came of it.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from chain.types.statement import Kind, Statement
from consensus.messages import Hearsay, Word
from consensus.simplex.witness import Witness

if TYPE_CHECKING:
    from consensus.simplex.instance import Instance

AFTER_VIEWS: Final = 2
"""Views that begin after a view until what lost in it is passed on: by then its certificates are everywhere,
and the votes that were slower than those of a quorum."""


class Outcomes:
    """How the views ended, and which of them have been told of; pure. It forgets what the witness forgets."""

    __slots__ = ("_blocks", "_decided_below", "_first", "_nullified", "_told")

    def __init__(self) -> None:
        self._blocks: dict[int, bytes] = {}
        """The one block that was notarized, by view."""
        self._nullified: set[int] = set()
        self._decided_below = 0
        self._first = 0
        """We did not follow the views before, and do not tell of them."""
        self._told: set[int] = set()

    def won(self, kind: Kind, view: int, digest: bytes) -> None:
        """There is a certificate of this kind, or it follows from another."""
        if kind is Kind.NULLIFY:
            self._nullified.add(view)
        else:
            self._blocks[view] = digest

    def decide(self, below: int) -> None:
        """The chain is final up to ``below``: a view before it that brought no block to it was nullified."""
        self._decided_below = max(self._decided_below, below)

    def skip(self, below: int) -> None:
        """We did not follow the views below ``below``."""
        self._first = max(self._first, below)

    def due(self, witness: Witness, view: int) -> list[int]:
        """Views to tell of when ``view`` is entered: over for long enough, and it is known how they ended."""
        return [
            over
            for over in witness.views()
            if self._first <= over <= view - AFTER_VIEWS
            and over not in self._told
            and (over in self._blocks or over in self._nullified or over < self._decided_below)
        ]

    def tell(self, witness: Witness, view: int) -> list[tuple[bytes, Statement, bytes]]:
        """Signer, statement and signature of what lost in ``view``; the view will not be due again."""
        self._told.add(view)
        block = self._blocks.get(view)
        is_nullified = block is None or view in self._nullified
        lost = {
            statement
            for statement in witness.statements(view)
            if not _has_won(statement, block, is_nullified=is_nullified)
        }
        return [said for said in witness.said(view) if said[1] in lost] if lost else []

    def forget(self, below: int) -> None:
        """Drop the views below ``below``."""
        self._first = max(self._first, below)
        self._blocks = {view: block for view, block in self._blocks.items() if view >= below}
        self._nullified = {view for view in self._nullified if view >= below}
        self._told = {view for view in self._told if view >= below}


def pass_on(state: "Instance") -> Iterator[Hearsay]:
    """What we have to tell the others when we enter a view: nothing, most of the time."""
    for view in state.outcomes.due(state.witness, state.view):
        lost = state.outcomes.tell(state.witness, view)
        words = [
            Word(state.index[signer], statement.kind, statement.digest, signature)
            for signer, statement, signature in lost
            if signer != state.me
        ]
        if words:
            words.sort(key=lambda word: (word.validator, word.kind))
            yield Hearsay(state.epoch, view, tuple(words))


def _has_won(statement: Statement, block: bytes | None, *, is_nullified: bool) -> bool:
    """Whether a view ended the way the statement says; of finalize and nullify never both."""
    if statement.kind is Kind.NULLIFY:
        return is_nullified
    return statement.digest == block and not (statement.kind is Kind.FINALIZE and is_nullified)
