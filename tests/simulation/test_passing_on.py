"""A traitor that tells each of the others something else is convicted all the same, and soon."""

from dataclasses import replace

import pytest

from chain.execution import queries
from tests.simulation.judge import BUGS, hunt, is_right
from tests.simulation.keys import tags_are_signatures
from tests.simulation.plan import plan_of
from tests.simulation.sharing import shared_results
from tests.simulation.watch import CONVICTED_WITHIN
from tests.simulation.world import World

_RUNS_MS = 25_000


@pytest.mark.parametrize(("count", "traitors"), [(4, 1), (7, 2)])
def test_whisperers_are_convicted_within_ten_heights(count: int, traitors: int) -> None:
    """In a network that is well from the start, counted from the first height."""
    plan = replace(
        plan_of(1, count=count, profile="ledger"), habits=("whispering",) * traitors, epoch_length=12
    )
    with tags_are_signatures(), shared_results():
        world = World(plan)
        world.start()
        world.run(_RUNS_MS)
        world.watch.check_convictions()
    assert world.faults["whisper"] > 0
    assert min(world.heights()) > CONVICTED_WITHIN
    guilty = {node.key.public_key for node in world.nodes[:traitors]}
    assert {evidence.signer for _, evidence in world.watch.accusations} == guilty
    for node in world.honest:
        for key in sorted(guilty):
            conviction = queries.conviction(node.ledger.state, key)
            assert conviction is not None, f"{key.hex()} at height {node.height}"
            assert conviction.height <= CONVICTED_WITHIN


def test_without_passing_on_they_are_not() -> None:
    verdict = hunt(BUGS["does_not_pass_on"], cpu_minutes=1, seeds=6)
    assert is_right(verdict), verdict.told
    assert "contradicted itself" in verdict.found
