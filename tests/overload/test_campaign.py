"""A short run with real nodes: `pytest -m slow tests/overload`; in earnest `python -m tests.overload`."""

from pathlib import Path

import pytest

from tests.network.cluster import running_cluster
from tests.overload.campaign import SEED, Campaign
from tests.overload.report import NODES, described, untried


@pytest.mark.slow
def test_the_chain_is_saturated_and_then_flooded(tmp_path: Path):
    """Whether finality bears it depends on what else the machine does, and is not asked here."""
    with running_cluster(tmp_path / "net", nodes=NODES, seed=SEED) as cluster:
        report = Campaign(cluster, seconds=20, calm=20, say=print).run()
    print(described(report))
    assert untried(report) == []
