"""A database in memory, with the same promises as the one on disk."""

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence

from chain.database.interface import DatabaseError, DatabaseReason, key_range


class MemoryDatabase:
    """A `Database` that forgets everything when it goes. It can be told to fail, as a full disk does."""

    def __init__(self) -> None:
        self._values: dict[bytes, bytes] = {}
        self._keys: list[bytes] = []
        self._writes_until_failure: int | None = None
        self._reason = DatabaseReason.IO
        self._failed = False
        self._closed = False

    def fail_writes_after(self, successes: int, reason: DatabaseReason = DatabaseReason.IO) -> None:
        """Let some more writes pass; the one after them raises, and every call after it FAILED_BEFORE."""
        self._writes_until_failure = successes
        self._reason = reason

    def reopened(self) -> "MemoryDatabase":
        """Return a database with the same contents, as a restarted process would find it."""
        database = MemoryDatabase()
        database._values = dict(self._values)
        database._keys = list(self._keys)
        return database

    def get(self, key: bytes) -> bytes | None:
        """Return the value under a key, or None.

        Raises:
            DatabaseError: CLOSED or FAILED_BEFORE.
        """
        self._check_usable()
        return self._values.get(key)

    def iterate(
        self, *, prefix: bytes, start: bytes | None = None, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yield the entries with a prefix; see `Database.iterate`.

        Raises:
            DatabaseError: CLOSED or FAILED_BEFORE.
        """
        self._check_usable()
        low, high = key_range(prefix, start, reverse=reverse)
        end = len(self._keys) if high is None else bisect_left(self._keys, high)
        keys = self._keys[bisect_left(self._keys, low) : end]
        if reverse:
            keys.reverse()
        return iter([(key, self._values[key]) for key in keys])

    def write(self, changes: Sequence[tuple[bytes, bytes | None]]) -> None:
        """Write a batch, all or nothing.

        Raises:
            DatabaseError: As a failure was asked for, then FAILED_BEFORE; CLOSED.
        """
        self._check_usable()
        if self._writes_until_failure is not None:
            if self._writes_until_failure == 0:
                self._failed = True
                raise DatabaseError(self._reason, "the write failed, as the test asked")
            self._writes_until_failure -= 1
        for key, value in changes:
            if value is None:
                if self._values.pop(key, None) is not None:
                    del self._keys[bisect_left(self._keys, key)]
            else:
                if key not in self._values:
                    insort(self._keys, key)
                self._values[key] = value

    def close(self) -> None:
        """Refuse every later call."""
        self._closed = True

    def _check_usable(self) -> None:
        if self._closed:
            raise DatabaseError(DatabaseReason.CLOSED, "the database is closed")
        if self._failed:
            raise DatabaseError(DatabaseReason.FAILED_BEFORE, "an earlier write failed; open it again")
