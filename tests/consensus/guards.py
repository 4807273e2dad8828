"""Signing guards of one key, made, opened again and given marks, for tests."""

import pytest

from chain.types.statement import NOTHING, Kind, Statement
from consensus.signing.disk import FileDisk
from consensus.signing.guard_transfer import (
    Marks,
    import_marks,
)
from consensus.signing.signer import Signer
from consensus.signing.signing_guard import GuardError, GuardReason, SigningGuard, create_log, open_log
from tests.consensus.fakes import CHAIN_ID, SimDisk, TagKey

KEY = TagKey(1)
A, B = bytes([1]) * 32, bytes([2]) * 32


def fresh(disk: SimDisk | FileDisk) -> SigningGuard:
    return create_log(disk, chain_id=CHAIN_ID, public_key=KEY.public_key)


def reopened(disk: SimDisk) -> SigningGuard:
    disk.locked = False
    return open_log(disk, chain_id=CHAIN_ID, public_key=KEY.public_key)


def signer(guard: SigningGuard) -> Signer:
    return Signer(KEY, guard, chain_id=CHAIN_ID, prove=lambda _: bytes(80))


def says(kind: Kind, view: int = 0, digest: bytes = A, epoch: int = 0) -> Statement:
    return Statement(kind, epoch, view, NOTHING if kind is Kind.NULLIFY else digest)


def reason_of(call) -> GuardReason:
    with pytest.raises(GuardError) as caught:
        call()
    return caught.value.reason


def taken_in(disk: SimDisk, marks: Marks) -> SigningGuard:
    return import_marks(disk, marks, chain_id=CHAIN_ID, public_key=KEY.public_key)
