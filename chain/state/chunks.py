"""A state in pieces, each checked on its own against a digest that was checked before it.

A piece is asked for by the nibbles that lead to it. What comes is the whole subtree there if it is small, or
else the one node, whose digests say what to ask for next:

```
 root ─► branch: 16 digests ─► ... ─► entries of a subtree
                                └───► records of a bucket too large to send at once ─► its entries, one by one
```

So whoever holds a state root finds the first wrong byte in the very piece that brought it, and knows who sent
it. What is here already, at whatever place, is not asked for again.
"""

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

from chain.codec import AtMost, Exactly
from chain.state.node import (
    BUCKET_CAPACITY,
    EMPTY_BUCKET,
    FANOUT,
    HASH_BYTES,
    MAX_LEVELS,
    RECORD_BYTES,
    Bucket,
    Node,
    branch_digest,
    bucket_digest,
    nibble,
    path_of,
    root_digest,
    value_digest,
)
from chain.state.proof import MAX_KEY_BYTES, MAX_VALUE_BYTES
from chain.state.tree import StateTree, node_of

MAX_CHUNK_ENTRIES: Final = 4096
CHUNK_BYTES: Final = 1 << 18
"""Bytes of keys and values in one piece, unless one entry alone is larger."""

Place = Annotated[bytes, AtMost(MAX_LEVELS)]
"""Nibbles from the root, one a byte; all 64 of them name one entry."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the state."""

    key: Annotated[bytes, AtMost(MAX_KEY_BYTES)]
    value: Annotated[bytes, AtMost(MAX_VALUE_BYTES)]


@dataclass(frozen=True, slots=True)
class Entries:
    """All of a subtree."""

    TAG: ClassVar[int] = 1
    entries: Annotated[tuple[Entry, ...], AtMost(MAX_CHUNK_ENTRIES)]


@dataclass(frozen=True, slots=True)
class Inner:
    """The digests of a branch's children."""

    TAG: ClassVar[int] = 2
    digests: Annotated[bytes, Exactly(FANOUT * HASH_BYTES)]


@dataclass(frozen=True, slots=True)
class Records:
    """Paths and value hashes of a bucket whose values are too large for one piece."""

    TAG: ClassVar[int] = 3
    records: Annotated[bytes, AtMost(BUCKET_CAPACITY * RECORD_BYTES)]


Piece = Entries | Inner | Records


class ChunkFault(enum.Enum):
    """Why a piece was refused; honest nodes send none of these."""

    WRONG_DIGEST = "wrong_digest"
    WRONG_PLACE = "wrong_place"
    MALFORMED = "malformed"


class ChunkError(Exception):
    """A piece that is not what its place holds."""

    def __init__(self, reason: ChunkFault, message: str) -> None:
        super().__init__(f"{reason.value}: {message}")
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Wanted:
    """A place, and the digest that what is there must have."""

    place: bytes
    digest: bytes
    """Of the node; of the value at a full path; the state root at the top."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What a good piece says."""

    changes: dict[bytes, bytes | None]
    """What makes the state here agree with it, as far as it goes."""
    wanted: tuple[Wanted, ...]
    """What to ask for next: only what is not here already."""


def make_piece(tree: StateTree, place: bytes) -> Piece | None:
    """What a state holds at a place; None if it holds nothing of that name."""
    if len(place) == MAX_LEVELS:
        entry = next(iter(_entries(tree.subtree(place))), None)
        return None if entry is None else Entries((entry,))
    node = tree.subtree(place)
    if node.size <= MAX_CHUNK_ENTRIES:
        entries: list[Entry] = []
        size = 0
        for entry in _entries(node):
            size += len(entry.key) + len(entry.value)
            if size > CHUNK_BYTES:
                break
            entries.append(entry)
        else:
            return Entries(tuple(entries))
    return Records(node.records) if isinstance(node, Bucket) else Inner(node.digests)


