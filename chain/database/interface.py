"""What the chain asks of its storage: an ordered map with atomic, durable batches."""

import enum
import errno
from collections.abc import Iterator, Sequence
from typing import Final, Protocol


class DatabaseReason(enum.Enum):
    """Why the storage of this machine refused."""

    LOCKED = "locked"
    """Another process, or another opener in this one, holds the database."""
    MISSING = "missing"
    """There is no database at the path."""
    EXISTS = "exists"
    """There already is something at the path."""
    IO = "io"
    """The operating system or the disk failed."""
    FULL = "full"
    """No room is left, or no quota."""
    FAILED_BEFORE = "failed_before"
    """A call failed earlier: what the disk holds is unknown until the database is opened again."""
    CLOSED = "closed"
    """The database was closed."""
    CORRUPT = "corrupt"
    """A checksum does not match what was read."""


class DatabaseError(Exception):
    """This machine's storage is wrong: stop the node and say why. No peer can cause it."""

    def __init__(self, reason: DatabaseReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class CorruptionError(DatabaseError):
    """Stored bytes are not what was written: copy the directory aside, then open leniently or sync again."""

    def __init__(self, message: str) -> None:
        super().__init__(DatabaseReason.CORRUPT, message)


class Database(Protocol):
    """An ordered map from bytes to bytes.

    After a call has failed every other but `close` raises FAILED_BEFORE: after a write nobody can tell which
    of the two states the disk holds, and a disk that once failed to read, or lied, serves nobody any more.
    """

    def get(self, key: bytes) -> bytes | None:
        """Return the value under a key, or None.

        Raises:
            DatabaseError: IO, CLOSED or FAILED_BEFORE.
            CorruptionError: The stored bytes do not match their checksum.
        """
        ...

    def iterate(
        self, *, prefix: bytes, start: bytes | None = None, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yield the entries whose keys begin with a prefix, as they were when this was called.

        Args:
            prefix: What the keys begin with; empty for all entries.
            start: The key to start at, itself included: the least key to yield, or in reverse the greatest.
            reverse: Walk downward.

        Raises:
            DatabaseError: IO, CLOSED or FAILED_BEFORE.
            CorruptionError: The stored bytes do not match their checksum.
        """
        ...

    def write(self, changes: Sequence[tuple[bytes, bytes | None]]) -> None:
        """Write some entries and delete others (None): all of it durably, or nothing.

        Of several changes to one key the last one wins.

        Raises:
            DatabaseError: FULL or IO (the first failure), FAILED_BEFORE or CLOSED.
            CorruptionError: The storage found its own files damaged.
        """
        ...

    def close(self) -> None:
        """Let go of the storage. Closing twice is allowed."""
        ...


FULL_ERRNOS: Final = (errno.ENOSPC, errno.EDQUOT)


def is_full(error: BaseException) -> bool:
    """Whether a failure means that no room is left; anything else than room will mend it if not."""
    if isinstance(error, DatabaseError):
        return error.reason is DatabaseReason.FULL
    return isinstance(error, OSError) and error.errno in FULL_ERRNOS


def prefix_end(prefix: bytes) -> bytes | None:
    """Return the least byte string above every string with a prefix, or None where there is none."""
    trimmed = prefix.rstrip(b"\xff")
    return trimmed[:-1] + bytes([trimmed[-1] + 1]) if trimmed else None


def key_range(prefix: bytes, start: bytes | None, *, reverse: bool) -> tuple[bytes, bytes | None]:
    """Return the range [low, high) of keys that `Database.iterate` yields; a high of None is no bound."""
    low, high = prefix, prefix_end(prefix)
    if start is None:
        return low, high
    if not reverse:
        return max(low, start), high
    # The least key above `start` is `start` with a zero byte behind it.
    above = start + b"\x00"
    return low, above if high is None else min(high, above)
