"""Why a node ended, as a sentence, an exit code and what to do."""

import errno
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from chain.crypto.keystore import KeystoreError
from chain.database.interface import CorruptionError, DatabaseError, DatabaseReason, is_full
from chain.store import ForeignDatabase
from consensus.halting import Halted, HaltReason
from consensus.signing.signing_guard import GuardError
from genesis.document import GenesisError
from tools.cli.errors import CliError, Exit
from tools.cli.guard import NEXT
from tools.node.disk import DiskFullError, megabytes

EXPLAINED: Final = (
    KeystoreError, DatabaseError, ForeignDatabase, GuardError, GenesisError, DiskFullError, Halted, OSError,
    CliError,
)  # fmt: skip
"""Errors that say by themselves what is wrong with this machine or its settings."""

_FAILED_ERRNOS: Final = (errno.EIO, errno.EROFS)
_FAILED_REASONS: Final = (DatabaseReason.IO, DatabaseReason.FAILED_BEFORE)


def why_stopped(error: BaseException, folders: Sequence[Path]) -> CliError | None:
    """What to tell the operator; None if nobody knows, and the traceback has to do.

    Args:
        error: What ended the node, perhaps a group: where a disk fails, several tasks may see it.
        folders: What the node writes to.
    """
    leaves = list(_leaves(error))
    for is_the_disk in (_is_full, _is_failed):
        for leaf in leaves:
            if is_the_disk(leaf):
                return _disk(leaf, folders, full=is_the_disk is _is_full)
    if len(leaves) == 1 and isinstance(leaves[0], EXPLAINED):
        return _told(leaves[0])
    return None


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _is_full(error: BaseException) -> bool:
    if isinstance(error, Halted):
        return error.reason is HaltReason.DISK_FULL
    return isinstance(error, DiskFullError) or is_full(error)


def _is_failed(error: BaseException) -> bool:
    if isinstance(error, Halted):
        # A log or database that does not read back is told of in its own words.
        return error.reason is HaltReason.DISK_FAILED and not isinstance(error.__cause__, CorruptionError)
    if isinstance(error, DatabaseError):
        return error.reason in _FAILED_REASONS
    return isinstance(error, OSError) and error.errno in _FAILED_ERRNOS


def _disk(error: BaseException, folders: Sequence[Path], *, full: bool) -> CliError:
    if isinstance(error, DiskFullError):
        message = str(error)
    else:
        free, folder = min((shutil.disk_usage(folder).free, folder) for folder in folders)
        what = f"disk full at {folder}: {megabytes(free)} left" if full else f"the disk failed at {folder}"
        message = f"{what}: {error}"
    return CliError(
        message,
        code="DISK_FULL" if full else "DISK_FAILED",
        next_step="free space there, then start again: nothing final was lost, and it catches up"
        if full
        else "see what the system says of it; start again with the same signing log, never an older copy",
        exit_code=Exit.DISK,
    )


def _told(error: BaseException) -> CliError:
    if isinstance(error, CliError):
        return error
    is_safety = isinstance(error, GuardError | ForeignDatabase | Halted)
    return CliError(
        f"the node cannot go on: {error}",
        code=type(error).__name__,
        next_step=_way_out(error),
        exit_code=Exit.REFUSED if is_safety else Exit.ERROR,
    )


def _way_out(error: BaseException) -> str:
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return "another program has the port: change `listen` or `port` in the node's config.toml"
    if isinstance(error, GuardError) and error.reason in NEXT:
        return NEXT[error.reason]
    return "see the message; nothing was lost"
