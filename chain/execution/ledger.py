"""The state while a block executes: typed reads and writes over an immutable tree that stays as it was."""

import heapq
from bisect import bisect_left, insort
from collections.abc import Iterator
from typing import Any, Final, TypeVar, cast

from chain.codec import decode, encode
from chain.state.tree import StateTree

_RECORD_LIMIT: Final = 1 << 20
_T = TypeVar("_T")


class Ledger:
    """A write buffer over a `StateTree`.

    Records are decoded once, kept as objects, and encoded once at the end. Raw entries (hashes, inputs,
    answers, index keys) are plain bytes.
    """

    __slots__ = ("_base", "_ordered", "_read", "_written", "writes")

    def __init__(self, base: StateTree) -> None:
        self._base = base
        self._read: dict[bytes, Any] = {}
        self._written: dict[bytes, Any] = {}
        self._ordered: list[bytes] = []
        """Keys of `_written`, ascending: a walk looks at those with its prefix and at no others."""
        self.writes = 0
        """Counts puts and deletes: a refused transaction must leave it unchanged."""

    def find(self, kind: type[_T], key: bytes) -> _T | None:
        """The record under a key, or None."""
        if key in self._written:
            return cast("_T | None", self._written[key])
        if key not in self._read:
            raw = self._base.get(key)
            self._read[key] = None if raw is None else decode(kind, raw, limit=_RECORD_LIMIT)
        return cast("_T | None", self._read[key])

    def get(self, kind: type[_T], key: bytes) -> _T:
        """The record under a key that must be there."""
        record = self.find(kind, key)
        assert record is not None, f"the state lacks {kind.__name__} {key.hex()}"
        return record

    def find_raw(self, key: bytes) -> bytes | None:
        """The bytes under a key, or None."""
        if key in self._written:
            return cast("bytes | None", self._written[key])
        return self._base.get(key)

    def get_raw(self, key: bytes) -> bytes:
        """The bytes under a key that must be there."""
        raw = self.find_raw(key)
        assert raw is not None, f"the state lacks {key.hex()}"
        return raw

    def put(self, key: bytes, value: object) -> None:
        """Write a record or bytes."""
        self._write(key, value)

    def delete(self, key: bytes) -> None:
        """Remove an entry, which need not be there."""
        self._write(key, None)

    def keys(self, prefix: bytes) -> Iterator[bytes]:
        """Keys with a prefix, ascending, as they are when the walk begins."""
        written = self._written_under(prefix)
        touched = set(written)
        added = [key for key in written if self._written[key] is not None]
        old = (key for key in self._base.keys(prefix) if key not in touched)
        return heapq.merge(old, added)

    def changes(self) -> dict[bytes, bytes | None]:
        """What was written, encoded; None for what was deleted."""
        return {
            key: value if value is None or isinstance(value, bytes) else encode(value)
            for key, value in self._written.items()
        }

    def _write(self, key: bytes, value: object) -> None:
        self.writes += 1
        if key not in self._written:
            insort(self._ordered, key)
        self._written[key] = value

    def _written_under(self, prefix: bytes) -> list[bytes]:
        """Keys with a prefix that were written or deleted, ascending."""
        low = high = bisect_left(self._ordered, prefix)
        while high < len(self._ordered) and self._ordered[high].startswith(prefix):
            high += 1
        return self._ordered[low:high]
