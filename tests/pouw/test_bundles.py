"""Tensors that share a tree: which ones, where their leaves lie, and that all of them lead to one root."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pouw.ops.narrowed import Narrowed
from pouw.ops.transpose import Transpose
from pouw.program import INPUT, Op, build_program
from pouw.proofs.commitment import CommitBuilder
from pouw.proofs.opened_rows import split_hashes
from pouw.proofs.proof import OpenedItem, ProofError, ProofReason
from pouw.proofs.sealing import seal
from pouw.proofs.verifier import check_proof
from pouw.tensors import FINE_LEAF, DType, TensorSpec
from pouw.trace import run_program
from pouw.trees.bundles import Bundle, bundled
from pouw.trees.merkle import fold
from pouw.trees.rows import join_rows
from tests.pouw.text_world import START, commit, step_unit
from tests.pouw.world import REFERENCE


def test_leaves_lie_line_by_line() -> None:
    bundle = Bundle((3, 7), (2, 1), 3)
    assert bundle.leaves == 9
    assert bundle.places(3, range(6)) == [0, 1, 3, 4, 6, 7]
    assert bundle.places(7, range(3)) == [2, 5, 8]


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.integers(1, 6))
def test_every_leaf_has_a_place_of_its_own(parts: list[int], lines: int) -> None:
    bundle = Bundle(tuple(range(len(parts))), tuple(parts), lines)
    places = [bundle.places(tensor, range(lines * own)) for tensor, own in enumerate(parts)]
    assert all(sorted(set(own)) == own for own in places)
    assert sorted(place for own in places for place in own) == list(range(bundle.leaves))


def test_a_tensor_lies_beside_what_its_rows_are_made_of() -> None:
    wide, other = TensorSpec(4, 64, DType.INT8), TensorSpec(3, 64, DType.INT8)
    after = {1: [0], 2: [1], 3: [2], 4: [3], 5: [1]}
    found = bundled(
        [wide, wide, wide, wide, other, wide], most=3, alone=(0,), beside=lambda number: after.get(number, [])
    )
    assert [bundle.tensors for bundle in found.all] == [(0,), (1, 2, 3), (4,), (5,)]
    assert found.home == (0, 1, 1, 1, 2, 3)
    alone = bundled([wide] * 3, most=1, alone=(), beside=lambda number: [number - 1])
    assert [bundle.tensors for bundle in alone.all] == [(0,), (1,), (2,)]


def test_programs_for_quick_hashing_bundle_nothing() -> None:
    kind = Narrowed(0, 127, DType.INT16)
    turn = [Op("a", kind, (INPUT,)), Op("b", Transpose(), ("a",)), Op("c", Transpose(), ("b",))]
    for small in (False, True):
        program = build_program(TensorSpec(8, 8, DType.INT32), (), turn, small=small)
        # Rows of a transpose are made of columns.
        assert [bundle.tensors for bundle in program.bundles.all] == [(0,), (1,), (2,), (3,)]
        assert all((spec.largest_leaf == FINE_LEAF) == small for spec in program.tensors)


def test_kept_tensors_and_the_answer_have_roots_of_their_own() -> None:
    program = step_unit(START, 0).program
    for number in (0, *program.kept, program.last):
        assert program.bundles.of(number).tensors == (number,)
    assert max(len(bundle.tensors) for bundle in program.bundles.all) > 2
    assert all(spec.part_bytes <= FINE_LEAF for spec in program.tensors if spec.largest_leaf == FINE_LEAF)


def test_every_part_of_a_proof_of_bundles_matters() -> None:
    """A bit of any hash, tag or row changed is found, whatever is drawn."""
    unit = step_unit(START, 0)
    trace = run_program(unit.program, START.weights, unit.inputs, REFERENCE)
    builder, statement = commit([(unit, trace)])
    proof = builder.prove(b"seed", 64)
    check_proof(statement, proof, seed=b"seed", samples=64)
    item = proof.items[0]

    def reason_of(changed: OpenedItem) -> ProofReason | None:
        try:
            check_proof(statement, replace(proof, items=(changed,)), seed=b"seed", samples=64)
        except ProofError as error:
            return error.reason
        return None

    for part, expected in (
        ("roots", {ProofReason.INPUT_MISMATCH}),
        ("tags", {ProofReason.ROW_NOT_COMMITTED, ProofReason.COMMIT_MISMATCH, ProofReason.ANSWER_MISMATCH}),
        ("root_path", {ProofReason.COMMIT_MISMATCH}),
    ):
        raw = getattr(item, part)
        found = {reason_of(replace(item, **{part: flipped(raw, at)})) for at in range(0, len(raw), 13)}
        assert found <= expected, part
    for part, expected in (
        ("path", {ProofReason.ROW_NOT_COMMITTED}),
        ("rows", {ProofReason.ROW_NOT_COMMITTED, ProofReason.ROW_SIZE}),
    ):
        raw = getattr(item.opened, part)
        changes = (replace(item.opened, **{part: flipped(raw, at)}) for at in range(0, len(raw), 997))
        assert {reason_of(replace(item, opened=changed)) for changed in changes} <= expected, part


def flipped(raw: bytes, at: int) -> bytes:
    """One bit changed."""
    return raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]


@pytest.mark.parametrize("aside", [False, True])
def test_opened_leaves_of_all_members_lead_to_one_root(aside: bool) -> None:
    unit = step_unit(START, 0)
    trace = run_program(unit.program, START.weights, unit.inputs, REFERENCE)
    sealed = seal(bytes(32), unit.program, trace)
    number = next(n for n, bundle in enumerate(unit.program.bundles.all) if len(bundle.tensors) > 2)
    bundle, tree = unit.program.bundles.all[number], sealed.trees[number]
    opened = {}
    for tensor in bundle.tensors:
        rows = sealed.rows[tensor]
        hashes = split_hashes(rows.hashes)  # type: ignore[union-attr]
        leaves = [0, len(hashes) - 1]
        opened.update(zip(bundle.places(tensor, leaves), (hashes[leaf] for leaf in leaves), strict=True))
    path = split_hashes(tree.path(sorted(opened)))
    assert fold(bundle.leaves, sorted(opened.items()), path, join_rows) == tree.root
    builder = CommitBuilder(b"chain", b"miner")
    if aside:
        builder.work(bytes(32), unit.program, START.weights, unit.inputs, REFERENCE)
    else:
        builder.add(bytes(32), unit.program, run_program(unit.program, START.weights, unit.inputs, REFERENCE))
    other = CommitBuilder(b"chain", b"miner")
    other.add(bytes(32), unit.program, trace)
    assert builder.root == other.root
