"""What LevelDB does when the machine under it fails."""

import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chain.database.interface import CorruptionError, DatabaseError, DatabaseReason
from chain.database.leveldb import LevelDatabase, copy_aside, open_leveldb

# Writes batch after batch, and says of each only after `write` has returned.
WRITER = """
import sys
from pathlib import Path
from chain.database.leveldb import open_leveldb
database = open_leveldb(Path(sys.argv[1]), write_buffer_bytes=1 << 16)
number = int(sys.argv[2])
while True:
    value = number.to_bytes(8, "big") * 40
    database.write([(b"%d/%d" % (number, part), value) for part in range(20)] + [(b"last", b"%d" % number)])
    print(number, flush=True)
    number += 1
"""


def reason_of(call: Callable[[], object]) -> DatabaseReason:
    with pytest.raises(DatabaseError) as caught:
        call()
    return caught.value.reason


def filled(path: Path, *, batches: int = 60) -> dict[bytes, bytes]:
    """Write enough to leave tables as well as a log, and close."""
    database = open_leveldb(path, write_buffer_bytes=1 << 16)
    entries = {b"%04d" % number: bytes([number % 251]) * 2000 for number in range(batches)}
    for key, value in entries.items():
        database.write([(key, value)])
    database.close()
    return entries


def flip(path: Path, *, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 4
    path.write_bytes(content)


def test_a_batch_that_raises_half_way_is_not_written(tmp_path: Path) -> None:
    database = open_leveldb(tmp_path / "db")
    with pytest.raises(TypeError):
        database.write([(b"a", b"1"), (b"b", "not bytes")])  # type: ignore[list-item]
    assert list(database.iterate(prefix=b"")) == []
    database.write([(b"c", b"3")])
    assert list(database.iterate(prefix=b"")) == [(b"c", b"3")]
    database.close()


def test_a_second_opener_is_refused_until_the_first_closes(tmp_path: Path) -> None:
    path = tmp_path / "db"
    database = open_leveldb(path)
    # Opening and closing LevelDB's own lock file drops its lock; ours stays.
    (path / "LOCK").open().close()
    with pytest.raises(DatabaseError, match=r"db is in use: .*db\.lock is locked") as caught:
        open_leveldb(path)
    assert caught.value.reason is DatabaseReason.LOCKED
    assert reason_of(lambda: copy_aside(path, tmp_path / "copy")) is DatabaseReason.LOCKED
    database.close()
    open_leveldb(path).close()


def test_another_process_is_refused(tmp_path: Path) -> None:
    database = open_leveldb(tmp_path / "db")
    (tmp_path / "db" / "LOCK").open().close()
    other = subprocess.run(
        [sys.executable, "-c", WRITER, tmp_path / "db", "0"], check=False, capture_output=True, text=True
    )
    database.close()
    assert other.returncode == 1
    assert "is in use" in other.stderr


def test_a_missing_database_is_not_made_unless_asked_for(tmp_path: Path) -> None:
    assert reason_of(lambda: open_leveldb(tmp_path / "db", create=False)) is DatabaseReason.MISSING
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "empty").mkdir()
    assert reason_of(lambda: open_leveldb(tmp_path / "empty", create=False)) is DatabaseReason.MISSING
    open_leveldb(tmp_path / "deep" / "er" / "db").close()


def test_the_remains_of_a_database_are_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    filled(tmp_path / "db")
    (tmp_path / "db" / "CURRENT").unlink()
    with pytest.raises(CorruptionError, match="holds files but no CURRENT"):
        open_leveldb(tmp_path / "db")
    assert any((tmp_path / "db").glob("*.ldb"))


def test_a_path_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "db").write_text("not a directory")
    assert reason_of(lambda: open_leveldb(tmp_path / "db")) is DatabaseReason.IO
    assert reason_of(lambda: open_leveldb(tmp_path / "db" / "below")) is DatabaseReason.IO


