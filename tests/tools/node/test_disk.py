"""How a node watches its disk."""

import logging
import threading
from pathlib import Path

import pytest
import trio

from chain.database.interface import DatabaseError, DatabaseReason
from tools.node.config import ConfigError, config_from
from tools.node.disk import DiskFullError, DiskThread, DiskWatch, RoomRule, check_room, size_of

PLENTY = RoomRule(reserve=1, floor=0)


class Clock:
    """Seconds that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def test_others_go_on_while_a_sync_hangs():
    thread, hangs, order = DiskThread(), threading.Event(), []

    async def sync(number: int) -> None:
        order.append(await thread(lambda: hangs.wait(20) and number))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(sync, 1)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(sync, 2)
        await trio.testing.wait_all_tasks_blocked()
        assert order == []  # this task runs, and both works wait
        hangs.set()
    assert order == [1, 2]


async def test_threads_that_others_keep_busy_stop_no_write_and_no_look(tmp_path: Path):
    others = trio.to_thread.current_default_thread_limiter()
    while others.available_tokens:
        others.acquire_on_behalf_of_nowait(object())
    with trio.fail_after(20):
        assert await DiskThread()(lambda: 5) == 5
        with pytest.raises(DiskFullError):
            await watch(tmp_path, RoomRule(reserve=10**18, floor=10**18)).run()


async def test_what_fails_in_the_thread_is_raised_and_the_next_work_is_done():
    thread = DiskThread()

    def fail() -> None:
        raise DatabaseError(DatabaseReason.FULL, "no room")

    with pytest.raises(DatabaseError, match="no room"):
        await thread(fail)
    assert await thread(lambda: 5) == 5


async def test_a_slow_sync_is_told_in_log_and_status_for_a_minute(caplog: pytest.LogCaptureFixture):
    clock = Clock()
    thread = DiskThread(clock)

    def take(seconds: float) -> None:
        clock.now += seconds

    with caplog.at_level(logging.WARNING):
        await thread(lambda: take(0.2))
        assert thread.describe() == ""
        await thread(lambda: take(1.25))
        await thread(lambda: take(0.5))
    assert [record.getMessage() for record in caplog.records] == ["disk slow sync_ms=1250 healthy_ms=250"]
    assert thread.describe() == (
        "slow disk: 2 syncs of more than 250 ms in the last 60 s, the longest 1250 ms"
    )
    clock.now += 61
    assert thread.describe() == ""


async def test_a_sync_that_hangs_is_told_before_it_ends():
    clock, hangs = Clock(), threading.Event()
    thread = DiskThread(clock)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(thread, lambda: hangs.wait(20))
        await trio.testing.wait_all_tasks_blocked()
        clock.now += 3
        assert thread.describe().endswith("the longest 3000 ms, waits for one since 3000 ms")
        hangs.set()


def watch(
    folder: Path, rule: RoomRule, failure: DatabaseError | None = None, free: int = 1 << 62
) -> DiskWatch:
    return DiskWatch((folder,), rule, DiskThread(lambda: 0.0), lambda: failure, free)


async def test_a_node_below_its_floor_stops_with_the_figures(tmp_path: Path):
    with pytest.raises(
        DiskFullError, match=r"disk nearly full at .*: [\d.]+ MB left, need 1000000000000.0 MB"
    ):
        await watch(tmp_path, RoomRule(reserve=10**18, floor=10**18)).run()
    assert check_room([tmp_path], 0) > 0


async def test_a_database_that_failed_under_a_stranger_stops_the_node(tmp_path: Path):
    failure = DatabaseError(DatabaseReason.IO, "reading: Input/output error")
    with pytest.raises(DatabaseError, match="Input/output error"):
        await watch(tmp_path, PLENTY, failure).run()


def test_a_low_disk_is_told_once_a_minute(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    clock = Clock()
    low = DiskWatch(
        (tmp_path,), RoomRule(reserve=10**9, floor=10**7), DiskThread(clock), lambda: None, 10**10
    )
    assert low.describe() == ""
    with caplog.at_level(logging.WARNING):
        for _ in range(70):
            clock.now += 1
            low.note(5 * 10**8)
    assert [record.getMessage() for record in caplog.records] == [
        "disk low free=500000000 reserve=1000000000 floor=10000000"
    ] * 2
    assert low.describe() == (
        "low disk: 500.0 MB left, below the reserve of 1000.0 MB; the node stops below 10.0 MB"
    )
    low.note(2 * 10**9)
    assert low.describe() == ""


def test_sizes_are_read_and_compared():
    assert [size_of(text) for text in ("2GB", "500 mb", "0KB", "12", "GB", "-1GB", "1.5GB")] == [
        2 * 10**9, 500 * 10**6, 0, None, None, None, None,
    ]  # fmt: skip
    config = config_from({"genesis": "g", "storage": {"reserve": "1GB", "floor": "10MB"}}, base=Path())
    assert config.room == RoomRule(reserve=10**9, floor=10**7)
    with pytest.raises(ConfigError, match=r"storage\.floor: 2GB is more than the reserve of 1GB"):
        config_from({"genesis": "g", "storage": {"reserve": "1GB", "floor": "2GB"}}, base=Path())
    with pytest.raises(ConfigError, match=r"storage\.reserve: 'much' is no size like 500MB"):
        config_from({"genesis": "g", "storage": {"reserve": "much"}}, base=Path())
