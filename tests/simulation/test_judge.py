"""The simulator judged: some planted bugs here, all of them by `python -m tools.simulate --judge`."""

import pytest

from tests.simulation.campaign import Order, run_campaign
from tests.simulation.judge import BUGS, CANARY, CONTROL, hunt, is_right

QUICK = (
    "quorum_of_half", "finalizes_after_nullify", "forgets_its_votes", "rebuilds_proposals",
    "signs_without_sync", "commits_without_sync", "committee_of_yesterday", "never_resends",
    "nonce_reuse", "credits_twice", "proof_unchecked", "slashes_the_honest", "burns_nothing",
)  # fmt: skip
"""Those that a seed or two show."""


@pytest.mark.parametrize("name", QUICK)
def test_a_planted_bug_is_found(name: str) -> None:
    verdict = hunt(BUGS[name], cpu_minutes=1, seeds=6)
    assert is_right(verdict), verdict.told


def test_the_control_forks_and_the_canary_fails_at_once() -> None:
    for bug in (CONTROL, CANARY):
        verdict = hunt(bug, cpu_minutes=1, seeds=6)
        assert is_right(verdict), verdict.told


def test_there_are_enough_bugs() -> None:
    assert len(BUGS) >= 20


def test_a_run_that_does_less_than_its_budget_fails() -> None:
    done = run_campaign(Order(range(2), (4,), ("consensus",)))
    assert done.is_good, done.told()
    short = run_campaign(Order(range(2), (4,), ("consensus",), hours=100))
    assert not short.is_good
    assert "100 simulated hours" in short.told()
    cut = run_campaign(Order(range(50), (4,), ("consensus",), cpu_minutes=1e-6))
    assert cut.shortfall == "1 of 50 seeds"


def test_a_failure_tells_how_to_repeat_it(capsys: pytest.CaptureFixture[str]) -> None:
    with CANARY.planted():
        summary = run_campaign(Order(range(3, 4), (4,), ("consensus",)))
    assert not summary.is_good
    told = capsys.readouterr().out
    assert "FAILED seed 3 at commit" in told
    assert "--replay 3 --nodes 4 --profile consensus" in told
