"""Reading proofs that come from anywhere: a reason, never another exception, and no second form of any
proof."""

from collections.abc import Callable
from dataclasses import fields as dataclass_fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pouw.fields import FieldError, measure
from pouw.proofs.proof import MAX_PROOF_BYTES, Proof, ProofError, ProofReason
from pouw.proofs.verifier import check_proof
from tests.pouw.world import SEED, usual_case

msgpack = pytest.importorskip("msgpack", reason="sizes and round trips are compared with msgpack's")

CASE = usual_case()
PROOF = CASE.prove()
FIELDS = PROOF.to_fields()

leaves = st.one_of(
    st.integers(-(2**70), 2**70),
    st.binary(max_size=70),
    st.none(),
    st.booleans(),
    st.floats(),
    st.text(max_size=3),
)
anything = st.recursive(leaves, lambda inner: st.lists(inner, max_size=12) | st.tuples(inner), max_leaves=40)


def refused(fields: object, **limits: int) -> ProofError:
    with pytest.raises(ProofError) as caught:
        Proof.from_fields(fields, **limits)
    return caught.value


def test_round_trip() -> None:
    assert Proof.from_fields(FIELDS) == PROOF
    assert Proof.from_fields(msgpack.unpackb(msgpack.packb(FIELDS), use_list=False)) == PROOF
    assert len(dataclass_fields(Proof)) == len(FIELDS) - 1


def test_the_size_is_that_of_msgpack() -> None:
    assert measure(FIELDS, limit=MAX_PROOF_BYTES) == len(msgpack.packb(FIELDS))


numbers = st.integers(0, 2**64 - 1) | st.binary(max_size=300)
nested = st.recursive(numbers, lambda inner: st.lists(inner, max_size=20), max_leaves=60)


@given(nested.filter(lambda x: _depth(x) <= 4))
def test_any_size_is_that_of_msgpack(value: object) -> None:
    assert measure(value, limit=1 << 30) == len(msgpack.packb(value))


def _depth(value: object) -> int:
    return 1 + max(map(_depth, value), default=0) if isinstance(value, list) else 0


@given(anything)
def test_anything_else_is_malformed_or_oversize(value: object) -> None:
    assert refused(value).reason in {ProofReason.MALFORMED, ProofReason.OVERSIZE}


@given(st.lists(anything, min_size=9, max_size=9))
def test_nine_fields_of_anything(value: list[object]) -> None:
    assert refused([2, *value[1:]]).reason in {ProofReason.MALFORMED, ProofReason.OVERSIZE}


def places(value: object, path: tuple[int, ...] = ()) -> list[tuple[int, ...]]:
    """Paths to every field, lists included."""
    below = [p for i, x in enumerate(value) for p in places(x, (*path, i))] if isinstance(value, list) else []
    return [path, *below]


def spoil(value: Any, path: tuple[int, ...], change: Callable[[Any], Any]) -> Any:
    if not path:
        return change(value)
    return [spoil(x, path[1:], change) if i == path[0] else x for i, x in enumerate(value)]


CHANGES: dict[str, Callable[[Any], Any]] = {
    "another integer": lambda x: x + 1 if isinstance(x, int) else 7,
    "one less": lambda x: x - 1 if isinstance(x, int) else -1,
    "a large integer": lambda _: 2**63 + 5,
    "a bit flipped": lambda x: bytes([x[0] ^ 1, *x[1:]]) if isinstance(x, bytes) and x else b"\1",
    "cut short": lambda x: x[:-1] if isinstance(x, bytes | list) and x else b"",
    "a hash less": lambda x: x[:-32] if isinstance(x, bytes) and len(x) >= 32 else [],
    "a hash more": lambda x: x + bytes(32) if isinstance(x, bytes) else [x],
    "the last twice": lambda x: [*x, x[-1]] if isinstance(x, list) and x else None,
    "the first two exchanged": lambda x: [x[1], x[0], *x[2:]] if isinstance(x, list) and len(x) > 1 else "x",
    "nothing": lambda _: None,
}


@pytest.mark.parametrize("change", sorted(CHANGES))
def test_a_proof_has_no_second_form(change: str) -> None:
    """Whatever is changed, wherever: the proof is refused with a reason."""
    fields = CASE.prove(samples=12).to_fields()
    accepted = []
    for path in places(fields)[1:]:
        spoilt = spoil(fields, path, CHANGES[change])
        try:
            check_proof(CASE.statement, Proof.from_fields(spoilt), seed=SEED, samples=12)
        except ProofError:
            continue
        if spoilt != fields:
            accepted.append(path)
    assert accepted == []


def test_too_many_bytes_are_not_even_walked() -> None:
    class Untouchable(list):  # type: ignore[type-arg]
        def __iter__(self) -> Any:
            raise AssertionError("a list that cannot fit was walked")

    for value in (
        Untouchable([0] * (MAX_PROOF_BYTES + 1)),
        [Untouchable([0] * MAX_PROOF_BYTES)],
        bytes(MAX_PROOF_BYTES),
    ):
        error = refused(value)
        assert (error.reason, error.message) == (ProofReason.OVERSIZE, "more than 65536 bytes")
    assert refused(FIELDS, max_bytes=1000).message == "more than 1000 bytes"


def test_deep_nesting_is_malformed() -> None:
    value: Any = []
    for _ in range(10_000):
        value = [value]
    assert refused(value).reason is ProofReason.MALFORMED


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        ((), 5, ProofReason.MALFORMED),
        ((0,), 1, ProofReason.MALFORMED),
        ((1,), bytes(65), ProofReason.OVERSIZE),
        ((4,), 2**63, ProofReason.OVERSIZE),
        ((4,), True, ProofReason.MALFORMED),
        ((4,), 2**64, ProofReason.MALFORMED),
        ((5, 0, 0), 2**20 + 1, ProofReason.OVERSIZE),
        ((5, 0, 1), bytes(31), ProofReason.MALFORMED),
        ((5, 0), [], ProofReason.MALFORMED),
        ((6,), "text", ProofReason.MALFORMED),
        ((7,), [-1], ProofReason.MALFORMED),
        ((7,), [2**63], ProofReason.OVERSIZE),
        ((8,), b"", ProofReason.MALFORMED),
        ((8, 0), bytes(9), ProofReason.OVERSIZE),
        ((8, 2), 1.5, ProofReason.MALFORMED),
        ((8, 3), bytes(33), ProofReason.MALFORMED),
    ],
)
def test_reasons_of_single_fields(path: tuple[int, ...], value: object, reason: ProofReason) -> None:
    assert refused(spoil(FIELDS, path, lambda _: value)).reason is reason


def test_field_errors_say_both_sides() -> None:
    with pytest.raises(FieldError, match="a str at depth 1"):
        measure(["text"], limit=100)
    # Too many digits to print; the message must not try.
    assert refused(10**5000).message == "an integer outside 0..2^64-1"
    assert refused([*FIELDS, 1]).message == "proof: 9 fields expected, got 10"
    assert (
        refused(spoil(FIELDS, (5, 0, 1), lambda _: bytes(31))).message
        == "roots: 31 bytes, not a multiple of 32"
    )
