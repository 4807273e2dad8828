"""The few things that the signing guard needs of a file system, each durable when it returns.

A seam so that the simulator can cut the power in the middle of a write.
"""

import contextlib
import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

from chain.hashing import digest

_T = TypeVar("_T")


class Durably(Protocol):
    """Does what waits for the disk, so that nobody else has to: a sync may take seconds."""

    async def __call__(self, work: Callable[[], _T], /) -> _T:
        """Do the work, whose caller alone uses what it uses; return what it returned, or raise."""
        ...


async def at_once(work: Callable[[], _T], /) -> _T:
    """Work done here and now: for disks in memory, and where there is nobody else."""
    return work()


class DiskBusyError(OSError):
    """Another process holds the lock."""


class Disk(Protocol):
    """One file with a lock beside it."""

    def place(self) -> bytes:
        """32 bytes that name where the file lies, once it is locked; a copy of the file lies elsewhere."""
        ...

    def lock(self) -> None:
        """Become the only user, until `close` or the end of the process.

        Raises:
            DiskBusyError: Somebody else is.
        """
        ...

    def read(self) -> bytes | None:
        """The whole file, or None if there is none."""
        ...

    def append(self, data: bytes) -> None:
        """Add to the end of the file; a power cut may leave any prefix of ``data``."""
        ...

    def replace(self, data: bytes) -> None:
        """Make ``data`` the whole file; a power cut leaves the old content or the new."""
        ...

    def close(self) -> None:
        """Give up the lock."""
        ...


class FileDisk:
    """A file of the operating system, under ``flock`` of ``<path>.lock``."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock: int | None = None
        self._file: int | None = None

    def place(self) -> bytes:
        """See `Disk.place`.

        The lock file is made once and never replaced, so its inode stays while the log is in place. A clone
        of a whole virtual machine is not told apart.
        """
        machine = b""
        with contextlib.suppress(OSError):
            machine = Path("/etc/machine-id").read_bytes()
        inode = self._path.with_name(self._path.name + ".lock").stat().st_ino
        path = str(self._path.absolute()).encode()
        return digest("headrace/place", machine, inode.to_bytes(8, "little"), path)

    def lock(self) -> None:
        """See `Disk.lock`; the directory must exist."""
        handle = os.open(
            self._path.with_name(self._path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(handle)
            raise DiskBusyError(f"{self._path} is in use by another process") from error
        self._lock = handle

    def read(self) -> bytes | None:
        """See `Disk.read`."""
        with contextlib.suppress(FileNotFoundError):
            return self._path.read_bytes()
        return None

    def append(self, data: bytes) -> None:
        """See `Disk.append`: write, then fdatasync (0.6 ms where it was measured)."""
        if self._file is None:
            self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        _write(self._file, data)
        os.fdatasync(self._file)

    def replace(self, data: bytes) -> None:
        """See `Disk.replace`: write aside, fsync, rename, then fsync the directory, which rename forgets."""
        new = self._path.with_name(self._path.name + ".new")
        handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            _write(handle, data)
            os.fsync(handle)
        except OSError:
            # Where there is no room for it whole, a part of it would only take more.
            with contextlib.suppress(OSError):
                new.unlink()
            raise
        finally:
            os.close(handle)
        new.replace(self._path)
        directory = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
        self._close_file()

    def close(self) -> None:
        """See `Disk.close`."""
        self._close_file()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _close_file(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _write(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]
