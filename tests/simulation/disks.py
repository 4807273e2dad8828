"""What survives: a database and a signing log that a power cut may interrupt at any byte.

What was synced stays. A power cut in the middle of a write leaves all of a database's batch or nothing of it,
and any prefix of what was appended to the log. What was written and not synced survives a killed process, and
a power cut takes any tail of it: the real classes sync every write, so that is for planted bugs alone.
"""

from collections.abc import Iterable, Sequence
from random import Random

from chain.database.memory import MemoryDatabase
from consensus.signing.disk import DiskBusyError
from tests.consensus.fakes import PowerCut

Changes = Sequence[tuple[bytes, bytes | None]]


class SimDatabase(MemoryDatabase):
    """A `chain.database.interface.Database` whose machine may lose power."""

    def __init__(self) -> None:
        super().__init__()
        self.cut: int | None = None
        """At the next write the power fails: the batch is there afterwards if this is 500 or more."""
        self._unsynced: list[list[tuple[bytes, bytes | None]]] = []

    def write(self, changes: Changes) -> None:
        if self.cut is not None:
            kept, self.cut = self.cut >= 500, None
            if kept:
                super().write(changes)
            raise PowerCut
        self._unsynced.append([(key, self._values.get(key)) for key, _ in changes])
        super().write(changes)
        self.sync()

    def sync(self) -> None:
        self._unsynced.clear()

    def lose_power(self, rng: Random) -> None:
        kept = rng.randrange(len(self._unsynced) + 1)
        for batch in reversed(self._unsynced[kept:]):
            super().write(batch[::-1])
        self._unsynced.clear()


class DatabaseJournal:
    """A `consensus.safe_store.Journal` in a database of its own."""

    def __init__(self, database: SimDatabase) -> None:
        self.database = database

    def save(self, records: Changes) -> None:
        self.database.write(records)

    def load(self) -> Iterable[tuple[bytes, bytes]]:
        return self.database.iterate(prefix=b"")


class SimDisk:
    """A `consensus.signing.disk.Disk` whose machine may lose power."""

    def __init__(self) -> None:
        self.data: bytes | None = None
        self.cut: int | None = None
        """At the next append the power fails, and this many thousandths of the data are there afterwards."""
        self._locked = False
        self._synced = 0

    def place(self) -> bytes:
        """One place: where a disk stands is no matter of the simulation."""
        return bytes(32)

    def lock(self) -> None:
        if self._locked:
            raise DiskBusyError("in use")
        self._locked = True

    def read(self) -> bytes | None:
        return self.data

    def append(self, data: bytes) -> None:
        assert self.data is not None
        if self.cut is not None:
            kept, self.cut = len(data) * self.cut // 1000, None
            self.data += data[:kept]
            self._synced = len(self.data)
            raise PowerCut
        self.data += data
        self.sync()

    def sync(self) -> None:
        self._synced = len(self.data or b"")

    def replace(self, data: bytes) -> None:
        self.data = data
        self._synced = len(data)

    def close(self) -> None:
        self._locked = False

    def lose_power(self, rng: Random) -> None:
        if self.data is not None:
            self.data = self.data[: rng.randint(self._synced, len(self.data))]
            self._synced = len(self.data)
