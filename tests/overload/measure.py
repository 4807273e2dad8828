"""What is measured of the nodes from outside: times of final blocks, memory, links between validators."""

import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Final, TypeVar

from tests.network.cluster import Cluster
from tests.network.machine import Machine, eventually
from tools.rpc.messages import CommitteeView, PeerLine, Status
from tools.testnet.peer_id import peer_id

_ANSWER_S: Final = 60.0
_T = TypeVar("_T")
_FINAL = re.compile(r"^(\S+ \S+) INFO consensus\.engine event=finalized height=(\d+) ")


@dataclass(frozen=True, slots=True)
class Gap:
    """Between two final blocks of one node; seconds since 1970."""

    began: float
    ended: float

    @property
    def ms(self) -> int:
        """How long it was."""
        return round(1000 * (self.ended - self.began))


@dataclass(frozen=True, slots=True)
class Links:
    """Between validators."""

    lost_frames: int
    """Consensus frames that found the queue to another validator full."""
    broken: int
    """Links that are not there, or are younger than the stretch: what was on its way may be lost, and the
    count of lost frames began anew."""


def gaps(times: Sequence[float], began: float, ended: float) -> list[Gap]:
    """Gaps of one node that end within a stretch, and the one that is open at its end.

    Args:
        times: when the node said that a block was final, in order, from before the stretch on.
        began: of the stretch.
        ended: of the stretch.
    """
    found = [Gap(before, after) for before, after in pairwise(times) if began <= after < ended]
    last = max((at for at in times if at < ended), default=began)
    return [*found, Gap(last, ended)]


def quantile_ms(found: Sequence[Gap], percent: int) -> int:
    """So many percent of the gaps are not longer."""
    ordered = sorted(gap.ms for gap in found)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


def last_long(found: Sequence[Gap], since: float, within_s: float, *, limit_ms: int) -> float:
    """Seconds from a moment to the end of the last long gap that began within a time; 0 if there is none.

    Args:
        found: gaps of all nodes.
        since: the moment, seconds since 1970.
        within_s: the time.
        limit_ms: a longer gap is long.
    """
    long = (gap for gap in found if gap.ms > limit_ms and gap.ended > since and gap.began < since + within_s)
    return max((gap.ended - since for gap in long), default=0.0)


def finals(machine: Machine) -> list[float]:
    """When a node has said that a block was final, seconds since 1970."""
    lines = machine.log.read_text(encoding="utf-8", errors="replace").splitlines()
    found = (match for line in lines if (match := _FINAL.match(line)))
    return [datetime.strptime(match[1], "%Y-%m-%d %H:%M:%S,%f").timestamp() for match in found]


def memory_mib(cluster: Cluster) -> int:
    """Resident memory of the node that has most."""
    return max(_resident_mib(machine) for machine in cluster.machines)


def _resident_mib(machine: Machine) -> int:
    status = Path(f"/proc/{machine.processes['node'].pid}/status").read_text(encoding="utf-8")
    return int(status.split("VmRSS:")[1].split()[0]) >> 10


class MemoryWatch:
    """Notes the largest memory of any node, twice a second, in two halves of a stretch."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._seen: list[int] = []

    def __enter__(self) -> "MemoryWatch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def halves(self) -> tuple[int, int]:
        """The largest in MiB of the first half, and of the second."""
        middle = len(self._seen) // 2
        return max(self._seen[:middle], default=0), max(self._seen[middle:], default=0)

    def _run(self) -> None:
        while not self._stop.wait(0.5):
            self._seen.append(memory_mib(self._cluster))


def voters(cluster: Cluster) -> int:
    """Validators with seats in a committee that came from work; 0 as long as it is that of the genesis."""
    committee = _asked(cluster.machines[0], CommitteeView, "committee")
    return 0 if committee.from_genesis else len(committee.validators)


def waiting(cluster: Cluster) -> int:
    """Transactions in the fullest mempool."""
    return max(_asked(machine, Status, "status").mempool for machine in cluster.machines)


def links(cluster: Cluster, *, within_ms: int) -> Links:
    """How the links between validators fared in so many milliseconds up to now.

    Raises:
        AssertionError: A node does not answer.
    """
    ids = [peer_id(machine.plan.peer.public_key) for machine in cluster.machines]
    lost = broken = 0
    for machine, own in zip(cluster.machines, ids, strict=True):
        lines = [line for line in _asked(machine, tuple[PeerLine, ...], "peers") if line.peer in ids]
        lost += sum(line.dropped_consensus for line in lines)
        old = {line.peer for line in lines if line.connected_ms >= within_ms}
        broken += sum(peer not in old for peer in ids if peer != own)
    return Links(lost, broken)


def _asked(machine: Machine, result: type[_T], method: str) -> _T:
    """An answer of a node that may be busy.

    Raises:
        AssertionError: It does not answer.
    """
    answers: list[_T] = []

    def ask() -> bool:
        answer = machine.ask(result, method)
        answers.extend([] if answer is None else [answer])
        return bool(answers)

    eventually(ask, bool, within=_ANSWER_S, what=f"{method} of {machine.name}")
    return answers[0]
