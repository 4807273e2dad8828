"""A testnet under a load it cannot bear: `python -m tests.overload --seconds 600`.

Four validators with their miners. First nobody loads them, which is the baseline; then one peer offers as
much as they take, which is the saturation; then it offers five times that, half of it old, for as long as
asked; then it leaves. Reported: how far apart final blocks are in each phase (from the logs of the nodes),
their memory, and frames of consensus that found a queue full.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from tests.house import ROOT
from tests.network.cluster import Cluster, running_cluster
from tests.network.machine import Machine, eventually
from tests.overload.hostile import Order
from tools.rpc.messages import AccountView, PeerLine
from tools.testnet.plan import TestnetOptions, address_of, dial_address, plan_testnet, port_count

START_S = 120.0
TIMES = 5
SEED = 1
RECOVERY_S = 30.0
"""After which all must be as before."""
_FINAL = re.compile(r"^(\S+ \S+) INFO consensus\.engine event=finalized height=(\d+) ")


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of the run, and how it went: milliseconds between final blocks, over all nodes."""

    name: str
    began: float
    ended: float
    blocks: int
    median_ms: int
    p99_ms: int
    longest_ms: int


@dataclass(frozen=True, slots=True)
class Report:
    """The whole run."""

    saturation_per_s: int
    offered_per_s: int
    hostile: dict[str, int]
    peak_memory_mib: int
    lost_consensus_frames: int
    phases: tuple[Phase, ...]

    def p99_ms(self, name: str) -> int:
        """Of a phase."""
        return next(item.p99_ms for item in self.phases if item.name == name)


def phase(cluster: Cluster, name: str, began: float, ended: float) -> Phase:
    """Read a stretch of time from the nodes' logs."""
    gaps: list[float] = []
    for machine in cluster.machines:
        times = [at for at in finals(machine) if began <= at < ended]
        gaps += [after - before for before, after in pairwise(times)]
    gaps.sort()
    at = [round(1000 * gaps[min(len(gaps) - 1, len(gaps) * share // 100)]) for share in (50, 99, 100)]
    return Phase(name, began, ended, len(gaps) // len(cluster.machines), *at)


def finals(machine: Machine) -> list[float]:
    """When a node has said that a block was final, seconds since 1970."""
    lines = machine.log.read_text(encoding="utf-8", errors="replace").splitlines()
    found = (match for line in lines if (match := _FINAL.match(line)))
    return [datetime.strptime(match[1], "%Y-%m-%d %H:%M:%S,%f").timestamp() for match in found]


def memory_mib(machine: Machine) -> int:
    """Resident memory of a node."""
    status = Path(f"/proc/{machine.processes['node'].pid}/status").read_text(encoding="utf-8")
    return int(status.split("VmRSS:")[1].split()[0]) >> 10


def lost_frames(cluster: Cluster) -> int:
    """Consensus frames that found a queue full, over all nodes and peers."""
    lines = [machine.ask(tuple[PeerLine, ...], "peers") or () for machine in cluster.machines]
    return sum(peer.dropped_consensus for peers in lines for peer in peers)


def hostile(cluster: Cluster, *, rate: int, seconds: float, again: bool) -> dict[str, int]:
    """Flood one validator, and return what the peer says of it."""
    folder = cluster.machines[0].folder
    options = TestnetOptions(validators=len(cluster.machines), seed=str(SEED))
    keys = [account.key for account in plan_testnet(options, [0] * port_count(options)).accounts]
    views = [cluster.machines[1].ask(AccountView, "account", address=address_of(key)) for key in keys]
    order = Order(
        genesis=str(folder / "genesis.json"),
        peers=(dial_address(cluster.machines[0].plan),),
        seeds=tuple(key.seed.hex() for key in keys),
        nonces=tuple(view.next_nonce for view in views if view is not None),
        rate=rate,
        seconds=seconds,
        again=again,
    )
    assert len(order.nonces) == len(keys), "the node does not answer"
    command = [sys.executable, "-m", "tests.overload.hostile", json.dumps(asdict(order))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    count: dict[str, int] = json.loads(done.stdout)
    return count


def transfers(cluster: Cluster) -> int:
    """Transfers that the chain has taken up to now: the nonces of the funded accounts."""
    options = TestnetOptions(validators=len(cluster.machines), seed=str(SEED))
    keys = [account.key for account in plan_testnet(options, [0] * port_count(options)).accounts]
    views = [cluster.machines[1].ask(AccountView, "account", address=address_of(key)) for key in keys]
    return sum(view.nonce for view in views if view is not None)


def watch_memory(cluster: Cluster, stop: threading.Event, peak: list[int]) -> None:
    """Note the largest memory of any node, twice a second."""
    while not stop.wait(0.5):
        peak[0] = max(peak[0], *(memory_mib(machine) for machine in cluster.machines))


def campaign(cluster: Cluster, *, seconds: float, calm: float) -> Report:
    """All phases, and what they say together."""
    eventually(cluster.heights, lambda heights: min(heights) >= 10, within=START_S, what="ten blocks")
    phases = []
    began = time.time()
    time.sleep(calm)
    phases.append(phase(cluster, "baseline", began, time.time()))
    before, began = transfers(cluster), time.time()
    hostile(cluster, rate=0, seconds=calm / 2, again=False)
    saturation = round((transfers(cluster) - before) / (time.time() - began))
    phases.append(phase(cluster, "saturation", began, time.time()))
    time.sleep(calm / 2)

    peak, stop = [0], threading.Event()
    watcher = threading.Thread(target=watch_memory, args=(cluster, stop, peak))
    watcher.start()
    began = time.time()
    count = hostile(cluster, rate=TIMES * max(1, saturation), seconds=seconds, again=True)
    ended = time.time()
    stop.set()
    watcher.join()
    phases.append(phase(cluster, "overload", began, ended))
    time.sleep(RECOVERY_S + calm)
    phases.append(phase(cluster, "recovery", ended, ended + RECOVERY_S))
    phases.append(phase(cluster, "afterwards", ended + RECOVERY_S, time.time()))
    return Report(
        saturation_per_s=saturation,
        offered_per_s=round(count["offered"] / seconds),
        hostile=count,
        peak_memory_mib=peak[0],
        lost_consensus_frames=lost_frames(cluster),
        phases=tuple(phases),
    )


def main(arguments: Sequence[str]) -> int:
    """Run it; 0 if finality stays within twice the baseline and nothing of consensus is lost."""
    parser = argparse.ArgumentParser(prog="python -m tests.overload", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="of overload (60)")
    parser.add_argument("--calm", type=float, default=60, help="of baseline, and afterwards (60)")
    options = parser.parse_args(arguments)
    with (
        tempfile.TemporaryDirectory(prefix="headrace-overload-") as scratch,
        running_cluster(Path(scratch) / "net", nodes=4, seed=SEED) as cluster,
    ):
        report = campaign(cluster, seconds=options.seconds, calm=options.calm)
    print(json.dumps(asdict(report), indent=2))
    baseline, under, after = (report.p99_ms(name) for name in ("baseline", "overload", "afterwards"))
    well = under <= 2 * baseline and report.lost_consensus_frames == 0
    verdict = "ok" if well else "SHORT"
    print(f"finality p99 {baseline} ms without load, {under} ms under, {after} ms after: {verdict}")
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
