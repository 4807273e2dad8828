"""Random worlds: agreement always, progress after healing, nobody honest accused. Ids show the seeds."""

from dataclasses import replace

import pytest

from tests.simulation.habits import HABITS
from tests.simulation.plan import CONSENSUS_HABITS, LEDGER_HABITS, plan_of
from tests.simulation.play import play, world_of


@pytest.mark.parametrize(
    ("profile", "seed"), [("consensus", seed) for seed in range(6)] + [("ledger", seed) for seed in range(2)]
)
def test_a_random_world_of_four(profile: str, seed: int) -> None:
    play(world_of(plan_of(seed, count=4, profile=profile)))


@pytest.mark.parametrize("count", [7, 10])
def test_a_larger_world(count: int) -> None:
    play(world_of(replace(plan_of(3, count=count, profile="consensus"), rounds=1)))


@pytest.mark.parametrize("habit", sorted(HABITS))
def test_a_world_with_one_traitor_of_each_kind(habit: str) -> None:
    profile = "ledger" if habit in LEDGER_HABITS else "consensus"
    plan = replace(plan_of(5, count=4, profile=profile), habits=(habit,), rounds=1)
    play(world_of(plan))


def test_every_way_to_betray_is_drawn_by_some_plan() -> None:
    assert set(HABITS) == {*CONSENSUS_HABITS, *LEDGER_HABITS}
    drawn = {habit for seed in range(300) for habit in plan_of(seed).habits}
    assert drawn == set(HABITS)
