"""Every cheat of the red team, found as often as the sampling rule says; honest work, never refused."""

import json

import pytest

from pouw.proofs.proof import ProofReason
from tests.pouw.red_team import ATTACKS, main, measure


def trials(name: str) -> int:
    """Enough to see both ends of an attack; a step of text takes three times as long as anything else."""
    return 12 if "text" in name or "shard" in name else 30


HONEST = [name for name in ATTACKS if name.startswith("honest")]
CERTAIN = [name for name, attack in ATTACKS.items() if attack.certain]


@pytest.mark.parametrize("name", HONEST)
def test_honest_work_is_never_refused(name: str) -> None:
    result = measure(name, trials(name))
    assert (result.units, result.tensors, result.found) == (0, 0, 0), result


@pytest.mark.parametrize("name", CERTAIN)
def test_what_is_bound_is_always_found(name: str) -> None:
    result = measure(name, 10)
    assert result.found == 100, result
    assert len(result.reasons) == 1
    assert ProofReason.WRONG_CELL.name not in result.reasons


@pytest.mark.parametrize("name", [name for name in ATTACKS if name not in {*HONEST, *CERTAIN}])
def test_a_cheat_is_found_exactly_when_a_bad_cell_is_drawn(name: str) -> None:
    """Trial for trial, whatever the rate; and the rate is that of the arithmetic."""
    result = measure(name, trials(name))
    assert result.predicted > 0, result
    assert not result.surprises, result
    assert result.ok, result


def test_the_command_prints_a_table_or_json(capsys: pytest.CaptureFixture[str]) -> None:
    name = "sampled by another seed"
    assert main(["--trials", "20", "--attack", name]) == 0
    header, _, row = capsys.readouterr().out.splitlines()
    assert header.count("|") == row.count("|")
    assert row.startswith(f"| {name} |")
    assert main(["--trials", "20", "--attack", name, "--json"]) == 0
    (result,) = json.loads(capsys.readouterr().out)
    assert result["ok"] and set(result["reasons"]) == {"WRONG_CELL"}
