"""Random worlds: agreement always, progress after healing, nobody honest accused. Ids show the seeds."""

import pytest

from tests.simulation.plan import plan_of
from tests.simulation.play import play, world_of


@pytest.mark.parametrize("seed", range(12))
def test_a_random_world_of_four(seed: int) -> None:
    play(world_of(plan_of(seed, count=4, profile="consensus")))
