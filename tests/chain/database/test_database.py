"""What every database promises, on disk and in memory alike."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chain.database.interface import Database, DatabaseError, DatabaseReason, key_range, prefix_end
from chain.database.leveldb import open_leveldb
from chain.database.memory import MemoryDatabase

KEYS = st.binary(max_size=3) | st.sampled_from([b"\xff", b"\xff\xff", b"\xff\x00", b"a\xff\xff"])
BATCHES = st.lists(st.lists(st.tuples(KEYS, st.none() | st.binary(max_size=3)), max_size=12), max_size=5)


@pytest.fixture(params=["memory", "leveldb"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    opened: Database = MemoryDatabase() if request.param == "memory" else open_leveldb(tmp_path / "db")
    yield opened
    opened.close()


def test_reads_what_was_written(database: Database) -> None:
    database.write([(b"a", b"1"), (b"empty", b""), (b"", b"no key")])
    assert database.get(b"a") == b"1"
    assert database.get(b"empty") == b""
    assert database.get(b"") == b"no key"
    assert database.get(b"absent") is None
    database.write([(b"a", None), (b"absent", None)])
    assert database.get(b"a") is None


def test_the_last_change_of_a_key_wins(database: Database) -> None:
    database.write([(b"a", b"1"), (b"a", None), (b"b", None), (b"b", b"2"), (b"c", b"3"), (b"c", b"4")])
    assert list(database.iterate(prefix=b"")) == [(b"b", b"2"), (b"c", b"4")]


def test_iterates_a_prefix_both_ways_from_a_key(database: Database) -> None:
    database.write([(key, b"") for key in (b"a", b"b", b"b1", b"b3", b"b\xff", b"c")])

    def keys(**arguments: object) -> list[bytes]:
        return [key for key, _ in database.iterate(**arguments)]  # type: ignore[arg-type]

    assert keys(prefix=b"b") == [b"b", b"b1", b"b3", b"b\xff"]
    assert keys(prefix=b"b", reverse=True) == [b"b\xff", b"b3", b"b1", b"b"]
    assert keys(prefix=b"b", start=b"b2") == [b"b3", b"b\xff"]
    assert keys(prefix=b"b", start=b"b3") == [b"b3", b"b\xff"]
    assert keys(prefix=b"b", start=b"b2", reverse=True) == [b"b1", b"b"]
    assert keys(prefix=b"b", start=b"b1", reverse=True) == [b"b1", b"b"]
    assert keys(prefix=b"b", start=b"a", reverse=True) == []
    assert keys(prefix=b"b", start=b"c") == []
    assert keys(prefix=b"b", start=b"c", reverse=True) == [b"b\xff", b"b3", b"b1", b"b"]
    assert keys(prefix=b"", start=b"b\xff") == [b"b\xff", b"c"]
    # A walk whose first entry is the last one of its range as well.
    assert keys(prefix=b"c", reverse=True) == [b"c"]
    assert keys(prefix=b"b3", reverse=True) == [b"b3"]
    assert keys(prefix=b"b", start=b"b", reverse=True) == [b"b"]


def test_an_iteration_is_of_the_moment_it_was_asked_for(database: Database) -> None:
    database.write([(b"a", b"1"), (b"b", b"2")])
    entries = database.iterate(prefix=b"")
    database.write([(b"a", b"changed"), (b"b", None), (b"c", b"3")])
    assert list(entries) == [(b"a", b"1"), (b"b", b"2")]


def test_a_closed_database_refuses_everything(database: Database) -> None:
    database.write([(b"a", b"1")])
    database.close()
    database.close()
    calls: list[Callable[[], object]] = [
        lambda: database.get(b"a"),
        lambda: database.iterate(prefix=b""),
        lambda: database.write([(b"a", b"2")]),
    ]
    for call in calls:
        with pytest.raises(DatabaseError, match="the database is closed") as caught:
            call()
        assert caught.value.reason is DatabaseReason.CLOSED


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)  # a write is synced to disk
@given(BATCHES, KEYS, st.none() | KEYS, st.booleans())
def test_both_agree_with_a_sorted_map(
    database: Database,
    batches: list[list[tuple[bytes, bytes | None]]],
    prefix: bytes,
    start: bytes | None,
    reverse: bool,
) -> None:
    database.write([(key, None) for key, _ in database.iterate(prefix=b"")])
    model: dict[bytes, bytes] = {}
    for batch in batches:
        database.write(batch)
        for key, value in batch:
            if value is None:
                model.pop(key, None)
            else:
                model[key] = value
    expected = [
        (key, value)
        for key, value in sorted(model.items(), reverse=reverse)
        if key.startswith(prefix) and (start is None or (key <= start if reverse else key >= start))
    ]
    assert list(database.iterate(prefix=prefix, start=start, reverse=reverse)) == expected
    assert all(database.get(key) == model.get(key) for batch in batches for key, _ in batch)


@given(st.binary(max_size=4), st.binary(max_size=6))
def test_the_end_of_a_prefix_is_just_above_it(prefix: bytes, key: bytes) -> None:
    end = prefix_end(prefix)
    inside = key >= prefix and (end is None or key < end)
    assert inside == key.startswith(prefix)


@given(st.binary(max_size=3), st.none() | st.binary(max_size=4), st.booleans(), st.binary(max_size=5))
def test_a_key_range_holds_what_it_should(
    prefix: bytes, start: bytes | None, reverse: bool, key: bytes
) -> None:
    low, high = key_range(prefix, start, reverse=reverse)
    wanted = key.startswith(prefix) and (start is None or (key <= start if reverse else key >= start))
    assert (low <= key and (high is None or key < high)) == wanted


def test_a_memory_database_fails_as_a_disk_does() -> None:
    database = MemoryDatabase()
    database.fail_writes_after(1)
    database.write([(b"a", b"1")])
    with pytest.raises(DatabaseError) as caught:
        database.write([(b"a", b"2"), (b"b", b"2")])
    assert caught.value.reason is DatabaseReason.IO
    for call in (
        lambda: database.get(b"a"),
        lambda: database.write([]),
        lambda: database.iterate(prefix=b""),
    ):
        with pytest.raises(DatabaseError) as caught:
            call()
        assert caught.value.reason is DatabaseReason.FAILED_BEFORE
    assert list(database.reopened().iterate(prefix=b"")) == [(b"a", b"1")]
