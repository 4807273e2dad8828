"""The keys and records of the chain's database: one letter of namespace, then parts of fixed width.

```
m                    Meta          what the database is, and where the chain in it begins and ends
h height             Header        genesis, every kept block, and the last block of every epoch for ever
b height             Body          transactions of every kept block
o height             BlockOutcome  what became of them
c height             Sealed        a finalization of exactly this height
d digest             height        final blocks by digest
t transaction        Place         final transactions
e length subject h n Event         the story of every subject
p consensus key      Proposed      a proposer's fees in one line: an event a block would bury its story
s generation key     bytes         entries of the state of exactly the head
u height             Undo          what the block overwrote in the state, for the newest blocks
k epoch              Committee     of every epoch
j ...                bytes         the journal of consensus
z epoch              EpochEnd      proven ends of epochs while a state sync is under way
```

Heights and epochs are 8 bytes, big-endian: keys sort as numbers do.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final, TypeVar

from chain.codec import U8, U16, U64, AtMost, Hash32, decode
from chain.database.interface import CorruptionError, Database
from chain.msgpack_reader import DecodeError
from chain.state.proof import MAX_KEY_BYTES, MAX_VALUE_BYTES
from chain.types.block import MAX_TRANSACTIONS, Header
from chain.types.committee import Committee
from chain.types.transaction import SignedTransaction

FORMAT: Final = 2
"""Layout of the keys above; a database of another layout is refused, never guessed at."""

META: Final = b"m"
HEADER: Final = b"h"
BODY: Final = b"b"
OUTCOME: Final = b"o"
CERTIFICATE: Final = b"c"
HEIGHT_OF_BLOCK: Final = b"d"
PLACE_OF_TRANSACTION: Final = b"t"
EVENT: Final = b"e"
PROPOSED: Final = b"p"
STATE: Final = b"s"
UNDO: Final = b"u"
COMMITTEE: Final = b"k"
JOURNAL: Final = b"j"
STAGED_EPOCH: Final = b"z"

MAX_CERTIFICATE_BYTES: Final = 1 << 22
_MAX_RECORD: Final = 1 << 28
"""An undo holds as much as a block can write."""

_T = TypeVar("_T")

Changes = list[tuple[bytes, bytes | None]]
"""Entries to write, and to delete (None), in one batch."""


@dataclass(frozen=True, slots=True)
class Meta:
    """What the database is, and where the chain in it begins and ends."""

    format: U16
    genesis: Hash32
    head: U64
    first: U64
    """Least height, from 1 on, whose body and outcome are here; the head's successor if there is none yet."""
    generation: U8
    """Namespace of the state; a state that is on its way in has the other one."""


@dataclass(frozen=True, slots=True)
class Body:
    """A block without its header."""

    transactions: Annotated[tuple[SignedTransaction, ...], AtMost(MAX_TRANSACTIONS)]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a transaction is."""

    height: U64
    index: U16


@dataclass(frozen=True, slots=True)
class Sealed:
    """A certificate, in the words of consensus."""

    encoded: Annotated[bytes, AtMost(MAX_CERTIFICATE_BYTES)]


@dataclass(frozen=True, slots=True)
class Proposed:
    """Blocks of one proposer in which fees were burned, as far as this node has seen them."""

    first: U64
    """Height of the first of them."""
    blocks: U64
    burned: U64


@dataclass(frozen=True, slots=True)
class Old:
    """What an entry of the state was before a block."""

    key: Annotated[bytes, AtMost(MAX_KEY_BYTES)]
    value: Annotated[tuple[Annotated[bytes, AtMost(MAX_VALUE_BYTES)], ...], AtMost(1)]
    """Empty if there was none."""


@dataclass(frozen=True, slots=True)
class Undo:
    """Everything that takes the state of a block back to its parent's."""

    entries: Annotated[tuple[Old, ...], AtMost(1 << 24)]

    @property
    def changes(self) -> Mapping[bytes, bytes | None]:
        """For `StateTree.updated`."""
        return {old.key: old.value[0] if old.value else None for old in self.entries}


@dataclass(frozen=True, slots=True)
class EpochEnd:
    """The last header of an epoch, what finalized it, and the committee that it put in place."""

    header: Header
    certificate: Annotated[bytes, AtMost(MAX_CERTIFICATE_BYTES)]
    next_committee: Committee


def number(height: int) -> bytes:
    """Eight bytes that sort as the number does."""
    return height.to_bytes(8, "big")


def state_prefix(generation: int) -> bytes:
    """Namespace of a generation of the state."""
    return STATE + bytes([generation])


def subject_prefix(subject: bytes) -> bytes:
    """All events that name a subject; the length keeps one subject from being the prefix of another."""
    return EVENT + bytes([len(subject)]) + subject


def required(database: Database, key: bytes) -> bytes:
    """The value under a key that must be there.

    Raises:
        CorruptionError: It is not.
    """
    value = database.get(key)
    if value is None:
        raise CorruptionError(f"the record {key!r} is missing")
    return value


def stored(kind: type[_T], raw: bytes) -> _T:
    """A record as it was written.

    Raises:
        CorruptionError: It does not read back.
    """
    try:
        return decode(kind, raw, limit=_MAX_RECORD)
    except DecodeError as error:
        raise CorruptionError(f"a stored {kind.__name__} does not read back: {error}") from error


def found(kind: type[_T], database: Database, key: bytes) -> _T | None:
    """The record under a key, or None.

    Raises:
        CorruptionError: It does not read back.
    """
    raw = database.get(key)
    return None if raw is None else stored(kind, raw)
