"""The database on disk: LevelDB, opened and used in the one way that was measured to lose nothing.

With its defaults LevelDB turns a flipped bit in the log into a silent hole and one in a table into a wrong
value, and plyvel writes a half-filled batch when the block that fills it raises. Therefore here:

- it is opened with `paranoid_checks`, and every read verifies checksums;
- every write is one transaction, synced before `write` returns;
- the first failure, of a write or a read, makes the database unusable until it is opened again: LevelDB may
  go on writing behind a torn record, and whoever serves strangers outlives what fails under one of them;
- it is never repaired: `repair_db` replays the log without looking at its checksums. After a
  `CorruptionError` at open the caller copies the directory aside, opens leniently, and checks the chain of
  blocks itself (a torn tail after a power cut looks the same as damage, and it alone is harmless);
- a lock file of our own lies beside the directory, because LevelDB's own lock is lost as soon as anything in
  this process opens and closes the file `LOCK`.
"""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import plyvel

from chain.database.interface import (
    FULL_ERRNOS,
    CorruptionError,
    DatabaseError,
    DatabaseReason,
    is_full,
    key_range,
)

DEFAULT_CACHE_BYTES: Final = 64 << 20
DEFAULT_WRITE_BUFFER_BYTES: Final = 16 << 20
_BLOOM_BITS: Final = 10
"""Bits per key of the filter that answers "not here" without reading a table: 1 % false alarms."""


def open_leveldb(
    path: Path,
    *,
    create: bool = True,
    paranoid: bool = True,
    cache_bytes: int = DEFAULT_CACHE_BYTES,
    write_buffer_bytes: int = DEFAULT_WRITE_BUFFER_BYTES,
) -> "LevelDatabase":
    """Open the database in a directory, alone.

    Args:
        path: The directory. A lock file lies beside it, under its name with `.lock` behind.
        create: Make an empty database where there is none.
        paranoid: Refuse to open where any checksum is wrong. False drops what cannot be read: only after the
            directory was copied aside, and only for a caller that then checks the contents itself.
        cache_bytes: Memory for blocks read.
        write_buffer_bytes: Memory for recent writes before they go to a table.

    Raises:
        DatabaseError: LOCKED, MISSING, FULL or IO.
        CorruptionError: A checksum is wrong, or the directory holds files but no database.
    """
    lock = _Lock(path, create=create)
    is_new = not (path / "CURRENT").exists()
    try:
        _check_directory(path, create=create)
        if create:
            path.mkdir(exist_ok=True)  # LevelDB would not say that there is no room for it
        database = plyvel.DB(
            str(path),
            create_if_missing=create,
            paranoid_checks=paranoid,
            lru_cache_size=cache_bytes,
            write_buffer_size=write_buffer_bytes,
            bloom_filter_bits=_BLOOM_BITS,
        )
    except (plyvel.Error, OSError) as error:
        failure = _translated(error, f"opening {path}")
        if is_new and is_full(failure) and not (path / "CURRENT").exists():
            # It was empty. Half a database that found no room would be taken for a damaged one.
            shutil.rmtree(path, ignore_errors=True)
        lock.release()
        raise failure from error
    except DatabaseError:
        lock.release()
        raise
    return LevelDatabase(database, lock)


def copy_aside(path: Path, destination: Path) -> None:
    """Copy a closed database, so that a lenient open can do no further harm; the copy is whole, or not there.

    Raises:
        DatabaseError: LOCKED, MISSING, EXISTS, FULL or IO.
    """
    lock = _Lock(path, create=False)
    partial = destination.with_name(destination.name + ".partial")
    try:
        if destination.exists():
            raise DatabaseError(DatabaseReason.EXISTS, f"{destination} exists already")
        # A full disk, or a kill, must not leave half a copy at every start.
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(path, partial)
        partial.rename(destination)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise _translated(error, f"copying {path} to {destination}") from error
    finally:
        lock.release()


