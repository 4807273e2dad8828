"""Miners that cheat, each in one way; what they hand over goes to the verifier as it is."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from pouw.models.mlp import mlp_program
from pouw.proofs.openings import ItemPlan
from pouw.proofs.proof import OpenedItem, Proof
from pouw.proofs.verifier import Statement, check_proof
from pouw.tensors import Array
from pouw.trace import Trace, run_program
from tests.pouw.taken_apart import Part, Reopen, change_item, change_weights, first_sent, plans
from tests.pouw.world import (
    CHAIN,
    MINER,
    REFERENCE,
    SEED,
    WEIGHTS,
    Case,
    Job,
    commons_job,
    int8s,
    make_case,
    make_model,
    paid_job,
    usual_case,
)

SAMPLES = 64


def judge(statement: Statement, proof: Proof, seed: bytes = SEED) -> None:
    """Hand a proof over; it goes through its wire form, as on a chain."""
    check_proof(statement, Proof.from_fields(proof.to_fields()), seed=seed, samples=SAMPLES)


# Miners that commit to something else than the work.


def faked(job: Job, tensor: int, change: Callable[[Array], Array]) -> Trace:
    """A trace in which one tensor is not what its op gives, and nothing else is touched."""
    trace = job.run()
    tensors = list(trace.tensors)
    tensors[tensor] = change(tensors[tensor].copy())
    return Trace(trace.weights, tuple(tensors))


def commit_to(change: Callable[[Job], Trace], jobs: list[Job] | None = None) -> None:
    """Commit to changed traces of some jobs, and prove as if nothing had happened."""
    jobs = jobs or [commons_job(i) for i in range(8)]
    case = make_case(jobs, [change(job) for job in jobs])
    judge(case.statement, case.prove())


def one_wrong_byte() -> None:
    """A single byte of a whole commit; the seed is one that draws its cell."""
    job = commons_job(0, batch=2)

    def flip(tensor: Array) -> Array:
        tensor[1, 5] += 1
        return tensor

    case = make_case([job], [faked(job, 1, flip)])
    for number in range(1000):
        seed = b"seed %d" % number
        judge(case.statement, case.prove(seed), seed)


def a_cheap_op_left_out() -> None:
    """The last op costs a thousandth of the units; draws by rows find it."""
    commit_to(lambda job: faked(job, 4, lambda classes: (classes + 1) % 10))


def zeros() -> None:
    commit_to(lambda job: faked(job, 2, np.zeros_like))


def random_matrices() -> None:
    """Everything is computed honestly, on inputs of the miner's own choice."""
    commit_to(lambda job: run_program(job.program, WEIGHTS, int8s("chosen", *job.inputs.shape), REFERENCE))


def inputs_of_another_unit() -> None:
    commit_to(lambda job: commons_job(int(job.item_id[0]) + 100).run())


def one_row_for_all() -> None:
    """The first row's work, copied to all rows of the unit."""
    commit_to(lambda job: run_program(job.program, WEIGHTS, np.repeat(job.inputs[:1], 4, axis=0), REFERENCE))


def another_model() -> None:
    """The right program, run with weights of the same shape that are not the model's."""
    _, others = make_model("cheaper")
    commit_to(lambda job: run_program(job.program, others, job.inputs, REFERENCE))


def another_answer() -> None:
    """The customer is told something else than what was committed."""
    job = paid_job(0)
    case = make_case([job, commons_job(0)])
    told = (job.run().answer + 1) % 10
    items = [job.work(told), case.statement.items[1]]
    judge(replace(case.statement, items=items), case.prove())


def an_answer_of_another_shape() -> None:
    job = paid_job(0)
    case = make_case([job])
    judge(replace(case.statement, items=[job.work(job.run().answer[:2])]), case.prove())


def an_answer_of_another_type() -> None:
    job = paid_job(0)
    case = make_case([job])
    judge(replace(case.statement, items=[job.work(job.run().answer.astype(np.int16))]), case.prove())


