"""Opens a node's database, and decides what happens when this machine's disk lied.

Damage is found before use and never served: every read verifies checksums, the newest blocks and the state
are checked at every start, and `tools.node.scrub` reads everything else while the node runs. A torn tail
after a power cut opens leniently and passes a check of the whole; anything else is moved aside for the
operator to look at, and the node starts from genesis and syncs again from peers. What was found while the
node ran is marked in a file beside the database, so that the next start knows. The signing log lies elsewhere
and is never touched here: a resynchronised node still remembers what it signed.
"""

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

from chain.database.interface import CorruptionError
from chain.database.leveldb import LevelDatabase, copy_aside, open_leveldb
from chain.layout import BODY, CERTIFICATE, HEADER, OUTCOME, UNDO, number
from chain.store import BlockStore

_log = logging.getLogger(__name__)

CheckWhole = Callable[[BlockStore, LevelDatabase], None]
"""Raises `CorruptionError` unless everything in a database fits."""


def check_chain(store: BlockStore, _database: LevelDatabase) -> None:
    """Walk the whole chain of blocks.

    Raises:
        CorruptionError: The first thing that does not fit.
    """
    store.check()


def size_on_disk(path: Path) -> int:
    """Bytes that a database's files take; files that go meanwhile do not count."""
    total = 0
    for file in path.iterdir():
        try:
            total += file.stat().st_size
        except FileNotFoundError:
            continue
    return total


def compact_heights(database: LevelDatabase, low: int, high: int) -> None:
    """Give back the room of the blocks from height `low` up to, and without, `high`."""
    for namespace in (HEADER, BODY, OUTCOME, CERTIFICATE, UNDO):
        database.compact(namespace + number(low), namespace + number(high))


def open_store(
    path: Path, *, genesis: bytes, check_whole: CheckWhole = check_chain
) -> tuple[LevelDatabase, BlockStore | None]:
    """Open the chain database at ``path``; the store is None where the chain has to start from genesis.

    Args:
        path: Directory of the database.
        genesis: Digest of the genesis document.
        check_whole: Looks at a database whose files were damaged and could still be opened.

    Raises:
        DatabaseError: LOCKED or IO: the node cannot run on this directory now.
        ForeignDatabase: The directory is another chain's; it is left as it is.
    """
    mark = mark_of(path)
    if mark.exists():
        _log.error("database damaged found=%r next=%r", "by the last run", "syncing from peers")
    else:
        try:
            return _opened(path, genesis=genesis, paranoid=True)
        except CorruptionError as error:
            aside = _unused_name(path)
            _log.error("database damaged error=%r copy=%s", str(error), aside)
            copy_aside(path, aside)
        try:
            database, store = _opened(path, genesis=genesis, paranoid=False)
            return _checked(database, store, check_whole)
        except CorruptionError as error:
            _log.error("database unusable error=%r next=%r", str(error), "syncing from peers")
    if path.exists():
        path.rename(_unused_name(path))
    mark.unlink(missing_ok=True)
    return _opened(path, genesis=genesis, paranoid=True)


def mark_of(path: Path) -> Path:
    """The file that says that the database beside it was found damaged while it was in use."""
    return path.with_name(path.name + ".damaged")


def _mark(path: Path) -> None:
    try:
        mark_of(path).touch()
    except OSError as error:
        # No room even for that. The node stops all the same, and every read of the next run is checked again.
        _log.error("damage not marked path=%s error=%r", mark_of(path), str(error))


def _opened(path: Path, *, genesis: bytes, paranoid: bool) -> tuple[LevelDatabase, BlockStore | None]:
    database = open_leveldb(path, paranoid=paranoid)
    try:
        store = BlockStore.open(database, genesis=genesis, progress=_tell)
    except BaseException:
        database.close()
        raise
    database.on_corruption = partial(_mark, path)
    return database, store


def _checked(
    database: LevelDatabase, store: BlockStore | None, check_whole: CheckWhole
) -> tuple[LevelDatabase, BlockStore | None]:
    try:
        if store is not None:
            check_whole(store, database)
    except BaseException:
        database.close()
        raise
    return database, store


def _tell(loaded: int) -> None:
    _log.info("loading state entries=%d", loaded)


def _unused_name(path: Path) -> Path:
    number = 1
    while (candidate := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    return candidate
