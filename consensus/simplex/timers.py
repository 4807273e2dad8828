"""How long to wait, in milliseconds; and who has been silent so long that waiting for it is vain."""

from dataclasses import dataclass
from typing import Final

PATIENCE: Final = 2
"""Views without a sign of life after which a leader is not waited for. Small, so that a dead leader costs two
waits; any signature ends it, so that a validator that came back is waited for again at once."""

_DOUBLE_EVERY: Final = 4
_MOST_DOUBLINGS: Final = 3
_MOST_BACKOFF: Final = 2


@dataclass(frozen=True, slots=True)
class Pace:
    """The waits of one chain."""

    delta_ms: int
    """Simplex' network delay."""
    interval_ms: int
    """A leader may wait this long before it proposes, so everyone grants it that."""

    def delta(self, fruitless: int) -> int:
        """The delay to reckon with after ``fruitless`` views in a row that ended without a block.

        A delta that is too small for the network would stop the chain for good; doubled every four such
        views, up to eightfold, it only slows it.
        """
        return self.delta_ms << min(fruitless // _DOUBLE_EVERY, _MOST_DOUBLINGS)

    def proposal(self, fruitless: int, *, silent: bool) -> int:
        """S1: from entering a view to giving up on its proposal."""
        return 0 if silent else self.interval_ms + 2 * self.delta(fruitless)

    def certificate(self, fruitless: int) -> int:
        """S1: from entering a view to giving up on its certificate."""
        return self.interval_ms + 3 * self.delta(fruitless)

    def resend(self, attempt: int) -> int:
        """S4: until everything about a view is sent again, for the ``attempt``-th time."""
        return (self.interval_ms + 4 * self.delta_ms) << min(attempt, _MOST_BACKOFF)


class Presence:
    """When each validator last signed anything, counted in views."""

    __slots__ = ("_heard", "_since")

    def __init__(self, validators: int) -> None:
        self._heard = [0] * validators
        self._since = 0

    def heard(self, index: int, view: int) -> None:
        """Validator ``index`` signed something in ``view``."""
        if view > self._heard[index]:
            self._heard[index] = view

    def watch_from(self, view: int) -> None:
        """We did not follow the views before ``view``: nobody's silence in them means anything."""
        self._since = view

    def is_silent(self, index: int, view: int) -> bool:
        """Whether nothing was signed in the `PATIENCE` views before ``view``."""
        return max(self._heard[index], self._since) + PATIENCE < view