def an_unopened_answer() -> None:
    """The miner does not count the item among those that were answered."""
    job = paid_job(0)
    jobs = [replace(job, answered=False), *(commons_job(i, batch=64) for i in range(12))]
    case = make_case(jobs)
    items = [job.work(), *case.statement.items[1:]]
    proof = case.prove()
    assert proof.items[0].index, "drawn by chance; take another seed"
    judge(replace(case.statement, items=items), proof)


def a_smaller_batch() -> None:
    """Half of the rows, committed as if they were all; program and totals are claimed to be the right
    ones."""
    jobs = [commons_job(i, batch=4) for i in range(8)]
    half = [commons_job(i, batch=2) for i in range(8)]
    whole = jobs[0].program
    shrunk = replace(half[0].program, digest=whole.digest, unit_ends=whole.unit_ends)
    case = make_case([replace(job, program=shrunk) for job in half])
    judge(replace(case.statement, items=[job.work() for job in jobs]), case.prove())


def another_program() -> None:
    """A commit to runs of another model's program, opened as far as it can be."""
    jobs = [commons_job(i) for i in range(8)]
    manifest, others = make_model("other")
    program = mlp_program(manifest, 4)
    traces = [run_program(program, others, job.inputs, REFERENCE) for job in jobs]
    case = make_case([replace(job, program=program) for job in jobs], traces)
    judge(replace(case.statement, items=[job.work() for job in jobs]), case.prove())


# Miners that take what belongs to others, or elsewhere.


def taken_over(chain_id: bytes = CHAIN, miner: bytes = MINER, *, relabelled: bool) -> None:
    """Work that was committed and proven in another name, handed in under our root."""
    jobs = [commons_job(i) for i in range(8)]
    theirs = make_case(jobs, chain_id=chain_id, miner=miner)
    # The thief may put the victim's root on the chain; the draw follows from it.
    statement = Statement(
        CHAIN, MINER, [job.work() for job in jobs], theirs.builder.root, theirs.builder.units
    )
    proof = theirs.prove()
    judge(statement, replace(proof, chain_id=CHAIN, miner=MINER) if relabelled else proof)


def another_task() -> None:
    """The same inputs and program, committed under another item's id."""
    jobs = [commons_job(i) for i in range(8)]
    theirs = make_case([replace(job, item_id=job.item_id[::-1]) for job in jobs])
    judge(replace(theirs.statement, items=[job.work() for job in jobs]), theirs.prove())


def an_old_proof() -> None:
    case = usual_case()
    judge(case.statement, case.prove(b"an earlier beacon"))


def an_old_proof_relabelled() -> None:
    case = make_case([commons_job(i) for i in range(4)])
    judge(case.statement, replace(case.prove(b"an earlier beacon"), seed=SEED))


# Miners that count wrongly.


def inflated_commit() -> Case:
    """Claims twice its units for each item, in every sum and every draw."""
    jobs = [commons_job(i) for i in range(8)]
    program = jobs[0].program
    steps = tuple(replace(step, units_per_row=2 * step.units_per_row) for step in program.steps)
    doubled = replace(program, steps=steps, unit_ends=tuple(2 * units for units in program.unit_ends))
    case = make_case([replace(job, program=doubled) for job in jobs])
    return replace(case, statement=replace(case.statement, items=[job.work() for job in jobs]))


def twice_the_units() -> None:
    case = inflated_commit()
    judge(case.statement, case.prove())


def more_units_than_the_commit_claims() -> None:
    case = usual_case()
    proof = case.prove()
    judge(case.statement, replace(proof, units=proof.units + 1))


def more_units_than_the_commit_holds() -> None:
    case = usual_case()
    units = case.builder.units + 1
    judge(replace(case.statement, units=units), replace(case.prove(), units=units))


def sums_that_do_not_add_up() -> None:
    case = make_case([commons_job(i) for i in range(100)])
    proof = replace_sums(case.prove(), lambda sums: (sums[0] + 5, *sums[1:]))
    judge(case.statement, proof)


