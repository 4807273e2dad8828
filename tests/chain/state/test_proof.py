from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.state.node import branch_digest, bucket_digest, root_digest
from chain.state.proof import (
    MAX_VALUE_BYTES,
    SIBLING_BYTES,
    StateProof,
    StateProofError,
    StateProofReason,
    verify_proof,
)
from chain.state.tree import StateTree
from tests.chain.state.test_tree import numbered

ENTRIES = numbered(700)
TREE = StateTree.empty().updated(dict(ENTRIES))
PRESENT = b"n\x00\x00\x00\x05"
ABSENT = b"absent"


def refusal(root: bytes, key: bytes, proof: StateProof) -> tuple[StateProofReason, str]:
    with pytest.raises(StateProofError) as caught:
        verify_proof(root, key, proof)
    return caught.value.reason, str(caught.value)


@pytest.mark.parametrize("count", [0, 1, 16, 17, 700])
def test_every_key_is_proven_present_or_absent(count: int) -> None:
    entries = numbered(count)
    tree = StateTree.empty().updated(dict(entries))
    for key in [*list(entries)[:60], ABSENT, b"n", b"n\x7f\x00\x00\x00"]:
        assert verify_proof(tree.root, key, tree.prove(key)) == entries.get(key)


@given(st.binary(min_size=1, max_size=40))
def test_any_key_has_a_proof_that_survives_the_wire(key: bytes) -> None:
    proof = StateProof.from_fields(TREE.prove(key).to_fields())
    assert proof == TREE.prove(key)
    assert verify_proof(TREE.root, key, proof) == ENTRIES.get(key)


@given(st.sampled_from([PRESENT, ABSENT]), st.data())
def test_no_byte_of_a_proof_can_change(key: bytes, data: st.DataObject) -> None:
    proof = TREE.prove(key)
    siblings = list(proof.siblings)
    parts = [*siblings, proof.records] if proof.value is None else [*siblings, proof.records, proof.value]
    which = data.draw(st.integers(0, len(parts) - 1))
    at = data.draw(st.integers(0, len(parts[which]) - 1))
    flip = data.draw(st.integers(1, 255))
    changed = bytearray(parts[which])
    changed[at] ^= flip
    parts[which] = bytes(changed)
    tampered = StateProof(
        siblings=tuple(parts[: len(siblings)]),
        records=parts[len(siblings)],
        value=None if proof.value is None else parts[-1],
    )
    with pytest.raises(StateProofError):
        verify_proof(TREE.root, key, tampered)


def test_a_proof_of_one_key_proves_nothing_else() -> None:
    proof = TREE.prove(PRESENT)
    assert refusal(TREE.root, ABSENT, proof)[0] is StateProofReason.UNEXPECTED_VALUE
    # Without its value it could pass for a proof of absence of another key, but the path leads elsewhere.
    reason, message = refusal(TREE.root, ABSENT, replace(proof, value=None))
    assert reason is StateProofReason.ROOT_MISMATCH
    assert message.endswith(f"expected {TREE.root.hex()}")


def test_a_present_key_cannot_be_denied() -> None:
    proof = TREE.prove(PRESENT)
    assert refusal(TREE.root, PRESENT, replace(proof, value=None)) == (
        StateProofReason.VALUE_MISSING,
        "the bucket holds the key, the proof brings no value",
    )
    assert (
        refusal(TREE.root, PRESENT, replace(proof, records=b"", value=None))[0]
        is StateProofReason.ROOT_MISMATCH
    )
    # Another bucket of the same tree lacks the key, but does not sit at its path.
    assert (
        refusal(TREE.root, PRESENT, replace(TREE.prove(ABSENT), value=None))[0]
        is StateProofReason.ROOT_MISMATCH
    )


def test_a_value_cannot_be_invented_or_altered() -> None:
    assert refusal(TREE.root, ABSENT, replace(TREE.prove(ABSENT), value=b"x")) == (
        StateProofReason.UNEXPECTED_VALUE,
        "a value of 1 bytes for a key not in the bucket",
    )
    assert (
        refusal(TREE.root, PRESENT, replace(TREE.prove(PRESENT), value=b"x"))[0]
        is StateProofReason.VALUE_MISMATCH
    )


