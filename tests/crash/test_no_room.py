"""Full at every possible moment: nothing torn reads back as good, nothing is signed that is not recorded."""

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from chain.crypto.ed25519 import SecretKey
from chain.crypto.keystore import (
    ENTROPY_BYTES,
    KdfStrength,
    KeyRole,
    KeystoreError,
    read_key_file,
    write_key_file,
)
from chain.database.interface import DatabaseError, DatabaseReason
from chain.database.leveldb import copy_aside, open_leveldb
from chain.types.statement import Kind, Statement
from consensus.halting import HaltReason
from consensus.signing.disk import FileDisk
from consensus.signing.guard_log import RecordKind, read_log
from consensus.signing.signing_guard import GuardError, SigningGuard
from p2p.files import save
from p2p.identity import load_or_create_identity
from tests.consensus.cluster import open_cluster
from tests.consensus.fakes import SimDisk
from tests.consensus.guards import B, fresh, reopened, says
from tests.crash.ballast import BLOCK, Ballast
from tests.crash.small_disk import small_disk
from tools.cli.node import _made

SIGNED = (
    says(Kind.NOTARIZE), says(Kind.FINALIZE), says(Kind.NOTARIZE, 1), says(Kind.NULLIFY, 1),
    says(Kind.NOTARIZE, epoch=1),
)  # fmt: skip


class TightDisk(SimDisk):
    """A signing log's disk with so many bytes left; None: enough."""

    def __init__(self) -> None:
        super().__init__()
        self.room: int | None = None

    def append(self, data: bytes) -> None:
        kept = data if self.room is None else data[: self.room]
        super().append(kept)
        self._used(len(kept), len(data))

    def replace(self, data: bytes) -> None:
        self._used(0, len(data))
        super().replace(data)

    def _used(self, size: int, wanted: int) -> None:
        if self.room is not None:
            self.room -= size
            if size < wanted:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def sign_all(guard: SigningGuard) -> tuple[list[Statement], Statement | None]:
    """What was released, and what found no room."""
    released: list[Statement] = []
    for statement in SIGNED:
        try:
            guard.finish_epochs(statement.epoch)
            guard.record(statement, bytes(64))
        except OSError:
            return released, statement
        released.append(statement)
    return released, None


def may_sign(guard: SigningGuard, statement: Statement) -> bool:
    try:
        guard.stored(statement)
    except GuardError:
        return False
    return not guard.covers(statement)


def test_a_signing_log_that_finds_no_room_at_any_byte_never_lets_its_key_contradict_itself():
    full = TightDisk()
    sign_all(fresh(full))
    assert full.data is not None
    whole, start = len(full.data), len(_empty().data or b"")
    for room in range(whole - start):
        disk = _empty()
        disk.locked = False
        guard = reopened(disk)
        disk.room = room
        released, refused = sign_all(guard)
        assert refused is not None
        torn, disk.room = disk.data, 0
        try:
            reopened(disk)  # full still: what is torn cannot be written down, and nothing changes
        except OSError:
            assert disk.data == torn
        disk.room = None
        after = reopened(disk)
        for statement in released:
            assert not may_sign(after, statement), f"{room} bytes: {statement} would be recorded again"
            if statement.kind is not Kind.NULLIFY:
                assert not may_sign(after, replace(statement, digest=B)), (
                    f"{room} bytes: {statement} forgotten"
                )


def _empty() -> TightDisk:
    disk = TightDisk()
    fresh(disk)
    return disk


@pytest.fixture
def autojump_clock() -> MockClock:
    return MockClock(autojump_threshold=0)


def newest(disk: SimDisk) -> tuple[int, int]:
    """Epoch and view of the last signature; a log with a torn record is written anew, and shorter."""
    votes = [r for r in read_log(disk.data or b"").records if r.kind <= RecordKind.FINALIZE]
    return max((vote.epoch, vote.view) for vote in votes)


@pytest.mark.parametrize("room", [100])
async def test_a_validator_without_room_stops_and_goes_on_when_there_is_some(
    autojump_clock: MockClock, room: int
):
    async with open_cluster() as cluster:
        victim = cluster.machines[3]
        victim.disk = disk = TightDisk()
        cluster.start()
        await trio.sleep(5)
        disk.room = room
        await trio.sleep(5)
        assert victim.halted is not None
        assert victim.halted.reason is HaltReason.DISK_FULL
        at, signed, last = cluster.machines[0].height, disk.data, newest(disk)
        await trio.sleep(10)
        assert cluster.machines[0].height > at + 3
        assert disk.data == signed
        disk.room, victim.halted = None, None
        cluster.start(victim)
        await trio.sleep(20)
        assert victim.halted is None
        assert victim.engine.status().is_member
        assert max(cluster.heights()) - victim.height <= 1
        assert cluster.agree()
        assert newest(disk) > last


