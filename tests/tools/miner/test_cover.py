"""What a bond covers, by the ledger's own arithmetic."""

from hypothesis import given
from hypothesis import strategies as st

from tests.tools.miner.test_plan import COVER, PARAMS, task

MOST = PARAMS.max_commons_units


@given(free=st.integers(0, 2 * COVER.full), at_most=st.integers(1, MOST))
def test_the_most_shards_are_covered_and_one_more_is_not(free, at_most):
    count = COVER.most_shards(free, at_most=at_most)
    assert 0 <= count <= at_most
    assert not count or COVER.of_shards(count) <= free
    assert count == at_most or COVER.of_shards(count + 1) > free


def test_more_shards_never_put_less_at_stake():
    found = [COVER.of_shards(count) for count in range(1, MOST + 1)]
    assert found == sorted(found)
    assert found[-1] == COVER.full


TASKS = st.lists(
    st.tuples(st.integers(1, 64), st.integers(1, 200), st.integers(1, 30)), min_size=1, max_size=6
)


@given(drawn=TASKS, free=st.integers(0, 4 * PARAMS.min_bond))
def test_tasks_go_together_where_that_is_covered_and_no_dearer(drawn, free):
    tasks = [
        task(number, 100 + due, rows=rows, payment=coins * 10**6)
        for number, (rows, coins, due) in enumerate(drawn)
    ]
    chosen = COVER.together(tasks, free=free)
    first = min(tasks, key=lambda task: (task.due, task.id))
    assert list(chosen) == sorted(chosen, key=lambda task: task.id)
    if not chosen:
        assert COVER.of_tasks([first]) > free
        return
    assert first in chosen
    assert COVER.of_tasks(chosen) <= min(free, sum(COVER.of_tasks([task]) for task in chosen))
