"""A table in which no group can take more than a bounded share, and nobody knows where an entry lies.

Heilman et al., "Eclipse Attacks on Bitcoin's Peer-to-Peer Network" (USENIX Security 2015), section 3 and
countermeasures 2 and 6: an entry's group and a secret choose `SHARE` of the buckets, the entry itself one of
these. A full bucket makes room within the group that has most in it; so a flood pushes out itself.

Memory bound: `BUCKETS` * `BUCKET_SIZE` entries.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final, Generic, TypeVar

BUCKETS: Final = 64
BUCKET_SIZE: Final = 16
SHARE: Final = 4
"""Buckets that the entries of one group can get into: at most 64 of 1024 entries, a sixteenth."""

SECRET_SIZE: Final = 32

Key = TypeVar("Key", bound=tuple[str, ...])


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a peer listens, as far as one of the tables knows.

    Attributes:
        addresses: Multiaddrs, the likeliest first.
        group: Whose share it counts against.
        at: When that was last learned, seconds since 1970.
    """

    addresses: tuple[str, ...]
    group: str
    at: int


class BucketTable(Generic[Key]):
    """Entries by key, spread over buckets."""

    def __init__(self, secret: bytes, name: str) -> None:
        self._secret = secret
        self._name = name
        self._entries: dict[Key, Entry] = {}
        self._places: dict[Key, int] = {}
        self._buckets: list[dict[Key, None]] = [{} for _ in range(BUCKETS)]

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Key]:
        return iter(self._entries)

    def get(self, key: Key) -> Entry | None:
        """The entry under `key`."""
        return self._entries.get(key)

    def put(self, key: Key, entry: Entry) -> tuple[Key, ...]:
        """Enter or replace.

        Returns:
            What had to go for it: perhaps `key` itself, if its group has most in the bucket and it is the
            oldest of them.
        """
        self.drop(key)
        place = self._places[key] = self._place_for(key, entry.group)
        bucket = self._buckets[place]
        bucket[key] = None
        self._entries[key] = entry
        if len(bucket) <= BUCKET_SIZE:
            return ()
        loser = self._loser(bucket)
        self.drop(loser)
        return (loser,)

    def drop(self, key: Key) -> bool:
        """Remove an entry; whether there was one."""
        if self._entries.pop(key, None) is None:
            return False
        del self._buckets[self._places.pop(key)][key]
        return True

    def bucket_of(self, key: Key) -> int:
        """In which bucket the entry under `key` lies."""
        return self._places[key]

    def _place_for(self, key: Key, group: str) -> int:
        """Where an entry belongs; only who knows the secret can tell."""
        one_of_share = self._hash("share", *key) % SHARE
        return self._hash("bucket", group, str(one_of_share)) % BUCKETS

    def _loser(self, bucket: dict[Key, None]) -> Key:
        """The oldest entry of the group that has most in `bucket`, or of those that have equally many."""
        counts = Counter(self._entries[key].group for key in bucket)
        return min(bucket, key=lambda key: (-counts[self._entries[key].group], self._entries[key].at))

    def _hash(self, *parts: str) -> int:
        data = "\0".join((self._name, *parts)).encode()
        return int.from_bytes(blake2b(data, key=self._secret, digest_size=8).digest(), "big")
