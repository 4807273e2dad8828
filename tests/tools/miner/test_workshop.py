"""The work: inputs, restarts and memory."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genesis.digits import load_digits
from genesis.registry import digits_model
from pouw.backends.select import select_backend
from tests.tools.chain_node import chain_node
from tests.tools.miner.test_run import INPUTS, workshop
from tools.miner.plan import CommonsJob
from tools.miner.workshop import TaskJob, Unprovable

NODE = chain_node()
SHOP = workshop(NODE)
JOB = CommonsJob(0, bytes([3]) * 32, 5, 6)
BEACON = bytes([4]) * 32


def digits(*rows):
    images = load_digits().images[list(rows)]
    return TaskJob(bytes([rows[0] + 1]) * 32, digits_model().id, len(rows), images.tobytes())


@settings(max_examples=20)
@given(st.binary(min_size=32, max_size=32), st.integers(0, 2**40))
def test_commons_inputs_are_the_ledgers(seed, index):
    whole = INPUTS(seed, index, NODE.models.commons_batch)
    rows = [NODE.models.commons_row(seed, index, row) for row in range(NODE.models.commons_batch)]
    assert np.array_equal(whole, np.stack(rows))


def test_the_same_work_gives_the_same_commit_whatever_the_order_of_tasks():
    tasks = [digits(7), digits(2, 3), digits(4)]
    first, again = SHOP.work(tasks, JOB), SHOP.work(tasks[::-1], JOB)
    assert (first.root, first.units, first.answers) == (again.root, again.units, again.answers)
    assert [item.task for item in first.answers] == sorted(task.id for task in tasks)
    assert SHOP.prove(first, beacon=BEACON) == SHOP.prove(again, beacon=BEACON)


def test_another_backend_gives_the_same_bits():
    pytest.importorskip("torch")
    fast = replace(SHOP, backend=select_backend("cpu"))
    assert fast.work([digits(1)], JOB).root == SHOP.work([digits(1)], JOB).root


def test_little_memory_makes_a_smaller_commit_and_never_leaves_a_task_out():
    small = replace(SHOP, held_bytes=2_500)
    finished = small.work([], JOB)
    assert finished.commons is not None
    assert 0 < finished.commons.count < JOB.count
    assert small.prove(finished, beacon=BEACON)
    tiny = replace(SHOP, held_bytes=0)
    finished = tiny.work([digits(1, 2)], JOB)
    assert (finished.commons, len(finished.answers)) == (None, 1)
    assert tiny.prove(finished, beacon=BEACON) == SHOP.prove(SHOP.work([digits(1, 2)], None), beacon=BEACON)


def test_a_wrong_proof_never_leaves():
    finished = SHOP.work([digits(1)], None)
    answer = finished.answers[0]
    wrong = replace(finished, answers=(replace(answer, answer=bytes([answer.answer[0] ^ 1])),))
    with pytest.raises(Unprovable, match="ANSWER_MISMATCH"):
        SHOP.prove(wrong, beacon=BEACON)
