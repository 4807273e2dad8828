"""The work: inputs, restarts and memory."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.execution import queries
from genesis.digits import load_digits
from genesis.registry import digits_model
from pouw.backends.select import select_backend
from tests.tools.chain_node import chain_node
from tests.tools.miner.test_run import workshop
from tools.miner.models import commons_inputs
from tools.miner.plan import CommonsJob, TrainingRound
from tools.miner.workshop import TaskJob, Unprovable

NODE = chain_node()
SHOP = workshop(NODE)
JOB = CommonsJob(5, 6)
NUMBERS = queries.checkpoint(NODE.state, 0)
MODEL = SHOP.trained(TrainingRound(0, bytes([3]) * 32, 0), NUMBERS)
BEACON = bytes([4]) * 32


def digits(*rows):
    images = load_digits().images[list(rows)]
    return TaskJob(bytes([rows[0] + 1]) * 32, digits_model().id, len(rows), images.tobytes())


@settings(max_examples=20, deadline=None)
@given(st.binary(min_size=32, max_size=32), st.integers(0, 2**40))
def test_commons_inputs_are_the_ledgers(seed, start):
    commons = NODE.models.commons
    whole = commons_inputs(commons)(seed, start, 2)
    rows = [commons.input_row(seed, start, row) for row in range(2 * commons.voted.training.batch)]
    assert np.array_equal(whole, np.stack(rows))


def test_the_same_work_gives_the_same_commit_whatever_the_order_of_tasks():
    tasks = [digits(7), digits(2, 3), digits(4)]
    first, again = SHOP.work(tasks, JOB, MODEL), SHOP.work(tasks[::-1], JOB, MODEL)
    assert (first.root, first.units, first.answers, first.vote) == (
        again.root, again.units, again.answers, again.vote,
    )  # fmt: skip
    assert [item.task for item in first.answers] == sorted(task.id for task in tasks)
    assert SHOP.prove(first, beacon=BEACON) == SHOP.prove(again, beacon=BEACON)


def test_another_backend_gives_the_same_bits():
    pytest.importorskip("torch")
    fast = replace(SHOP, backend=select_backend("cpu"))
    assert fast.work([digits(1)], JOB, MODEL).root == SHOP.work([digits(1)], JOB, MODEL).root


def test_little_memory_runs_again_what_is_drawn():
    tiny = replace(SHOP, held_bytes=0)
    finished = tiny.work([digits(1, 2)], JOB, MODEL)
    assert (finished.commons, len(finished.answers)) == (JOB, 1)
    assert tiny.prove(finished, beacon=BEACON) == SHOP.prove(
        SHOP.work([digits(1, 2)], JOB, MODEL), beacon=BEACON
    )


def test_the_commons_model_answers_with_the_checkpoint_of_its_round():
    commons = NODE.models.commons
    task = replace(digits(1, 2), model=commons.id)
    finished = SHOP.work([task], None, MODEL)
    assert SHOP.prove(finished, beacon=BEACON)
    other = bytearray(NUMBERS)
    other[:2048] = bytes(2048)
    poisoned = replace(SHOP.trained(MODEL.round, bytes(other)), roots=MODEL.roots)
    with pytest.raises(Unprovable, match="WEIGHT_NOT_IN_MODEL"):
        replace(SHOP, samples=64).prove(SHOP.work([task], JOB, poisoned), beacon=BEACON)


def test_a_wrong_proof_never_leaves():
    finished = SHOP.work([digits(1)], None, MODEL)
    answer = finished.answers[0]
    wrong = replace(finished, answers=(replace(answer, answer=bytes([answer.answer[0] ^ 1])),))
    with pytest.raises(Unprovable, match="ANSWER_MISMATCH"):
        SHOP.prove(wrong, beacon=BEACON)