def check_piece(piece: Piece, wanted: Wanted, here: StateTree) -> Checked:
    """Check a piece, and compare it with the state that is here.

    Raises:
        ChunkError: WRONG_DIGEST, WRONG_PLACE or MALFORMED.
    """
    match piece:
        case Entries(entries) if len(wanted.place) == MAX_LEVELS:
            return _check_value(entries, wanted)
        case Entries(entries):
            return _check_entries(entries, wanted, here)
        case Inner(digests):
            _compare(branch_digest(digests), wanted)
            below = [
                Wanted(wanted.place + bytes([way]), digests[way * HASH_BYTES : (way + 1) * HASH_BYTES])
                for way in range(FANOUT)
            ]
            return _differing(below, here)
        case Records(records):
            return _check_records(records, wanted, here)


def missing(root: bytes, here: StateTree) -> tuple[Wanted, ...]:
    """What to ask for first to turn the state that is here into the one with a root."""
    return () if here.root == root else (Wanted(b"", root),)


def _check_value(entries: tuple[Entry, ...], wanted: Wanted) -> Checked:
    if len(entries) != 1:
        raise ChunkError(ChunkFault.MALFORMED, f"{len(entries)} entries for one full path")
    [entry] = entries
    _check_inside(path_of(entry.key), wanted.place)
    _compare(value_digest(entry.value), wanted)
    return Checked({entry.key: entry.value}, ())


def _check_entries(entries: tuple[Entry, ...], wanted: Wanted, here: StateTree) -> Checked:
    values = {entry.key: entry.value for entry in entries}
    if len(values) != len(entries) or b"" in values:
        raise ChunkError(ChunkFault.MALFORMED, "an empty key, or one key twice")
    for key in values:
        _check_inside(path_of(key), wanted.place)
    _compare(node_of(values, level=len(wanted.place)).digest, wanted)
    changes: dict[bytes, bytes | None] = dict.fromkeys(
        entry.key for entry in _entries(here.subtree(wanted.place))
    )
    changes.update(values)
    return Checked(changes, ())


def _check_records(records: bytes, wanted: Wanted, here: StateTree) -> Checked:
    if len(records) % RECORD_BYTES:
        raise ChunkError(ChunkFault.MALFORMED, f"{len(records)} bytes of records")
    _compare(bucket_digest(records), wanted)
    wants: list[Wanted] = []
    for offset in range(0, len(records), RECORD_BYTES):
        path = records[offset : offset + HASH_BYTES]
        place = bytes([nibble(path, level) for level in range(MAX_LEVELS)])
        wants.append(Wanted(place, records[offset + HASH_BYTES : offset + RECORD_BYTES]))
    kept = {want.place: want.digest for want in wants}
    changes: dict[bytes, bytes | None] = {}
    for entry in _entries(here.subtree(wanted.place)):
        path = path_of(entry.key)
        place = bytes([nibble(path, level) for level in range(MAX_LEVELS)])
        if place not in kept:
            changes[entry.key] = None
        elif kept[place] == value_digest(entry.value):
            del kept[place]
    return Checked(changes, tuple(want for want in wants if want.place in kept))


def _differing(below: list[Wanted], here: StateTree) -> Checked:
    """Leave out what is here, and empty what must be."""
    changes: dict[bytes, bytes | None] = {}
    wants: list[Wanted] = []
    for want in below:
        node = here.subtree(want.place)
        if node.digest == want.digest:
            continue
        if want.digest == EMPTY_BUCKET.digest:
            changes |= dict.fromkeys(entry.key for entry in _entries(node))
        else:
            wants.append(want)
    return Checked(changes, tuple(wants))


def _check_inside(path: bytes, place: bytes) -> None:
    for level, way in enumerate(place):
        if nibble(path, level) != way:
            raise ChunkError(ChunkFault.WRONG_PLACE, f"path {path.hex()} is not below {place.hex()}")


def _compare(digest: bytes, wanted: Wanted) -> None:
    found = digest if wanted.place else root_digest(digest)
    if found != wanted.digest:
        raise ChunkError(
            ChunkFault.WRONG_DIGEST,
            f"place {wanted.place.hex() or 'root'} has {found.hex()}, expected {wanted.digest.hex()}",
        )


def _entries(node: Node) -> Iterator[Entry]:
    """Entries of a subtree, ascending by path."""
    if isinstance(node, Bucket):
        yield from map(Entry, node.keys, node.values)
        return
    for child in node.children:
        yield from _entries(child)