class LevelDatabase:
    """A `Database` on disk. Made by `open_leveldb`.

    A write blocks for the time of a disk sync (0.5 to 18 ms measured, seconds on a disk that is busy or ill),
    so it may run in a thread: reads go on beside it. No two writes may run at once, and none while it closes.
    """

    def __init__(self, database: Any, lock: "_Lock") -> None:  # plyvel has no types
        self._database = database
        self._lock = lock
        self.failure: DatabaseError | None = None
        """What failed first, if anything did: the node must stop."""
        self.on_corruption: Callable[[], None] = lambda: None
        """Told when a checksum does not match: whoever opens the files next must know."""

    def get(self, key: bytes) -> bytes | None:
        """Return the value under a key, or None.

        Raises:
            DatabaseError: IO, CLOSED or FAILED_BEFORE.
            CorruptionError: The stored bytes do not match their checksum.
        """
        self._check_usable()
        try:
            value: bytes | None = self._database.get(key, verify_checksums=True)
        except plyvel.Error as error:
            raise self._noted(error, "reading") from error
        return value

    def iterate(
        self, *, prefix: bytes, start: bytes | None = None, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yield the entries with a prefix; see `Database.iterate`.

        Raises:
            DatabaseError: IO, CLOSED or FAILED_BEFORE.
            CorruptionError: The stored bytes do not match their checksum.
        """
        self._check_usable()
        low, high = key_range(prefix, start, reverse=reverse)
        if high is not None and high <= low:
            return iter(())
        # A backward walk of plyvel 1.5.1 yields nothing where its first entry equals its lower bound: it is
        # given none, and the walk below stops at ours.
        lower = None if reverse else low
        try:
            # Made here and not in the generator below: the snapshot must be of now, not of the first step.
            # It reads where the walk begins, and may find it damaged.
            cursor = self._database.iterator(start=lower, stop=high, reverse=reverse, verify_checksums=True)
        except plyvel.Error as error:
            raise self._noted(error, "iterating") from error
        return self._walk(cursor, low)

    def write(self, changes: Sequence[tuple[bytes, bytes | None]]) -> None:
        """Write a batch durably, all or nothing.

        Raises:
            DatabaseError: FULL or IO (the first failure), FAILED_BEFORE or CLOSED.
            CorruptionError: LevelDB found its own files damaged.
        """
        self._check_usable()
        try:
            with self._database.write_batch(transaction=True, sync=True) as batch:
                for key, value in changes:
                    if value is None:
                        batch.delete(key)
                    else:
                        batch.put(key, value)
        except plyvel.Error as error:
            raise self._noted(error, "writing") from error

    def compact(self, low: bytes, high: bytes) -> None:
        """Give back the room of what was deleted in the range [low, high) of keys; blocks while it does.

        Raises:
            DatabaseError: CLOSED, FAILED_BEFORE or IO.
        """
        self._check_usable()
        try:
            self._database.compact_range(start=low, stop=high)
        except plyvel.Error as error:
            raise self._noted(error, "compacting") from error

    def close(self) -> None:
        """Close the files and give the lock back."""
        self._database.close()
        self._lock.release()

    def _walk(self, cursor: Any, low: bytes) -> Iterator[tuple[bytes, bytes]]:
        try:
            with cursor:
                for key, value in cursor:
                    if key < low:
                        return
                    yield key, value
        except plyvel.Error as error:
            raise self._noted(error, "iterating") from error
        except RuntimeError as error:  # plyvel's answer to a step on an iterator whose database was closed
            self._check_usable()
            raise error

    def _noted(self, error: Exception, doing: str) -> DatabaseError:
        translated = _translated(error, doing)
        self.failure = self.failure or translated
        if isinstance(translated, CorruptionError):
            self.on_corruption()
        return translated

    def _check_usable(self) -> None:
        if self._database.closed:
            raise DatabaseError(DatabaseReason.CLOSED, "the database is closed")
        if self.failure is not None:
            raise DatabaseError(DatabaseReason.FAILED_BEFORE, f"open it again, it failed {self.failure}")


class _Lock:
    """The lock file beside a database, held until released or until the process ends, however it ends."""

    def __init__(self, path: Path, *, create: bool) -> None:
        self._descriptor: int | None = None
        lock = path.with_name(path.name + ".lock")
        try:
            if create:
                path.parent.mkdir(parents=True, exist_ok=True)
            elif not path.is_dir():
                raise DatabaseError(DatabaseReason.MISSING, f"there is no database at {path}")
            self._descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.release()
            raise DatabaseError(DatabaseReason.LOCKED, f"{path} is in use: {lock} is locked") from error
        except OSError as error:
            self.release()
            raise _translated(error, f"locking {lock}") from error

    def release(self) -> None:
        """Give the lock back; again is allowed. The file stays, or two openers could lock two files."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _check_directory(path: Path, *, create: bool) -> None:
    """Refuse where there is no database, and where LevelDB would begin one over another's remains."""
    if (path / "CURRENT").exists():
        return
    if path.exists() and any(path.iterdir()):
        raise CorruptionError(f"{path} holds files but no CURRENT, expected a database or an empty directory")
    if not create:
        raise DatabaseError(DatabaseReason.MISSING, f"there is no database at {path}")


def _translated(error: Exception, doing: str) -> DatabaseError:
    text = str(error)
    if error.args and isinstance(error.args[0], bytes):  # LevelDB's message, as plyvel hands it on
        text = error.args[0].decode(errors="replace")
    if isinstance(error, plyvel.CorruptionError):
        return CorruptionError(f"{doing}: {text}")
    # LevelDB hands on the operating system's sentence alone.
    full = is_full(error) or any(os.strerror(number) in text for number in FULL_ERRNOS)
    return DatabaseError(DatabaseReason.FULL if full else DatabaseReason.IO, f"{doing}: {text}")
