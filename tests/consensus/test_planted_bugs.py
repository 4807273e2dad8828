"""The simulation judged: every planted bug must be found, and a world with too many traitors must fork."""

import pytest

from consensus.tree import SafetyViolation
from tests.consensus import mutants
from tests.consensus.nemesis import play, world_of
from tests.consensus.node import Node
from tests.consensus.world import Violation


def hunt(
    seeds: range, count: int, traitors: int, *, node_type: type[Node] = Node, heeds_speech: bool = True
) -> str:
    """What the first seed that finds anything says; empty if none does."""
    for seed in seeds:
        world = world_of(seed, count, traitors=traitors, node_type=node_type)
        world.heeds_speech = heeds_speech
        try:
            play(world)
        except (Violation, SafetyViolation) as found:
            return str(found)
    return ""


def is_unsafe(found: str) -> bool:
    """Two final blocks at one height, or a node that stopped at certificates that contradict."""
    return any(word in found for word in ("forks at height", "conflicts with final", "has both"))


@pytest.mark.parametrize("heeds_speech", [True, False], ids=["by-speech", "by-its-effects"])
def test_finalize_after_nullify_is_found(heeds_speech: bool) -> None:
    found = hunt(range(12), 4, 1, node_type=mutants.FinalizesAfterNullify, heeds_speech=heeds_speech)
    assert "NULLIFY" in found


def test_votes_forgotten_at_a_restart_are_found() -> None:
    assert "said" in hunt(range(12), 4, 0, node_type=mutants.ForgetsItsVotes)


def test_a_rebuilt_proposal_is_found() -> None:
    assert "PROPOSE" in hunt(range(12), 4, 0, node_type=mutants.RebuildsProposals)


def test_silence_instead_of_resending_is_found() -> None:
    assert "stall" in hunt(range(12), 4, 0, node_type=mutants.NeverResends)


def test_a_quorum_of_one_half_forks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consensus.votes.is_quorum", lambda seats, total: 2 * seats > total)
    assert is_unsafe(hunt(range(12), 7, 2))


def test_control_two_of_four_traitors_break_it() -> None:
    """No protocol stands more than a third two-faced; a simulation in which one does shows nothing."""
    found = [hunt(range(seed, seed + 1), 4, 2) for seed in range(12)]
    assert any(is_unsafe(what) for what in found), found


@pytest.mark.slow
def test_bodies_lost_in_a_power_cut_are_found() -> None:
    assert "stall" in hunt(range(120), 4, 0, node_type=mutants.KeepsNothing)
