"""Every attack of the design that ends here, each refused for its own reason.

Attacks on when and how often something may be committed or proven are the ledger's to refuse.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest

from pouw.proofs.openings import Stretch
from pouw.proofs.proof import OpenedItem, ProofError, ProofReason
from pouw.proofs.verifier import WorkItem, check_units
from pouw.tensors import Array
from pouw.trace import Trace
from tests.pouw import evil
from tests.pouw.taken_apart import Part, exchanged
from tests.pouw.world import commons_job, make_case, usual_case

R = ProofReason
Attack = Callable[[], None]


def altered(part: Part) -> Part:
    assert part.data is not None
    return replace(part, data=bytes([part.data[0] ^ 1]) + part.data[1:])


def moved(part: Part, tensor: int, leaf: int) -> Part:
    leaves = range(part.stretch.leaves.start + leaf, part.stretch.leaves.stop + leaf)
    return replace(part, stretch=Stretch(part.stretch.tensor + tensor, leaves))


def longer(part: Part) -> Part:
    assert part.data is not None
    return replace(part, data=part.data + b"\1" * 8 * part.spec.dtype.size)


def shorter(part: Part) -> Part:
    assert part.data is not None
    return replace(part, data=part.data[8 * part.spec.dtype.size :])


def two_hashes(part: Part) -> Part:
    assert part.data is not None
    return replace(part, data=(b"\x91" * 64 * len(part.data))[: len(part.data)])


def with_path(change: Callable[[bytes], bytes]) -> Attack:
    def alter(item: OpenedItem) -> OpenedItem:
        return replace(item, opened=replace(item.opened, path=change(item.opened.path)))

    return lambda: evil.reopened(alter)


ATTACKS: dict[str, tuple[Attack, ProofReason]] = {
    # What is committed is not the work.
    "one wrong byte": (evil.one_wrong_byte, R.WRONG_CELL),
    "a cheap op left out": (evil.a_cheap_op_left_out, R.WRONG_CELL),
    "zeros": (evil.zeros, R.WRONG_CELL),
    "random matrices": (evil.random_matrices, R.INPUT_MISMATCH),
    "inputs of another unit": (evil.inputs_of_another_unit, R.INPUT_MISMATCH),
    "one row for all": (evil.one_row_for_all, R.INPUT_MISMATCH),
    "another model": (evil.another_model, R.WEIGHT_NOT_IN_MODEL),
    "another answer": (evil.another_answer, R.ANSWER_MISMATCH),
    "an answer of another shape": (evil.an_answer_of_another_shape, R.ANSWER_SHAPE),
    "an answer of another type": (evil.an_answer_of_another_type, R.ANSWER_SHAPE),
    "an unopened answer": (evil.an_unopened_answer, R.CELL_NOT_OPENED),
    # It belongs to another chain, miner, task, shape or draw.
    "of another chain": (partial(evil.taken_over, chain_id=b"other", relabelled=False), R.WRONG_CHAIN),
    "of another miner": (partial(evil.taken_over, miner=b"other", relabelled=False), R.WRONG_MINER),
    "of another chain, relabelled": (
        partial(evil.taken_over, chain_id=b"o", relabelled=True),
        R.COMMIT_MISMATCH,
    ),
    "of another miner, relabelled": (
        partial(evil.taken_over, miner=b"o", relabelled=True),
        R.COMMIT_MISMATCH,
    ),
    "of another task": (evil.another_task, R.COMMIT_MISMATCH),
    "of another program": (evil.another_program, R.COMMIT_MISMATCH),
    "of another shape": (evil.a_smaller_batch, R.WRONG_POSITION),
    "an old proof": (evil.an_old_proof, R.WRONG_SEED),
    "an old proof, relabelled": (evil.an_old_proof_relabelled, R.WRONG_POSITION),
    # It counts wrongly.
    "more units than claimed": (evil.more_units_than_the_commit_claims, R.UNITS_MISMATCH),
    "more units than committed": (evil.more_units_than_the_commit_holds, R.INFLATED_SUMS),
    "twice the units": (evil.twice_the_units, R.INFLATED_SUMS),
    "sums that do not add up": (evil.sums_that_do_not_add_up, R.INFLATED_SUMS),
    "sums moved elsewhere": (evil.sums_moved_elsewhere, R.COMMIT_MISMATCH),
    "a subtree without units": (evil.a_subtree_without_units, R.BAD_SUM),
    "nothing at all": (evil.nothing_at_all, R.EMPTY_COMMIT),
    # It opens something else than what was drawn.
    "an altered row": (lambda: evil.another_first(altered), R.ROW_NOT_COMMITTED),
    "a row of another token": (
        lambda: evil.another_first(lambda part: moved(part, 0, 1)),
        R.WRONG_POSITION,
    ),
    "a row of another layer": (
        lambda: evil.another_first(lambda part: moved(part, 1, 0)),
        R.WRONG_POSITION,
    ),
    "a row too long": (lambda: evil.another_first(longer), R.ROW_SIZE),
    "a row too short": (lambda: evil.another_first(shorter), R.ROW_SIZE),
    "two hashes as a row": (lambda: evil.another_first(two_hashes), R.ROW_NOT_COMMITTED),
    "weight rows exchanged": (lambda: evil.other_weights(exchanged), R.WEIGHT_NOT_IN_MODEL),
    "a leaf twice": (lambda: evil.other_rows(lambda parts: [*parts, parts[-1]]), R.WRONG_POSITION),
    "a leaf left out": (lambda: evil.other_rows(lambda parts: parts[:-1]), R.WRONG_POSITION),
    "a truncated path": (with_path(lambda path: path[32:]), R.PATH_LENGTH),
    "a path too long": (with_path(lambda path: path + bytes(32)), R.PATH_LENGTH),
    "another path": (with_path(lambda path: path[:-32] + bytes(32)), R.ROW_NOT_COMMITTED),
    "a truncated tree of tensors": (
        lambda: evil.reopened(lambda item: replace(item, tags=item.tags[4:])),
        R.PATH_LENGTH,
    ),
    "another tensor's root": (
        lambda: evil.reopened(
            lambda item: replace(item, tags=item.tags[:4] + item.tags[8:] + item.tags[4:8])
        ),
        R.ROW_NOT_COMMITTED,
    ),
    "another root of the input": (
        lambda: evil.reopened(lambda item: replace(item, roots=bytes(32))),
        R.INPUT_MISMATCH,
    ),
    "a truncated path among items": (
        lambda: evil.open_weights(lambda proof: replace(proof, sum_hashes=proof.sum_hashes + bytes(32))),
        R.PATH_LENGTH,
    ),
    "an item left out": (lambda: evil.open_items(lambda _, proof: proof.items[:-1]), R.PATH_LENGTH),
    "no item": (lambda: evil.open_items(lambda *_: ()), R.CELL_NOT_OPENED),
    "items exchanged": (lambda: evil.open_items(lambda _, proof: proof.items[::-1]), R.ITEM_ORDER),
    "an item twice": (lambda: evil.open_items(lambda _, proof: proof.items[:1] + proof.items), R.ITEM_ORDER),
    "an item beyond the last": (
        lambda: evil.open_items(lambda _, proof: (*proof.items[:-1], replace(proof.items[-1], index=8))),
        R.ITEM_ORDER,
    ),
    "the same task twice": (evil.the_same_task_twice, R.DUPLICATE_ITEM),
    "an item that nobody drew": (evil.an_item_that_nobody_drew, R.CELL_NOT_DRAWN),
    "one draw too many": (evil.one_draw_too_many, R.CELL_NOT_DRAWN),
    "fewer draws": (evil.fewer_draws, R.CELL_NOT_OPENED),
    "rows of the input": (evil.rows_of_the_input, R.ROW_SIZE),
    "a weight row left out": (lambda: evil.other_weights(lambda parts: parts[1:]), R.WRONG_POSITION),
    "a weight's path cut": (
        lambda: evil.open_weights(
            lambda proof: replace(proof, weights=replace(proof.weights, path=proof.weights.path[32:]))
        ),
        R.PATH_LENGTH,
    ),
    # It is no proof.
    "numbers too large": (lambda: evil.open_weights(lambda proof: replace(proof, units=2**63)), R.OVERSIZE),
    "negative sums": (lambda: evil.open_weights(lambda proof: replace(proof, sum_units=(-1,))), R.MALFORMED),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_attack(name: str) -> None:
    attack, reason = ATTACKS[name]
    with pytest.raises(ProofError) as caught:
        attack()
    assert caught.value.reason is reason, str(caught.value)
    assert caught.value.message


def test_every_reason_has_an_attack() -> None:
    assert {reason for _, reason in ATTACKS.values()} == set(ProofReason)


def test_reasons_keep_their_numbers() -> None:
    """They are in receipts for good."""
    assert [(reason.name, int(reason)) for reason in ProofReason] == [
        ("MALFORMED", 1), ("OVERSIZE", 2), ("WRONG_CHAIN", 3), ("WRONG_MINER", 4), ("WRONG_SEED", 5),
        ("EMPTY_COMMIT", 6), ("UNITS_MISMATCH", 7), ("ITEM_ORDER", 8), ("DUPLICATE_ITEM", 9), ("BAD_SUM", 10),
        ("INFLATED_SUMS", 11), ("PATH_LENGTH", 12), ("CELL_NOT_OPENED", 13), ("CELL_NOT_DRAWN", 14),
        ("WRONG_POSITION", 15), ("ROW_SIZE", 16), ("COMMIT_MISMATCH", 17), ("ROW_NOT_COMMITTED", 18),
        ("WEIGHT_NOT_IN_MODEL", 19), ("INPUT_MISMATCH", 20), ("ANSWER_MISMATCH", 21), ("ANSWER_SHAPE", 22),
        ("WRONG_CELL", 23),
    ]  # fmt: skip


def test_messages_say_both_sides() -> None:
    case = usual_case()
    proof = case.prove()
    with pytest.raises(ProofError) as caught:
        evil.judge(replace(case.statement, units=5), proof)
    assert str(caught.value) == f"UNITS_MISMATCH: for {proof.units} units, the commit claims 5"
    with pytest.raises(ProofError) as caught:
        evil.one_wrong_byte()
    assert re.fullmatch(
        r"layer [01]\[1,\d+\] of item 0 holds -?\d+, its op gives -?\d+", caught.value.message
    )


def test_whoever_adds_up_the_programs_sees_inflated_units_at_once() -> None:
    case = evil.inflated_commit()
    with pytest.raises(ProofError) as caught:
        check_units(case.statement.items, case.builder.units)
    assert caught.value.reason is ProofReason.UNITS_MISMATCH
    assert (
        caught.value.message
        == f"{case.builder.units} units claimed, the items cost {case.builder.units // 2}"
    )


def test_order_and_number_of_items_are_bound() -> None:
    jobs = usual_case().jobs
    orders = (jobs, jobs[::-1], jobs[:-1], [*jobs, commons_job(9)])
    assert len({make_case(order).builder.root for order in orders}) == 4


def test_more_items_than_draws_and_answers_are_not_looked_at() -> None:
    """The bound on what a stranger's proof makes a node derive."""
    case = make_case([commons_job(i) for i in range(300)])
    proof = case.prove(samples=2 * evil.SAMPLES)
    statement = replace(case.statement, items=Unreadable(case.statement.items), answered=())
    with pytest.raises(ProofError) as caught:
        evil.judge(statement, proof)
    assert caught.value.reason is ProofReason.CELL_NOT_DRAWN
    assert caught.value.message == f"{len(proof.items)} items are opened for 64 draws and 0 answers"


def test_a_false_proof_of_a_long_input_makes_nobody_derive_all_of_it() -> None:
    """Saying why must not cost a node more than checking."""
    read: list[int] = []
    job, other = commons_job(0, batch=3000), commons_job(1, batch=3000)
    stored = other.run()
    case = make_case([job], [Trace(stored.weights, (job.inputs, *stored.tensors[1:]))])

    def input_row(row: int) -> Array:
        read.append(row)
        alone: Array = job.inputs[row]
        return alone

    item = replace(case.statement.items[0], input_row=input_row)
    with pytest.raises(ProofError) as caught:
        evil.judge(replace(case.statement, items=[item]), case.prove())
    assert caught.value.reason is ProofReason.WRONG_CELL
    assert len(read) < 1000


class Unreadable(list[WorkItem]):
    """Items none of which may be made."""

    def __getitem__(self, index: object) -> WorkItem:  # type: ignore[override]
        raise AssertionError(f"item {index} was looked at")
