"""Honest work is never refused, whatever its size, seed and mixture; and what a proof costs."""

import subprocess
import sys
from typing import ClassVar

import numpy as np
import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from pouw.backends.backend import BackendError
from pouw.backends.select import select_backend
from pouw.fields import measure
from pouw.proofs.commitment import CommitBuilder, CommitFull
from pouw.proofs.proof import MAX_PROOF_BYTES, Proof
from pouw.proofs.verifier import Statement, check_proof, check_units
from pouw.trace import Trace, run_program
from tests.pouw.world import (
    CHAIN,
    MINER,
    SEED,
    WEIGHTS,
    Case,
    commons_job,
    make_case,
    paid_job,
    usual_case,
)

USUAL = usual_case()


def accept(case: Case, seed: bytes, samples: int) -> None:
    fields = case.prove(seed, samples).to_fields()
    check_proof(case.statement, Proof.from_fields(fields), seed=seed, samples=samples)


@given(
    commons=st.lists(st.tuples(st.integers(0, 50), st.integers(1, 40)), max_size=9, unique_by=lambda x: x[0]),
    paid=st.lists(st.tuples(st.integers(0, 50), st.integers(1, 70)), max_size=3, unique_by=lambda x: x[0]),
    seed=st.binary(max_size=64),
    samples=st.integers(1, 100),
)
@settings(max_examples=60)
def test_honest_work_is_accepted(
    commons: list[tuple[int, int]], paid: list[tuple[int, int]], seed: bytes, samples: int
) -> None:
    jobs = [*(paid_job(*task) for task in paid), *(commons_job(*unit) for unit in commons)]
    accept(make_case(jobs or [commons_job(0)]), seed, samples)


@given(seed=st.binary(max_size=64))
def test_honest_work_is_accepted_for_any_seed(seed: bytes) -> None:
    accept(USUAL, seed, 64)


def test_answers_may_be_anywhere_and_may_be_found_by_looking() -> None:
    case = make_case([commons_job(0), paid_job(0), commons_job(1), paid_job(1)])
    told = Statement(
        CHAIN, MINER, case.statement.items, case.builder.root, case.builder.units, answered=(1, 3)
    )
    proof = case.prove()
    for statement in (case.statement, told):
        check_proof(statement, proof, seed=SEED, samples=64)


def test_only_opened_items_are_looked_at() -> None:
    case = make_case([commons_job(i) for i in range(40)])
    proof = case.prove(samples=4)

    class Lazy(list):  # type: ignore[type-arg]
        looked_at: ClassVar[set[int]] = set()

        def __getitem__(self, index: int) -> object:  # type: ignore[override]
            self.looked_at.add(index)
            return super().__getitem__(index)

        def __iter__(self) -> object:  # type: ignore[override]
            raise AssertionError("all items were asked for")

    items = Lazy(case.statement.items)
    statement = Statement(CHAIN, MINER, items, case.builder.root, case.builder.units, answered=())
    check_proof(statement, proof, seed=SEED, samples=4)
    assert items.looked_at == {item.index for item in proof.items}
    assert len(items.looked_at) <= 4


def test_units_are_the_programs() -> None:
    assert USUAL.builder.units == sum(job.program.units for job in USUAL.jobs)
    check_units(USUAL.statement.items, USUAL.builder.units)


def test_a_recalled_trace_gives_the_same_proof_as_one_that_was_kept() -> None:
    builder = CommitBuilder(CHAIN, MINER, held_bytes=0)
    for job in USUAL.jobs:
        builder.add(job.item_id, job.program, job.run(), answered=job.answered, recall=job.run)
    assert builder.root == USUAL.builder.root
    assert builder.prove(SEED, 64) == USUAL.prove()


def test_a_machine_that_computes_otherwise_the_second_time_stops() -> None:
    job = commons_job(0)
    builder = CommitBuilder(CHAIN, MINER)

    def other() -> Trace:
        trace = job.run()
        return Trace(trace.weights, (*trace.tensors[:-1], trace.tensors[-1] + np.int8(1)))

    builder.add(job.item_id, job.program, job.run(), recall=other)
    with pytest.raises(BackendError, match="item 0 was run again and gave other bits"):
        builder.prove(SEED, 1)


def test_a_builder_refuses_what_it_cannot_hold_or_name() -> None:
    job = commons_job(0)
    with pytest.raises(CommitFull, match=r"a trace of \d+ bytes, room is left for 100"):
        CommitBuilder(CHAIN, MINER, held_bytes=100).add(job.item_id, job.program, job.run())
    builder = CommitBuilder(CHAIN, MINER)
    with pytest.raises(ValueError, match="nothing was added"):
        _ = builder.root
    builder.add(job.item_id, job.program, job.run())
    with pytest.raises(ValueError, match="is here already"):
        builder.add(job.item_id, job.program, job.run())
    with pytest.raises(ValueError, match="not 32 bytes"):
        builder.add(b"short", job.program, job.run())
    with pytest.raises(ValueError, match="at most 64"):
        CommitBuilder(bytes(65), MINER)


def test_the_root_does_not_depend_on_the_backend() -> None:
    fast = select_backend("auto")
    traces = [run_program(job.program, WEIGHTS, job.inputs, fast) for job in USUAL.jobs]
    assert make_case(USUAL.jobs, traces).builder.root == USUAL.builder.root


def test_vectors() -> None:
    """Whoever builds another client must get these roots and openings."""
    assert USUAL.builder.units == 62700
    assert USUAL.builder.root.hex() == "69c9f230aaf84a7e85cca65b1eabe81313f9556bd399f27f50750d4713eed3a6"
    proof = repr(USUAL.prove(b"seed", 8).to_fields()).encode()
    assert blake3(proof).hexdigest() == "73f25cf04d54ada9a847e0dbd7f7ec1429b9a4a76052d2ccd0d2c860b66909ff"


def test_a_proof_of_a_thousand_units_is_small() -> None:
    """Answers among the items included; the size does not depend on what the rows hold."""
    jobs = [*(paid_job(i, batch=16) for i in range(5)), *(commons_job(i, batch=16) for i in range(1024))]
    trace = jobs[0].run()
    case = make_case(jobs, [trace] * len(jobs))
    assert len(case.statement.items) == 1029
    assert measure(case.prove().to_fields(), limit=MAX_PROOF_BYTES) < 40 * 1024


def test_the_verifier_needs_numpy_and_blake3_alone() -> None:
    program = (
        "import sys; before = set(sys.modules); import pouw.proofs.verifier;"
        "print(*sorted({name.split('.')[0] for name in set(sys.modules) - before} - sys.stdlib_module_names))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = {name for name in done.stdout.split() if not name.startswith("_")}
    assert loaded == {"blake3", "numpy", "pouw"}
