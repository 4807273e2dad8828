"""How often faking is found: counted against the arithmetic, and the table of the README against both."""

import re
from fractions import Fraction
from math import isqrt
from pathlib import Path

import numpy as np
import pytest

import pouw
from pouw.proof import ProofError
from pouw.sampling import cell_of, draw_positions
from pouw.tensors import Array
from pouw.trace import Trace
from pouw.verifier import check_proof
from tests.pouw.world import REFERENCE, WEIGHTS, Case, Job, commons_job, make_case

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
    unit = case.jobs[0].program.units
    refused = 0
    for trial in range(trials):
        seed = b"%d of %d" % (trial, faked)
        draws = draw_positions(seed, root=case.builder.root, units=case.builder.units, samples=SAMPLES)
        hit = any(draw.position // unit in wrong for draw in draws)
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
    by_tensors = Fraction(1, len(program.tensors))
    passes = ((1 - by_units) * (1 - by_tensors)) ** 4
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
    draws = draw_positions(b"even", root=bytes(32), units=units, samples=60_000)
    items = np.bincount([draw.position // program.units for draw in draws], minlength=3)
    assert items.min() > 19_500
    for by_units in (True, False):
        cells = [
            cell_of(program, draw, start=draw.position // program.units * program.units)
            for draw in draws
            if draw.by_units == by_units
        ]
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
