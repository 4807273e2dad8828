"""The bytes of the signing log: records that show by themselves whether they are whole.

    record = magic(4) kind(1) epoch(8) view(8) digest(32) length(4) check(8)  payload(length)  check(8)

Both checks are truncated SHA-256, the first over the fixed part, the second over everything before it. So a
record whose payload was torn off by a power cut still tells which statement it was for.
"""

import hashlib
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

_FIXED: Final = struct.Struct("<4sBQQ32sI")
_MAGIC: Final = b"HSG1"
_CHECK: Final = 8
_HEAD: Final = _FIXED.size + _CHECK

RECORD_BYTES: Final = _HEAD + _CHECK
"""Of a record, beside its payload."""

MAX_PAYLOAD: Final = 1 << 24
"""More than any proposal; a longer length is damage."""


class RecordKind(IntEnum):
    """What a record says; 0 to 3 are `consensus.messages.Kind`."""

    PROPOSE = 0
    NOTARIZE = 1
    NULLIFY = 2
    FINALIZE = 3
    OWNER = 16
    """First record: whose log this is."""
    WATERMARK = 17
    """Nothing may be signed below ``view`` of ``epoch``: it is over, or was signed elsewhere."""
    LOST = 18
    """A record with this statement was torn: the payload's byte is its kind."""
    BURNT = 19
    """A torn record told no view: nothing is proposed, notarized or finalized up to ``view``."""
    PLACE = 20
    """The digest names the machine and file where the key was last let sign; see `consensus.watch`."""


@dataclass(frozen=True, slots=True)
class Record:
    """One line of the log."""

    kind: RecordKind
    epoch: int
    view: int
    digest: bytes
    payload: bytes


@dataclass(frozen=True, slots=True)
class Torn:
    """What is left of a record that a power cut interrupted."""

    head: Record | None
    """Its fixed part with an empty payload, if that much is whole."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A log as read."""

    records: tuple[Record, ...]
    torn: Torn | None
    damage: int | None
    """Offset of a bad record that is not the last one: no power cut does that."""


def write_record(record: Record) -> bytes:
    """The bytes to append."""
    fixed = _FIXED.pack(_MAGIC, record.kind, record.epoch, record.view, record.digest, len(record.payload))
    head = fixed + _check(fixed)
    return head + record.payload + _check(head + record.payload)


def read_log(data: bytes) -> Reading:
    """Read all whole records, and judge what is behind them."""
    records: list[Record] = []
    offset = 0
    while offset < len(data):
        head = _read_head(data, offset)
        end = None if head is None else offset + _HEAD + head[1] + _CHECK
        if head is not None and end is not None and end <= len(data) and _is_whole(data, offset, end):
            kept = head[0]
            payload = data[offset + _HEAD : end - _CHECK]
            records.append(Record(kept.kind, kept.epoch, kept.view, kept.digest, payload))
            offset = end
            continue
        damaged = (end is not None and end < len(data)) or _holds_record(data, offset + 1)
        torn = None if damaged else Torn(None if head is None else head[0])
        return Reading(tuple(records), torn, offset if damaged else None)
    return Reading(tuple(records), None, None)


def _read_head(data: bytes, offset: int) -> tuple[Record, int] | None:
    head = data[offset : offset + _HEAD]
    if len(head) < _HEAD or _check(head[: _FIXED.size]) != head[_FIXED.size :]:
        return None
    magic, kind, epoch, view, digest, length = _FIXED.unpack_from(head)
    if magic != _MAGIC or kind not in RecordKind.__members__.values() or length > MAX_PAYLOAD:
        return None
    return Record(RecordKind(kind), epoch, view, digest, b""), length


def _is_whole(data: bytes, offset: int, end: int) -> bool:
    return _check(data[offset : end - _CHECK]) == data[end - _CHECK : end]


def _holds_record(data: bytes, offset: int) -> bool:
    """Whether a whole head follows anywhere: then the damage before it is no torn tail."""
    while (offset := data.find(_MAGIC, offset)) >= 0:
        if _read_head(data, offset) is not None:
            return True
        offset += 1
    return False


def _check(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()[:_CHECK]
