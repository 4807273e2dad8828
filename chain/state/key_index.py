"""A sorted set of keys that never changes: every edit gives a new set that shares all untouched parts.

The Merkle tree orders entries by the hash of their key, so it cannot walk a prefix. This index can. It is a
tuple of chunks of up to 256 sorted keys: an edit copies the chunks it touches and the tuple of chunks, which
at a million keys are some 6,000 pointers (30 microseconds, once a batch). Only insertions and deletions edit
it; a new value for an old key does not.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Final, Self

CHUNK_KEYS: Final = 256
"""Most keys in one chunk. Smaller chunks make insertions cheaper and every batch dearer; no root depends on
it."""


@dataclass(frozen=True, slots=True)
class KeyIndex:
    """An immutable sorted set of byte strings."""

    _chunks: tuple[tuple[bytes, ...], ...] = ()
    """Never an empty chunk; each chunk sorted and wholly below the next."""

    _firsts: tuple[bytes, ...] = ()
    """The first key of each chunk."""

    def edited(self, added: Sequence[bytes], removed: Sequence[bytes]) -> Self:
        """Return the set with some keys put in and some taken out.

        Args:
            added: Keys that are not in the set.
            removed: Keys that are in the set.
        """
        if not added and not removed:
            return self
        if not self._chunks:
            return self._of(_chunked(sorted(added)))
        edits: dict[int, list[bytes]] = {}
        drops: dict[int, set[bytes]] = {}
        for key in added:
            edits.setdefault(self._chunk_of(key), []).append(key)
        for key in removed:
            drops.setdefault(self._chunk_of(key), set()).add(key)
        chunks: list[tuple[bytes, ...]] = []
        done = 0
        for number in sorted(edits.keys() | drops.keys()):
            chunks.extend(self._chunks[done:number])
            keys: list[bytes] = list(self._chunks[number])
            if number in drops:
                keys = [key for key in keys if key not in drops[number]]
            if number in edits:
                keys.extend(edits[number])
                keys.sort()
            chunks.extend(_chunked(keys))
            done = number + 1
        chunks.extend(self._chunks[done:])
        return self._of(chunks)

    def walk(self, prefix: bytes, start: bytes | None = None) -> Iterator[bytes]:
        """Yield the keys with a prefix in ascending order, from `start` on where it is given."""
        first = prefix if start is None or start < prefix else start
        number = self._chunk_of(first)
        if number >= len(self._chunks):
            return
        offset = bisect_left(self._chunks[number], first)
        head = islice(self._chunks[number], offset, None)
        for key in chain(head, chain.from_iterable(islice(self._chunks, number + 1, None))):
            if not key.startswith(prefix):
                return
            yield key

    def _chunk_of(self, key: bytes) -> int:
        """The chunk that holds the key, or would hold it."""
        return max(0, bisect_right(self._firsts, key) - 1)

    @classmethod
    def _of(cls, chunks: Sequence[tuple[bytes, ...]]) -> Self:
        return cls(tuple(chunks), tuple(chunk[0] for chunk in chunks))


def _chunked(keys: list[bytes]) -> list[tuple[bytes, ...]]:
    """Cut sorted keys into chunks with room to grow, so that the next insertion does not split one again."""
    if len(keys) <= CHUNK_KEYS:
        return [tuple(keys)] if keys else []
    step = CHUNK_KEYS // 2
    return [tuple(keys[low : low + step]) for low in range(0, len(keys), step)]
