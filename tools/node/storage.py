"""Opens a node's database, and decides what happens when this machine's disk lied.

Damage is found before use and never served. A torn tail after a power cut opens leniently and passes the
chain check; anything else is moved aside for the operator to look at, and the node starts from genesis and
syncs again from peers. The signing log lies elsewhere and is never touched here: a resynchronised node still
remembers what it signed.
"""

import logging
from pathlib import Path

from chain.database.interface import CorruptionError
from chain.database.leveldb import LevelDatabase, copy_aside, open_leveldb
from chain.layout import BODY, CERTIFICATE, HEADER, OUTCOME, UNDO, number
from chain.store import BlockStore

_log = logging.getLogger(__name__)


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


def open_store(path: Path, *, genesis: bytes) -> tuple[LevelDatabase, BlockStore | None]:
    """Open the chain database at ``path``; the store is None where the chain has to start from genesis.

    Args:
        path: Directory of the database.
        genesis: Digest of the genesis document.

    Raises:
        DatabaseError: LOCKED or IO: the node cannot run on this directory now.
        ForeignDatabase: The directory is another chain's; it is left as it is.
    """
    try:
        return _opened(path, genesis=genesis, paranoid=True)
    except CorruptionError as error:
        aside = _unused_name(path)
        _log.error("database damaged error=%r copy=%s", str(error), aside)
        copy_aside(path, aside)
    try:
        return _opened(path, genesis=genesis, paranoid=False)
    except CorruptionError as error:
        _log.error(
            "database unusable error=%r next=%r", str(error), "starting from genesis, syncing from peers"
        )
    path.rename(_unused_name(path))
    return _opened(path, genesis=genesis, paranoid=True)


def _opened(path: Path, *, genesis: bytes, paranoid: bool) -> tuple[LevelDatabase, BlockStore | None]:
    database = open_leveldb(path, paranoid=paranoid)
    try:
        return database, BlockStore.open(database, genesis=genesis, progress=_tell)
    except BaseException:
        database.close()
        raise


def _tell(loaded: int) -> None:
    _log.info("loading state entries=%d", loaded)


def _unused_name(path: Path) -> Path:
    number = 1
    while (candidate := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    return candidate
