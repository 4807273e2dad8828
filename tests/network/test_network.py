"""Ten troubles on real wires: `pytest -m slow tests/network`; more by `python -m tests.network`."""

import random
from pathlib import Path

import pytest

from tests.network import namespaces
from tests.network.__main__ import campaign

TROUBLES = 10


@pytest.mark.slow
def test_every_node_is_back_after_every_trouble(tmp_path: Path):
    reason = namespaces.unavailable()
    if reason is not None:
        pytest.skip(reason)
    seed = random.SystemRandom().randrange(1, 1 << 32)
    print(f"python -m tests.network --seed {seed} --perturbations {TROUBLES}")
    troubles = campaign(tmp_path / "net", nodes=4, perturbations=TROUBLES, seed=seed)
    assert {trouble.kind for trouble in troubles} >= {"kill", "pause", "loss", "delay", "partition", "skew"}
