"""A seed is a run: three of them here, any number by `python -m tools.simulate --determinism`."""

from trio._core import _run

from tests.simulation.determinism import HASH_SEEDS, traces_of
from tests.simulation.plan import plan_of
from tests.simulation.shell import run_shell

SMALL = [seed for seed in range(60) if plan_of(seed).count == 4][:3]


def test_three_seeds_are_the_same_under_two_hash_seeds() -> None:
    first, second = (traces_of(SMALL, hash_seed) for hash_seed in HASH_SEEDS)
    assert first == second
    assert len(set(first)) == 3


def test_trio_still_has_what_the_seeded_schedule_needs() -> None:
    assert isinstance(_run._ALLOW_DETERMINISTIC_SCHEDULING, bool)
    assert callable(_run._r.seed)


def test_whole_nodes_under_a_seeded_schedule() -> None:
    one, again, other = run_shell(1), run_shell(1), run_shell(2)
    assert one == again
    assert one.trace != other.trace
