"""A file that takes all the room of a disk."""

import errno
import os
from pathlib import Path
from typing import Final

BLOCK: Final = 4096


class Ballast:
    """Fills the file system that a folder lies on."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "ballast"

    def fill(self, *, leave: int = 0) -> None:
        """Take all room but `leave` bytes; again, if others gave some back."""
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            size, step = os.fstat(handle).st_size, 1 << 26
            while step >= BLOCK:
                room = os.statvfs(handle)
                take = min(step, room.f_bavail * room.f_frsize - leave)
                if take < BLOCK or not _grown(handle, size, take):
                    step //= 4
                    continue
                size += take
        finally:
            os.close(handle)

    def free(self) -> None:
        """Give it all back."""
        self._path.unlink(missing_ok=True)


def _grown(handle: int, start: int, length: int) -> bool:
    try:
        os.posix_fallocate(handle, start, length)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        os.ftruncate(handle, start)  # what a failed call had taken already
        return False
    return True