def sums_moved_elsewhere() -> None:
    """Units taken from one subtree and given to another: the total stays, the hashes do not."""
    case = make_case([commons_job(i) for i in range(100)])
    judge(case.statement, replace_sums(case.prove(), lambda sums: (*sums[:-2], sums[-2] - 1, sums[-1] + 1)))


def a_subtree_without_units() -> None:
    case = make_case([commons_job(i) for i in range(100)])
    judge(case.statement, replace_sums(case.prove(), lambda sums: (0, *sums[1:])))


def replace_sums(proof: Proof, change: Callable[[tuple[int, ...]], tuple[int, ...]]) -> Proof:
    assert len(proof.sum_units) > 2
    return replace(proof, sum_units=change(proof.sum_units))


def nothing_at_all() -> None:
    case = usual_case()
    judge(replace(case.statement, items=[]), case.prove())


# Miners that open something else than what was drawn.


def reopened(change: Callable[[OpenedItem], OpenedItem], which: int = 3) -> None:
    """Reopen the opening of one commons unit."""
    case = usual_case()
    proof = case.prove()
    items = [change(item) if place == which else item for place, item in enumerate(proof.items)]
    judge(case.statement, replace(proof, items=tuple(items)))


def other_rows(change: Reopen, which: int = 3) -> None:
    """Open something else of one commons unit."""
    case = usual_case()
    judge(
        case.statement,
        change_item(case.statement, case.prove(), change, which=which, samples=SAMPLES),
    )


def another_first(change: Callable[[Part], Part]) -> None:
    """Reopen the first opened rows of one commons unit."""
    other_rows(lambda parts: first_sent(parts, change))


def open_items(change: Callable[[Case, Proof], tuple[OpenedItem, ...]]) -> None:
    """Reopen which items are opened."""
    case = usual_case()
    proof = case.prove()
    judge(case.statement, replace(proof, items=change(case, proof)))


def open_weights(change: Callable[[Proof], Proof]) -> None:
    """Reopen the opened rows of the model."""
    case = usual_case()
    judge(case.statement, change(case.prove()))


def other_weights(change: Reopen) -> None:
    """Open other rows of the model."""
    case = usual_case()
    judge(case.statement, change_weights(case.statement, case.prove(), change, samples=SAMPLES))


def the_same_task_twice() -> None:
    """One task listed, run and claimed twice."""
    jobs = [commons_job(0), commons_job(1)]
    case = make_case(jobs)
    work = jobs[0].work()
    judge(replace(case.statement, items=[work, work]), case.prove())


def an_item_that_nobody_drew() -> None:
    """A proof for more draws than the chain makes."""
    case = make_case([commons_job(i) for i in range(300)])
    judge(case.statement, case.builder.prove(SEED, 2 * SAMPLES))


def fewer_draws() -> None:
    """A proof of half of the draws: whatever it opens is right."""
    case = make_case([commons_job(i) for i in range(300)])
    judge(case.statement, case.builder.prove(SEED, SAMPLES // 2))


def one_draw_too_many() -> None:
    """One item more than was drawn, within the number that may be opened."""
    case = make_case([commons_job(i) for i in range(300)])
    for number in range(100):
        seed = b"seed %d" % number
        drawn, more = case.prove(seed), case.prove(seed, SAMPLES + 1)
        if len(drawn.items) < len(more.items) <= SAMPLES:
            judge(case.statement, more, seed)


def rows_of_the_input() -> None:
    """Rows that the verifier knows, sent along although nobody looks at them."""
    other_rows(
        lambda parts: [
            replace(part, data=bytes(len(part.stretch.bytes_of(part.spec))))
            if part.stretch.tensor == 0
            else part
            for part in parts
        ],
        which=next(i for i, item in enumerate(usual_plans()) if item.leaves[0][0] == 0),
    )


def usual_plans() -> list[ItemPlan]:
    """What the items of the usual case open."""
    case = usual_case()
    return list(plans(case.statement, case.prove(), SAMPLES).values())
