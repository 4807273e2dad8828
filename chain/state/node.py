"""The nodes of the state tree and the four hashes that bind them.

``` path   = H(0x00, key)                                where the entry sits: sixteen ways at each level, 4
bits each value  = H(0x01, value) bucket = H(0x02, path_1, value_1, path_2, ...)       up to 16 entries,
ascending by path branch = H(0x03, child_0, ..., child_15)             more than 16 entries below root   =
H("headrace/state-root/1", top) ```

H is SHA-256: below 2 KiB it is the fastest hash at hand. The first byte keeps the kinds apart, so that no
bucket can be passed off as a branch; the tag of the root keeps a state root apart from every other hash of
the protocol.
"""

from hashlib import sha256
from typing import Final, NamedTuple

BUCKET_CAPACITY: Final = 16
"""Most entries in a bucket. Part of the root's definition."""

FANOUT: Final = 16
HASH_BYTES: Final = 32
RECORD_BYTES: Final = 2 * HASH_BYTES
"""One entry in a bucket: its path and the hash of its value."""

MAX_LEVELS: Final = 2 * HASH_BYTES
"""A path has 64 nibbles; two keys that share all of them would be a collision of SHA-256."""

_ROOT_TAG: Final = b"headrace/state-root/1"


class Bucket(NamedTuple):
    """A leaf: all entries whose paths begin with the nibbles that lead here."""

    digest: bytes
    size: int
    """Entries here."""
    records: bytes
    """`path || value hash` per entry, ascending by path, 64 bytes each."""
    keys: tuple[bytes, ...]
    values: tuple[bytes, ...]


class Branch(NamedTuple):
    """An inner node over sixteen children, with more than `BUCKET_CAPACITY` entries below it."""

    digest: bytes
    size: int
    """Entries below."""
    digests: bytes
    """The sixteen children's digests in one string of 512 bytes."""
    children: tuple["Bucket | Branch", ...]


Node = Bucket | Branch


def path_of(key: bytes) -> bytes:
    """Hash a key to its place in the tree."""
    return sha256(b"\x00" + key).digest()


def value_digest(value: bytes) -> bytes:
    """Hash a value."""
    return sha256(b"\x01" + value).digest()


def bucket_digest(records: bytes) -> bytes:
    """Hash the records of a bucket."""
    return sha256(b"\x02" + records).digest()


def branch_digest(digests: bytes) -> bytes:
    """Hash the sixteen digests under a branch."""
    return sha256(b"\x03" + digests).digest()


def root_digest(top: bytes) -> bytes:
    """Turn the digest of the top node into the state root."""
    return sha256(_ROOT_TAG + top).digest()


def nibble(path: bytes, level: int) -> int:
    """Which of sixteen ways a path takes at a level, counted from the top at 0."""
    byte = path[level >> 1]
    return byte & 15 if level & 1 else byte >> 4


EMPTY_BUCKET: Final = Bucket(bucket_digest(b""), 0, b"", (), ())
