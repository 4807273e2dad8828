"""Real nodes on a network that goes wrong: `python -m tests.network --perturbations 200 --nodes 4`.

Needs root, iproute2 and util-linux. Each trouble follows from the seed; what real processes make of it does
not.
"""

import argparse
import json
import random
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tests.network import namespaces
from tests.network.cluster import wired_cluster
from tests.network.machine import eventually
from tests.network.nemesis import Nemesis, Trouble
from tests.tools.testnet.live import contradictions

START_S = 120.0


def campaign(folder: Path, *, nodes: int, perturbations: int, seed: int) -> list[Trouble]:
    """Run a cluster through trouble.

    Raises:
        AssertionError: A fork, a contradiction in a signing log, or a node that did not come back in time.
    """
    with wired_cluster(folder, nodes=nodes, seed=seed) as cluster:
        eventually(cluster.heights, lambda heights: min(heights) >= 3, within=START_S, what="three blocks")
        nemesis = Nemesis(cluster, seed)
        troubles: list[Trouble] = []
        checked = 1
        for number in range(1, perturbations + 1):
            troubles.append(nemesis.strike(number))
            print(json.dumps(asdict(troubles[-1])), flush=True)
            if number % 10 == 0 or number == perturbations:
                forks = cluster.forks(checked)
                assert not forks, forks
                checked = min(cluster.heights()) + 1
        signed = {machine.name: contradictions(machine.signed()) for machine in cluster.machines}
        assert not any(signed.values()), signed
        assert cluster.switch.stdin is not None and cluster.switch.stdout is not None
        cluster.switch.stdin.close()
        print(f"wires: {cluster.switch.stdout.readline().strip()}; final height {checked - 1}", flush=True)
        return troubles


def main(arguments: Sequence[str]) -> int:
    """Run the campaign; 0 if nothing broke."""
    parser = argparse.ArgumentParser(prog="python -m tests.network", description=__doc__)
    parser.add_argument("--perturbations", type=int, default=20)
    parser.add_argument("--nodes", type=int, default=4, choices=range(4, 8))
    parser.add_argument("--seed", type=int, default=0, help="0 draws one")
    parser.add_argument("--folder", type=Path, help="keeps the testnet's folder here")
    options = parser.parse_args(arguments)
    reason = namespaces.unavailable()
    if reason is not None:
        print(f"cannot run here: {reason}", file=sys.stderr)
        return 2
    seed = options.seed or random.SystemRandom().randrange(1, 1 << 32)
    print(f"--seed {seed} --nodes {options.nodes}", flush=True)
    with tempfile.TemporaryDirectory(prefix="headrace-network-") as scratch:
        folder = options.folder or Path(scratch) / "net"
        troubles = campaign(folder, nodes=options.nodes, perturbations=options.perturbations, seed=seed)
    times = sorted(trouble.back_s for trouble in troubles)
    print(
        f"{len(times)} perturbations, 0 forks, 0 contradictions; back after {times[len(times) // 2]:.1f} s "
        f"(median), {times[len(times) * 99 // 100]:.1f} s (99 %), {times[-1]:.1f} s (longest)"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
