"""The state while a block executes: typed reads and writes over an immutable tree that stays as it was."""

import heapq
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

    __slots__ = ("_base", "_read", "_written", "writes")

    def __init__(self, base: StateTree) -> None:
        self._base = base
        self._read: dict[bytes, Any] = {}
        self._written: dict[bytes, Any] = {}
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
        self.writes += 1
        self._written[key] = value

    def delete(self, key: bytes) -> None:
        """Remove an entry, which need not be there."""
        self.writes += 1
        self._written[key] = None

    def keys(self, prefix: bytes) -> Iterator[bytes]:
        """Keys with a prefix, ascending, as they are when the walk begins."""
        written = {key: value is not None for key, value in self._written.items() if key.startswith(prefix)}
        added = sorted(key for key, there in written.items() if there)
        old = (key for key in self._base.keys(prefix) if key not in written)
        return heapq.merge(old, added)

    def changes(self) -> dict[bytes, bytes | None]:
        """What was written, encoded; None for what was deleted."""
        return {
            key: value if value is None or isinstance(value, bytes) else encode(value)
            for key, value in self._written.items()
        }