def test_the_proof_of_an_older_state_is_refused() -> None:
    later = TREE.updated({PRESENT: b"later"})
    assert refusal(later.root, PRESENT, TREE.prove(PRESENT))[0] is StateProofReason.ROOT_MISMATCH
    assert verify_proof(TREE.root, PRESENT, TREE.prove(PRESENT)) == ENTRIES[PRESENT]


def test_levels_cannot_be_left_out_or_swapped() -> None:
    proof = TREE.prove(PRESENT)
    assert len(proof.siblings) == 2
    for siblings in (proof.siblings[1:], proof.siblings[:1], proof.siblings[::-1]):
        reason, _ = refusal(TREE.root, PRESENT, replace(proof, siblings=siblings))
        assert reason is StateProofReason.ROOT_MISMATCH


def test_a_branch_cannot_pass_for_a_bucket() -> None:
    # 512 bytes of child digests have the form of eight records; only the tag of the hash tells them apart.
    digests = b"".join(bytes([number]) * 32 for number in range(16))
    assert bucket_digest(digests) != branch_digest(digests)
    forged = StateProof(siblings=(), records=digests, value=None)
    assert refusal(root_digest(branch_digest(digests)), ABSENT, forged)[0] is StateProofReason.ROOT_MISMATCH
    assert verify_proof(root_digest(bucket_digest(digests)), ABSENT, forged) is None


def test_an_unsorted_bucket_is_refused() -> None:
    tree = StateTree.empty().updated({b"a": b"1", b"b": b"2"})
    proof = tree.prove(b"a")
    swapped = replace(proof, records=proof.records[64:] + proof.records[:64])
    assert refusal(tree.root, b"a", swapped)[0] is StateProofReason.UNSORTED_BUCKET
    doubled = replace(proof, records=proof.records[:64] * 2)
    assert refusal(tree.root, b"a", doubled)[0] is StateProofReason.UNSORTED_BUCKET


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (None, "a proof is a list of 3 fields, got NoneType"),
        ([], "a proof is a list of 3 fields, got 0 fields"),
        (([], b"", []), "a proof is a list of 3 fields, got tuple"),
        ([b"", b"", []], "the path is a list of 0 to 64 fields, got bytes"),
        ([[bytes(SIBLING_BYTES)] * 65, b"", []], "the path is a list of 0 to 64 fields, got 65 fields"),
        ([[bytes(479)], b"", []], "a level has 480 bytes, got 479"),
        ([["x"], b"", []], "a level is a byte string, got str"),
        ([[], "", []], "the bucket is a byte string, got str"),
        ([[], bytes(63), []], "a bucket has 0 to 16 records of 64 bytes, got 63 bytes"),
        ([[], bytes(64 * 17), []], "a bucket has 0 to 16 records of 64 bytes, got 1088 bytes"),
        ([[], b"", b""], "the value is a list of 0 to 1 fields, got bytes"),
        ([[], b"", [b"", b""]], "the value is a list of 0 to 1 fields, got 2 fields"),
        ([[], b"", [1]], "the value is a byte string, got int"),
        ([[], b"", [bytes(MAX_VALUE_BYTES + 1)]], "a value has at most 1048576 bytes, got 1048577"),
    ],
)
def test_malformed_fields_are_refused(fields: object, message: str) -> None:
    with pytest.raises(StateProofError) as caught:
        StateProof.from_fields(fields)
    assert (caught.value.reason, str(caught.value)) == (StateProofReason.MALFORMED, message)


FIELDS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.binary(max_size=70) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=8,
)


@given(FIELDS | st.lists(FIELDS, min_size=3, max_size=3))
def test_no_fields_end_in_anything_but_a_proof_or_a_reason(fields: object) -> None:
    try:
        proof = StateProof.from_fields(fields)
    except StateProofError as error:
        assert error.reason is StateProofReason.MALFORMED  # noqa: PT017 either outcome is right
    else:
        assert proof.to_fields() == fields
