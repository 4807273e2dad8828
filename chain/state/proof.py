"""Proofs that the state holds a value under a key, or nothing.

A proof is the way from the root to the one bucket where the key must sit: the fifteen sibling digests of each
branch, then the bucket's records. Whoever trusts the root sees from the records whether the key is there.
"""

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from chain.codec import Fields
from chain.state.node import (
    BUCKET_CAPACITY,
    FANOUT,
    HASH_BYTES,
    MAX_LEVELS,
    RECORD_BYTES,
    branch_digest,
    bucket_digest,
    nibble,
    path_of,
    root_digest,
    value_digest,
)

MAX_KEY_BYTES: Final = 255
MAX_VALUE_BYTES: Final = 1 << 20
"""Longest value: 1 MiB, room for a task's input. What is larger stays outside, with its hash in the state."""

SIBLING_BYTES: Final = (FANOUT - 1) * HASH_BYTES


class StateProofReason(enum.Enum):
    """Why a state proof was refused."""

    MALFORMED = "malformed"
    """Not a list of fifteen-digest levels, whole records and at most one value, within their bounds."""
    UNSORTED_BUCKET = "unsorted_bucket"
    """The records are not strictly ascending by path."""
    VALUE_MISSING = "value_missing"
    """The bucket holds the key, but the proof brings no value."""
    VALUE_MISMATCH = "value_mismatch"
    """The value is not the one that the bucket binds to the key."""
    UNEXPECTED_VALUE = "unexpected_value"
    """The bucket lacks the key, but the proof brings a value."""
    ROOT_MISMATCH = "root_mismatch"
    """The path does not lead to the root."""


class StateProofError(Exception):
    """A state proof that does not hold."""

    def __init__(self, reason: StateProofReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class StateProof:
    """The path to a key's bucket, from the root down."""

    siblings: tuple[bytes, ...]
    """Per branch the fifteen digests beside the path, ascending, in one string of 480 bytes."""
    records: bytes
    """The bucket: path and value hash of up to sixteen entries, 64 bytes each."""
    value: bytes | None
    """The value under the key; None in a proof of absence."""

    def to_fields(self) -> Fields:
        """Return the proof as nested lists for the codec: [siblings, records, [] or [value]]."""
        return [list(self.siblings), self.records, [] if self.value is None else [self.value]]

    @classmethod
    def from_fields(cls, fields: object) -> Self:
        """Build a proof from what the codec read.

        Raises:
            StateProofError: MALFORMED.
        """
        siblings, records, values = _list(fields, "a proof", least=3, most=3)
        levels = [_bytes(level, "a level") for level in _list(siblings, "the path", most=MAX_LEVELS)]
        for level in levels:
            if len(level) != SIBLING_BYTES:
                raise _malformed(f"a level has {SIBLING_BYTES} bytes, got {len(level)}")
        bucket = _bytes(records, "the bucket")
        if len(bucket) % RECORD_BYTES or len(bucket) > BUCKET_CAPACITY * RECORD_BYTES:
            raise _malformed(f"a bucket has 0 to 16 records of {RECORD_BYTES} bytes, got {len(bucket)} bytes")
        found = [_bytes(value, "the value") for value in _list(values, "the value", most=1)]
        if found and len(found[0]) > MAX_VALUE_BYTES:
            raise _malformed(f"a value has at most {MAX_VALUE_BYTES} bytes, got {len(found[0])}")
        return cls(siblings=tuple(levels), records=bucket, value=found[0] if found else None)


def verify_proof(root: bytes, key: bytes, proof: StateProof) -> bytes | None:
    """Return the value that the state with this root holds under a key, or None if it provably holds none.

    Raises:
        StateProofError: MALFORMED, UNSORTED_BUCKET, VALUE_MISSING, VALUE_MISMATCH, UNEXPECTED_VALUE or
            ROOT_MISMATCH.
    """
    # A proof built by hand meets the same bounds as one that came over the wire.
    proof = StateProof.from_fields(proof.to_fields())
    path = path_of(key)
    _check_bucket(path, proof)
    digest = bucket_digest(proof.records)
    for level in range(len(proof.siblings) - 1, -1, -1):
        offset = nibble(path, level) * HASH_BYTES
        siblings = proof.siblings[level]
        digest = branch_digest(siblings[:offset] + digest + siblings[offset:])
    if root_digest(digest) != root:
        raise StateProofError(
            StateProofReason.ROOT_MISMATCH,
            f"the proof leads to root {root_digest(digest).hex()}, expected {root.hex()}",
        )
    return proof.value


def _check_bucket(path: bytes, proof: StateProof) -> None:
    """Check that the bucket agrees with the value, or with its absence."""
    bound: bytes | None = None
    previous = b""
    for offset in range(0, len(proof.records), RECORD_BYTES):
        entry = proof.records[offset : offset + HASH_BYTES]
        if entry <= previous:
            raise StateProofError(
                StateProofReason.UNSORTED_BUCKET, f"path {entry.hex()} follows {previous.hex()} in the bucket"
            )
        if entry == path:
            bound = proof.records[offset + HASH_BYTES : offset + RECORD_BYTES]
        previous = entry
    if bound is None:
        if proof.value is not None:
            raise StateProofError(
                StateProofReason.UNEXPECTED_VALUE,
                f"a value of {len(proof.value)} bytes for a key not in the bucket",
            )
        return
    if proof.value is None:
        raise StateProofError(
            StateProofReason.VALUE_MISSING, "the bucket holds the key, the proof brings no value"
        )
    if value_digest(proof.value) != bound:
        raise StateProofError(
            StateProofReason.VALUE_MISMATCH,
            f"the value hashes to {value_digest(proof.value).hex()}, the bucket binds {bound.hex()}",
        )


def _malformed(message: str) -> StateProofError:
    return StateProofError(StateProofReason.MALFORMED, message)


def _list(field: object, name: str, *, least: int = 0, most: int) -> Sequence[object]:
    if not isinstance(field, list) or not least <= len(field) <= most:
        size = f"{len(field)} fields" if isinstance(field, list) else type(field).__name__
        expected = f"{most}" if least == most else f"{least} to {most}"
        raise _malformed(f"{name} is a list of {expected} fields, got {size}")
    return field


def _bytes(field: object, name: str) -> bytes:
    if not isinstance(field, bytes):
        raise _malformed(f"{name} is a byte string, got {type(field).__name__}")
    return field
