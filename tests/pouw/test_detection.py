"""How often faking is found: counted against the arithmetic, and the table of the README against both."""

import re
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from itertools import permutations
from math import isqrt, prod
from pathlib import Path

import numpy as np
import pytest

import pouw
from pouw.proofs.proof import ProofError
from pouw.proofs.sampling import Cell, Placed, draw_cells, in_order
from pouw.proofs.verifier import check_proof
from pouw.tensors import Array
from pouw.trace import Trace
from tests.pouw.chances import all_miss, all_miss_in_commit, independent_miss
from tests.pouw.world import REFERENCE, WEIGHTS, Case, Job, commons_job, make_case, paid_job

ITEMS = 40
SAMPLES = 16


def all_wrong(job: Job) -> Trace:
    """A trace in which no value is what its op gives for the committed ones before it, the input included."""
    tensors: list[Array] = [job.inputs]
    for step in job.program.steps:
        operands = [
            WEIGHTS.array(job.program.weights[source.index].name) if source.weight else tensors[source.index]
            for source in step.sources
        ]
        tensors.append(step.op.kind.run(REFERENCE, operands) ^ 1)
    return Trace(WEIGHTS, (job.inputs ^ 1, *tensors[1:]))


def faked_items(count: int) -> Case:
    """A commit of 40 units of which `count`, spread evenly, were not worked on."""
    jobs = [commons_job(i, batch=1) for i in range(ITEMS)]
    faked = {i * ITEMS // count for i in range(count)}
    return make_case(jobs, [all_wrong(job) if i in faked else job.run() for i, job in enumerate(jobs)])


def is_refused(case: Case, seed: bytes, samples: int = SAMPLES) -> bool:
    try:
        check_proof(case.statement, case.prove(seed, samples), seed=seed, samples=samples)
    except ProofError:
        return True
    return False


def within_four_sigma(hits: int, trials: int, chance: Fraction) -> bool:
    variance = trials * chance * (1 - chance)
    return abs(hits - trials * chance) <= 4 * isqrt(int(variance) + 1) + 1


@pytest.mark.parametrize(("faked", "trials"), [(1, 400), (4, 400), (10, 200)])
def test_faked_units_are_found_as_often_as_the_arithmetic_says(faked: int, trials: int) -> None:
    """1,000 commits in all, proven and checked; the seeds are fixed, so the counts are too."""
    case = faked_items(faked)
    wrong = {i * ITEMS // faked for i in range(faked)}
    items = in_order(job.program for job in case.jobs)
    refused = 0
    for trial in range(trials):
        seed = b"%d of %d" % (trial, faked)
        cells = draw_cells(
            items, seed=seed, root=case.builder.root, units=case.builder.units, samples=SAMPLES, claims=[]
        )
        hit = any(index in wrong for index, _ in cells)
        assert is_refused(case, seed) == hit, f"seed {seed!r}"
        refused += hit
    passes = (1 - Fraction(faked, ITEMS)) ** SAMPLES
    assert within_four_sigma(refused, trials, 1 - passes), f"{refused} of {trials}, expected {1 - passes:.3f}"


@pytest.mark.parametrize("tensor", [1, 2, 3, 4])
def test_one_op_faked_throughout_is_found_by_its_units_and_as_one_of_many(tensor: int) -> None:
    """Half of the draws see its share of the units, the other half one tensor of so many."""

    def fake(job: Job) -> Trace:
        trace = job.run()
        tensors = list(trace.tensors)
        tensors[tensor] = tensors[tensor] ^ 1
        return Trace(trace.weights, tuple(tensors))

    jobs = [commons_job(i) for i in range(4)]
    case = make_case(jobs, [fake(job) for job in jobs])
    program = jobs[0].program
    by_units = Fraction(program.steps[tensor - 1].units, program.units)
    right = [Fraction(number != tensor) for number in range(len(program.tensors))]
    passes = (1 - by_units) ** 4 * all_miss_in_commit([(Fraction(1, 4), right)] * 4, 4)
    trials = 150
    refused = sum(is_refused(case, b"op %d %d" % (tensor, trial), samples=8) for trial in range(trials))
    # Cells that read the faked rows are wrong as well: found at least as often.
    assert refused + 4 * isqrt(trials // 4) >= trials * (1 - passes), f"{refused} of {trials}"
    if tensor == program.last:  # nothing reads it
        assert within_four_sigma(refused, trials, 1 - passes), f"{refused} of {trials}"


def test_draws_fall_evenly() -> None:
    """Over items by units; within an item by units, and over its tensors and their rows."""
    program = commons_job(0).program
    units = 3 * program.units
    drawn = draw_cells(
        in_order([program] * 3), seed=b"even", root=bytes(32), units=units, samples=60_000, claims=[]
    )
    items = np.bincount([index for index, _ in drawn], minlength=3)
    assert items.min() > 19_500
    for by_units in (True, False):
        cells = [cell for _, cell in drawn[not by_units :: 2]]
        counts = np.bincount([cell.tensor for cell in cells], minlength=5)
        shares = [0, *(step.units for step in program.steps)] if by_units else [1] * len(program.tensors)
        total = sum(shares)
        assert all(
            within_four_sigma(int(count), len(cells), Fraction(share, total))
            for count, share in zip(counts, shares, strict=True)
        )
        for tensor in range(1 if by_units else 0, 4):
            spec = program.tensors[tensor]
            seen = {(cell.row, cell.col) for cell in cells if cell.tensor == tensor}
            assert len(seen) == spec.rows * spec.cols


def draws_by_tensors(items: list[Placed], seed: bytes, samples: int) -> list[list[Cell]]:
    """What falls into each item by tensors, in order."""
    units = sum(item.program.units for item in items)
    drawn = draw_cells(items, seed=seed, root=bytes(32), units=units, samples=samples, claims=[])
    return [[cell for index, cell in drawn[1::2] if index == number] for number in range(len(items))]


@pytest.mark.parametrize("count", [1, 3])
def test_no_tensor_is_drawn_twice_before_all_were(count: int) -> None:
    """In every item by itself: each round is a permutation, and all are equally likely."""
    program = commons_job(0).program
    tensors = len(program.tensors)
    firsts: Counter[tuple[int, ...]] = Counter()
    for number in range(200):
        seed = b"rounds %d" % number
        for cells in draws_by_tensors(in_order([program] * count), seed, 64):
            hit = [cell.tensor for cell in cells]
            rounds = [hit[start : start + tensors] for start in range(0, len(hit), tensors)]
            assert all(len(set(part)) == len(part) for part in rounds), f"seed {seed!r}"
            firsts.update(tuple(part[:2]) for part in rounds if len(part) > 1)
    assert len(firsts) == tensors * (tensors - 1)
    total = sum(firsts.values())
    assert all(within_four_sigma(seen, total, Fraction(1, len(firsts))) for seen in firsts.values())


def test_one_faked_tensor_of_a_few_is_found_for_certain() -> None:
    """Five tensors, ten draws, five of them by tensors: whichever is faked, by however little it costs."""
    job = commons_job(0)
    assert len(job.program.tensors) == 5
    for tensor in range(1, 5):
        trace = job.run()
        tensors = [array ^ (number == tensor) for number, array in enumerate(trace.tensors)]
        case = make_case([job], [Trace(trace.weights, tuple(tensors))])
        assert all(is_refused(case, b"certain %d" % trial, samples=10) for trial in range(20))


def test_a_claim_is_looked_at_however_little_it_is_beside_the_rest() -> None:
    """One row of a thousand, its last op faked: samples hardly see it, one in five of its draws does."""
    small, large = paid_job(0, batch=1), commons_job(0, batch=1_000)
    true = small.run()
    false = Trace(true.weights, (*true.tensors[:-1], true.answer ^ 1))
    case = make_case([small, large], [false, large.run()])
    case.statement = replace(case.statement, items=[small.work(false.answer), large.work()])
    tensors = len(small.program.tensors)
    trials = 300
    refused = sum(is_refused(case, b"claim %d" % trial, samples=8) for trial in range(trials))
    assert within_four_sigma(refused, trials, Fraction(1, tensors)), f"{refused} of {trials}"


def test_all_miss_counts_every_choice() -> None:
    """Against all permutations, one by one."""
    passes = [Fraction(n, 7) for n in (7, 3, 5, 0, 6)]
    for draws in range(6):
        choices = list(permutations(passes, draws))
        assert all_miss(passes, draws) == sum(map(prod, choices)) / len(choices)
    some = passes[:3]
    assert all_miss(some, 8) == all_miss(some, 3) ** 2 * all_miss(some, 2)
    halves = [(Fraction(1, 2), some), (Fraction(1, 2), passes)]
    assert all_miss_in_commit(halves, 1) == independent_miss(halves, 1)
    assert (
        all_miss_in_commit(halves, 2)
        == (all_miss(some, 2) + all_miss(passes, 2) + 2 * all_miss(some, 1) * all_miss(passes, 1)) / 4
    )
    assert (
        all_miss_in_commit(halves, 1, claims=[1])
        == (all_miss(some, 1) * all_miss(passes, 1) + all_miss(passes, 2)) / 2
    )


def test_drawing_without_repetition_never_misses_more() -> None:
    """Whatever is wrong, in whichever items, however many draws there are."""
    random = np.random.default_rng(7)
    for _ in range(60):
        shares = [Fraction(int(n)) for n in random.integers(1, 50, random.integers(1, 4))]
        items = [
            (share / sum(shares), [Fraction(int(n), 4) for n in random.integers(0, 5, random.integers(1, 7))])
            for share in shares
        ]
        for draws in (1, 2, 3, 8):
            missed = all_miss_in_commit(items, draws)
            assert missed <= independent_miss(items, draws), (items, draws)
            for place, (_, passes) in enumerate(items):
                bound = independent_miss(items, draws) * all_miss(passes, 1)
                missed = all_miss_in_commit(items, draws, claims=[place])
                assert missed <= bound, (items, draws, place)


def test_the_table_of_the_readme() -> None:
    """What a fraction f of faked units passes with: (1 - f)^s, in percent, two digits, down to 0.001."""
    text = (Path(pouw.__file__).parent / "README.md").read_text(encoding="utf-8")
    header = re.search(r"^\| faked \|(.*)\|$", text, re.MULTILINE)
    assert header is not None
    columns = [int(number) for number in re.findall(r"s = (\d+)", header[1])]
    rows = re.findall(r"^\| (\d+) % \|(.*)\|$", text, re.MULTILINE)
    assert columns == [8, 16, 32, 64, 128]
    assert [int(percent) for percent, _ in rows] == [1, 2, 5, 10, 20, 50]
    for percent, cells in rows:
        passes = [float((1 - Fraction(int(percent), 100)) ** samples * 100) for samples in columns]
        expected = [f"{value:.2g} %" if value >= 0.001 else "< 0.001 %" for value in passes]
        assert [cell.strip() for cell in cells.split("|")] == expected


def test_leaving_out_what_is_then_wrong_never_pays() -> None:
    """With reward R and bond B: what f gains, f R, is at most what it risks, (R + B)(1 - (1-f)^s).

    Only where what was left out is what is wrong; `tests.pouw.red_team` has the cheats where it is not.
    """
    for samples in (1, 2, 16, 64):
        for percent in range(101):
            f = Fraction(percent, 100)
            caught = 1 - (1 - f) ** samples
            for reward, bond in ((1, 0), (1, 1), (10, 1), (1, 1000)):
                assert f * reward <= (reward + bond) * caught