@pytest.mark.parametrize("fraction", [3, 5, 8])
def test_a_flipped_bit_in_a_table_is_found(tmp_path: Path, fraction: int) -> None:
    entries = filled(tmp_path / "db")
    table = max((tmp_path / "db").glob("*.ldb"), key=lambda file: file.stat().st_size)
    flip(table, at=table.stat().st_size * fraction // 10)

    def read_all() -> None:
        database = open_leveldb(tmp_path / "db")
        try:
            # No wrong value is ever returned: each is right, or refused.
            for key, value in entries.items():
                assert database.get(key) == value
        finally:
            database.close()

    with pytest.raises(CorruptionError):
        read_all()

    def iterate_all() -> None:
        database = open_leveldb(tmp_path / "db")
        try:
            assert dict(database.iterate(prefix=b"")) == entries
        finally:
            database.close()

    with pytest.raises(CorruptionError):
        iterate_all()


@pytest.mark.parametrize("reverse", [False, True])
def test_a_flipped_bit_in_the_index_of_a_young_table_is_found_as_a_walk_begins(
    tmp_path: Path, reverse: bool
) -> None:
    # The third table of the same keys is of level 0: those are opened before the first step.
    for _ in range(3):
        filled(tmp_path / "db")
    table = max((tmp_path / "db").glob("*.ldb"), key=lambda file: file.name)
    flip(table, at=table.stat().st_size - 100)
    database, told = open_leveldb(tmp_path / "db"), list[str]()
    database.on_corruption = lambda: told.append("damaged")
    with pytest.raises(CorruptionError):
        database.iterate(prefix=b"0", reverse=reverse)
    assert told == ["damaged"]
    assert reason_of(lambda: database.get(b"0000")) is DatabaseReason.FAILED_BEFORE
    database.close()


def test_a_flipped_bit_in_the_log_is_found_at_open(tmp_path: Path) -> None:
    entries = filled(tmp_path / "db", batches=10)
    [log] = (tmp_path / "db").glob("*.log")
    flip(log, at=log.stat().st_size // 2)
    with pytest.raises(CorruptionError, match=r"opening .*db: Corruption: checksum mismatch"):
        open_leveldb(tmp_path / "db")
    copy_aside(tmp_path / "db", tmp_path / "copy")
    assert reason_of(lambda: copy_aside(tmp_path / "db", tmp_path / "copy")) is DatabaseReason.EXISTS
    # A lenient open gives back what it can. That it has a hole is for the chain check above it to find.
    lenient = open_leveldb(tmp_path / "db", paranoid=False)
    found = dict(lenient.iterate(prefix=b""))
    lenient.close()
    assert found.items() < entries.items()
    with pytest.raises(CorruptionError):
        open_leveldb(tmp_path / "copy")


def test_a_torn_tail_loses_the_torn_batch_alone(tmp_path: Path) -> None:
    entries = filled(tmp_path / "db", batches=10)
    [log] = (tmp_path / "db").glob("*.log")
    log.write_bytes(log.read_bytes()[:-700])
    database = open_leveldb(tmp_path / "db")
    assert dict(database.iterate(prefix=b"")) == dict(list(entries.items())[:9])
    database.close()


@contextmanager
def no_file_may_exceed(size: int) -> Iterator[None]:
    """Make the disk look full: writes beyond `size` bytes of a file fail in this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def write_until_full(database: LevelDatabase) -> tuple[dict[bytes, bytes], DatabaseReason]:
    acknowledged: dict[bytes, bytes] = {}
    for number in range(1000):
        batch = [(b"%04d/%d" % (number, part), bytes([number % 251]) * 500) for part in range(10)]
        try:
            database.write(list(batch))
        except DatabaseError as error:
            return acknowledged, error.reason
        acknowledged.update(batch)
    raise AssertionError("the disk never filled up")


def test_a_full_disk_stops_everything_and_loses_no_acknowledged_batch(tmp_path: Path) -> None:
    database = open_leveldb(tmp_path / "db")
    with no_file_may_exceed(200_000):
        acknowledged, reason = write_until_full(database)
    assert reason is DatabaseReason.IO
    assert len(acknowledged) > 100
    # There is room again, but nobody can tell what the disk holds before the database is opened anew.
    assert reason_of(lambda: database.write([(b"a", b"1")])) is DatabaseReason.FAILED_BEFORE
    assert reason_of(lambda: database.get(b"0000/0")) is DatabaseReason.FAILED_BEFORE
    assert reason_of(lambda: database.iterate(prefix=b"")) is DatabaseReason.FAILED_BEFORE
    database.close()
    reopened = open_leveldb(tmp_path / "db")
    found = dict(reopened.iterate(prefix=b""))
    reopened.close()
    assert acknowledged.items() <= found.items()
    assert len(found) - len(acknowledged) in (0, 10)


def test_a_killed_process_loses_no_acknowledged_batch(tmp_path: Path) -> None:
    number = 0
    for cycle in range(4):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, tmp_path / "db", str(number)], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            for _ in range(15 + 7 * cycle):
                writer.stdout.readline()
            writer.send_signal(signal.SIGKILL)
            rest = writer.stdout.read().split()
        acknowledged = int(rest[-1]) if rest else number + 15 + 7 * cycle - 1
        database = open_leveldb(tmp_path / "db")
        last = int(database.get(b"last") or b"-1")
        # One batch may have been durable without its acknowledgement having left.
        assert acknowledged <= last <= acknowledged + 1, f"cycle {cycle}"
        entries = dict(database.iterate(prefix=b""))
        database.close()
        assert len(entries) == (last + 1) * 20 + 1, f"cycle {cycle}: a batch in part, or a hole"
        assert all(entries[b"%d/19" % batch] == batch.to_bytes(8, "big") * 40 for batch in range(last + 1))
        number = last + 1


def test_an_iteration_under_a_closed_database_ends_in_a_reason(tmp_path: Path) -> None:
    database = open_leveldb(tmp_path / "db")
    database.write([(b"a", b"1"), (b"b", b"2")])
    entries = database.iterate(prefix=b"")
    assert next(entries) == (b"a", b"1")
    database.close()
    assert reason_of(lambda: next(entries)) is DatabaseReason.CLOSED