@dataclass(frozen=True, slots=True)
class Written:
    """A file, how it is written, and how it is read back."""

    name: str
    write: Callable[[Path], object]
    read: Callable[[Path], object]
    raises: type[Exception] = OSError


def _write_key(path: Path) -> None:
    write_key_file(
        path, SecretKey(bytes(32)), role=KeyRole.CONSENSUS, password=b"password", kdf=KdfStrength.LIGHT,
        entropy=bytes(ENTROPY_BYTES),
    )  # fmt: skip


FILES = (
    Written("log", lambda path: FileDisk(path).replace(bytes(9000)), lambda path: FileDisk(path).read()),
    Written("key", _write_key, lambda path: read_key_file(path, b"password"), KeystoreError),
    Written("identity", load_or_create_identity, load_or_create_identity),
    Written("peers.json", lambda path: save(path, {"peers": ["x" * 9000]}), Path.read_bytes),
    Written("config.toml", lambda path: _made(path, b"a" * 9000), Path.read_bytes),
)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_file_is_there_whole_or_not_at_all(file: Written):
    with small_disk(1 << 18) as folder:
        (folder / "home").mkdir()
        path, ballast = folder / "home" / file.name, Ballast(folder)
        for pages in range(8):
            ballast.fill(leave=pages * BLOCK)
            try:
                file.write(path)
            except file.raises:
                assert not path.exists(), f"{pages} pages left: a part of it is there"
                ballast.free()
            else:
                file.read(path)
                break
        else:
            raise AssertionError("never enough room")
        assert pages > 0, "it takes no room"


def test_a_database_that_found_no_room_to_begin_begins_anew():
    with small_disk(4 << 20) as folder:
        path, ballast, reasons = folder / "chain", Ballast(folder), set()
        for pages in range(12):
            ballast.fill(leave=pages * BLOCK)
            try:
                open_leveldb(path).close()
            except DatabaseError as error:
                reasons.add(error.reason)
            else:
                break
            ballast.free()
            database = open_leveldb(path)
            assert list(database.iterate(prefix=b"")) == []
            database.close()
            for file in path.iterdir():
                file.unlink()
        assert reasons == {DatabaseReason.FULL}


def test_a_database_on_a_full_disk_keeps_what_it_said_it_had():
    with small_disk(4 << 20) as folder:
        path, ballast = folder / "chain", Ballast(folder)
        database = open_leveldb(path, write_buffer_bytes=1 << 16)
        kept: dict[bytes, bytes] = {}
        for round_ in range(12):
            ballast.fill(leave=round_ * 7919)
            reason = None
            for number in range(2000):
                key, value = b"%d/%d" % (round_, number), bytes([number % 251]) * 700
                try:
                    database.write([(key, value), (b"last", key)])
                except DatabaseError as error:
                    reason = error.reason
                    break
                kept |= {key: value, b"last": key}
            assert reason is DatabaseReason.FULL
            assert database.failure is not None
            with pytest.raises(DatabaseError, match="No space left on device") as caught:
                database.get(b"last")
            assert caught.value.reason is DatabaseReason.FAILED_BEFORE
            database.close()
            ballast.free()
            database = open_leveldb(path, write_buffer_bytes=1 << 16)
            found = dict(database.iterate(prefix=b""))
            # The write that failed is there whole, or not at all.
            assert found == kept or found == kept | {key: value, b"last": key}, f"round {round_}"
            kept = found
        database.close()


def test_a_copy_that_finds_no_room_leaves_none_of_it():
    with small_disk(4 << 20) as folder:
        path = folder / "chain"
        database = open_leveldb(path)
        database.write([(b"a", bytes(100_000))])
        database.close()
        Ballast(folder).fill(leave=50_000)
        with pytest.raises(DatabaseError) as caught:
            copy_aside(path, folder / "chain.damaged-1")
        assert caught.value.reason is DatabaseReason.FULL
        assert sorted(file.name for file in folder.iterdir()) == ["ballast", "chain", "chain.lock"]
