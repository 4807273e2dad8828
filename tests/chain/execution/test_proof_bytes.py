"""Proof bytes from hostile hands: a reason from the ledger's list, whatever they are, and bounded memory."""

import random
import tracemalloc
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.codec import decode_fields, encode_fields
from chain.execution.block import execute_block
from chain.execution.proofs import REASON_OF_PROOF
from chain.msgpack_reader import DecodeError
from chain.reasons import Reason
from chain.types.transaction import ProveWork
from pouw.proofs.proof import OpenedItem, OpenedRows, Proof, ProofError, ProofReason
from tests.chain.execution.world import MODELS, PARAMS, World


class Case:
    """A commit of two tasks and some commons units that waits for its proof, and the honest one."""

    def __init__(self) -> None:
        self.world = World()
        self.world.register("alice")
        tasks = [self.world.submit("bob", rows=3), self.world.submit("bob", rows=5, salt=1)]
        self.world.block()
        work = self.world.work("alice", units=9, tasks=tasks)
        self.commit_id = self.world.commit(work)
        at = self.world.height
        self.world.until(at + PARAMS.beacon_delay)
        self.proof = work.proof(self.world.draw_of(at), samples=PARAMS.samples)

    def verdict(self, proof: bytes) -> Reason:
        """What a block with this proof says; the state stays as it was."""
        signed = self.world.sign("alice", ProveWork(self.commit_id, proof))
        execution = execute_block(
            self.world.state, self.world.context(), [signed], params=PARAMS, models=MODELS,
            is_authentic=lambda _: True,
        )  # fmt: skip
        return execution.outcome.receipts[0].reason


CASE = Case()
GUILTY = frozenset(REASON_OF_PROOF.values())


def test_every_way_to_fail_has_a_code():
    assert set(REASON_OF_PROOF) == set(ProofReason)
    assert len(GUILTY) == len(ProofReason)
    for proof_reason, reason in REASON_OF_PROOF.items():
        assert (reason.value, reason.name) == (1000 + proof_reason, f"PROOF_{proof_reason.name}")


def test_the_honest_proof_holds():
    assert CASE.verdict(CASE.proof) is Reason.OK


@settings(max_examples=150)
@given(st.data())
def test_changed_bytes_convict(data: st.DataObject):
    raw = bytearray(CASE.proof)
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    expected = {Reason.OK} if bytes(raw) == CASE.proof else GUILTY
    assert CASE.verdict(bytes(raw)) in expected


@settings(max_examples=100)
@given(st.binary(max_size=300))
def test_any_bytes_convict(data: bytes):
    assert CASE.verdict(data) in GUILTY


def mutated(fields, chance: random.Random):
    """One node somewhere in the lists, replaced, doubled, dropped, emptied, swapped or shifted."""
    if not isinstance(fields, list) or not fields or chance.random() < 0.15:
        return replacement(fields, chance)
    copy = list(fields)
    at = chance.randrange(len(copy))
    action = chance.randrange(8)
    if action == 0:
        del copy[at]
    elif action == 1:
        copy.insert(at, copy[chance.randrange(len(copy))])
    elif action == 2:
        other = chance.randrange(len(copy))
        copy[at], copy[other] = copy[other], copy[at]
    else:
        copy[at] = mutated(copy[at], chance)
    return copy


def replacement(value, chance: random.Random):
    numbers = [0, 1, 2, 3, 255, 65_536, (1 << 31) - 1, 1 << 31, (1 << 63) - 1, 1 << 63, (1 << 64) - 1]
    if isinstance(value, int):
        return chance.choice([min(value + 1, (1 << 64) - 1), max(0, value - 1), *numbers, b"", []])
    if isinstance(value, bytes):
        cut = chance.randrange(len(value) + 1)
        return chance.choice(
            [
                b"",
                value[:cut],
                value + bytes(chance.choice([1, 32])),
                value[32:],
                bytes(len(value)),
                value[::-1],
                7,
                [],
            ]
        )
    return chance.choice([[], 0, b"", [[]], [value]])


@pytest.mark.parametrize("seed", range(8))
def test_changed_structure_convicts(seed: int):
    chance = random.Random(seed)
    honest = decode_fields(CASE.proof, limit=1 << 20)
    for _ in range(40):
        fields = honest
        for _ in range(chance.choice([1, 1, 2, 4])):
            fields = mutated(fields, chance)
        if fields != honest:
            encoded = encode_fields(fields)
            assert CASE.verdict(encoded) in GUILTY, (seed, encoded.hex())


def test_a_proof_has_one_form():
    """Every byte matters: no second proof of the same commit is as good as the first."""
    for at in range(0, len(CASE.proof), 7):
        raw = bytearray(CASE.proof)
        raw[at] ^= 1
        assert CASE.verdict(bytes(raw)) in GUILTY, at


def stuffed(**changes) -> bytes:
    """A well-formed proof with as many tiny parts of a kind as fit."""
    honest = Proof.from_fields(decode_fields(CASE.proof, limit=1 << 20))
    return encode_fields(replace(honest, **changes).to_fields())


ROWS = OpenedRows(b"", b"", b"", b"")
ITEM = OpenedItem(300, b"", b"", b"", ROWS)


@pytest.mark.parametrize(
    "raw",
    [
        CASE.proof,
        stuffed(sum_units=(300,) * 18_000),
        stuffed(weights=replace(ROWS, widths=bytes(60_000))),
        stuffed(items=(ITEM,) * 6_000),
        stuffed(items=(replace(ITEM, opened=replace(ROWS, rows=bytes(60_000))),)),
        stuffed(sum_hashes=bytes(60_000)),
    ],
    ids=["honest", "sums", "weights", "items", "rows", "hashes"],
)
def test_reading_a_proof_costs_at_most_eight_times_its_bytes(raw: bytes):
    def read() -> None:
        try:
            Proof.from_fields(decode_fields(raw, limit=1 << 20), max_bytes=1 << 20)
        except (DecodeError, ProofError):
            return

    read()
    tracemalloc.start()
    read()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak <= 8 * len(raw) + 8_192, f"{peak / len(raw):.1f} times"
