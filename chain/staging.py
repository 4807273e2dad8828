"""A state on its way in: proven ends of epochs and entries, beside a chain that still stands at genesis.

What is here was checked when it came and is checked as a whole when it is adopted. It survives a kill, and a
state that grew old meanwhile is brought up to date by asking for what differs.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from chain.codec import encode
from chain.database.interface import Database
from chain.layout import STAGED_EPOCH, Changes, EpochEnd, number, state_prefix, stored
from chain.state.tree import StateTree

_BATCH: Final = 10_000
"""Entries that one batch loads or deletes."""


class Staging:
    """Ends of epochs from 0 on, and entries of a state that need not be whole yet."""

    def __init__(self, database: Database, generation: int) -> None:
        self._database = database
        self._prefix = state_prefix(generation)
        self.ends: list[EpochEnd] = []
        """Proven; each is of the epoch that is its position."""
        self.tree = StateTree.empty()
        """Of what is here."""

    def load(self) -> "Staging":
        """Take up what is on disk.

        A disk that lied may have lost a batch in the middle. Of the ends only those before such a hole are
        taken up, and the rest is deleted, to be fetched again. A hole among the entries needs no care: all of
        them together are compared with a proven root, and what differs is fetched.

        Raises:
            CorruptionError: A record does not read back.
        """
        self.ends = []
        for key, raw in self._database.iterate(prefix=STAGED_EPOCH):
            epoch, end = len(self.ends), stored(EpochEnd, raw)
            if key != STAGED_EPOCH + number(epoch) or end.header.epoch != epoch:
                self._delete(STAGED_EPOCH, start=key)
                break
            self.ends.append(end)
        self.tree = load_entries(self._database, self._prefix)
        return self

    def add_ends(self, ends: Sequence[EpochEnd]) -> None:
        """Keep further proven ends, durably."""
        start = len(self.ends)
        self._database.write([(STAGED_EPOCH + number(start + i), encode(end)) for i, end in enumerate(ends)])
        self.ends += ends

    def update(self, changes: Mapping[bytes, bytes | None]) -> None:
        """Write entries, durably."""
        self._database.write([(self._prefix + key, value) for key, value in changes.items()])
        self.tree = self.tree.updated(changes)

    def clear(self) -> None:
        """Forget everything, a batch at a time; doing it again, or after a kill, ends the same."""
        for prefix in (STAGED_EPOCH, self._prefix):
            self._delete(prefix)
        self.ends, self.tree = [], StateTree.empty()

    def _delete(self, prefix: bytes, *, start: bytes | None = None) -> None:
        batch: Changes = []
        for key, _ in self._database.iterate(prefix=prefix, start=start):
            batch.append((key, None))
            if len(batch) == _BATCH:
                self._database.write(batch)
                batch = []
        if batch:
            self._database.write(batch)


def load_entries(
    database: Database, prefix: bytes, progress: Callable[[int], None] = lambda _: None
) -> StateTree:
    """The tree over all entries of a namespace; `progress` is told how many are loaded."""
    state = StateTree.empty()
    for batch in _batches(database, prefix):
        state = state.updated(batch)
        progress(len(state))
    return state


def _batches(database: Database, prefix: bytes) -> Iterator[dict[bytes, bytes | None]]:
    batch: dict[bytes, bytes | None] = {}
    for key, value in database.iterate(prefix=prefix):
        batch[key[len(prefix) :]] = value
        if len(batch) == _BATCH:
            yield batch
            batch = {}
    yield batch
