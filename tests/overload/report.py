"""What a run has measured, and whether that is what was promised."""

from dataclasses import dataclass
from typing import Final

from chain.mempool import MempoolLimits
from p2p.limits import Limits
from tests.overload.measure import Links
from tests.overload.samples import Rates
from tools.node.intake import PEER_BYTES

TIMES: Final = 5
"""Times saturation that the flood offers."""
RECOVERY_S: Final = 30.0
"""After which all must be as before."""
NODES: Final = 4
LEAST_OFFERED: Final = 0.95
"""Part of the ordered load that must have been offered."""
MOST_SHORT: Final = 0.1
"""Share of blocks that may leave less on its way than they took, or the saturation is the peer's, not the
chain's."""

_LIMITS: Final = Limits()
_TRANSACTION_BYTES: Final = 2048
"""A waiting transfer as objects: 900 bytes measured, and as much again for what the allocator leaves free."""
_BLOCKS_BYTES: Final = 64 << 20
"""Eight full blocks as objects: those executed ahead of the final one, and what is being read and built."""
GROWTH_MIB: Final = (
    MempoolLimits().transactions * _TRANSACTION_BYTES
    + NODES * (PEER_BYTES + _LIMITS.inbox_bytes + _LIMITS.queue_bytes)
    + _BLOCKS_BYTES
) >> 20
"""What a node may need more under any load: a full mempool, and for each of its peers (three validators and
the hostile one) full queues of transactions; and blocks. All of these are bounds in the node's own code."""
CREEP_MIB: Final = 32
CREEP: Final = 1.1
"""Memory of the flood's second half, as against its first: what is bounded does not go on growing."""


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of the run: milliseconds between final blocks, over all nodes."""

    name: str
    seconds: float
    blocks: int
    landed_per_s: float
    """Transfers of the load that became final."""
    proofs_per_s: float
    """Proofs of miners that became final."""
    median_ms: int
    p99_ms: int
    longest_ms: int


@dataclass(frozen=True, slots=True)
class Memory:
    """Of the node that has most, MiB."""

    begin: int
    """At the end of the baseline."""
    first_half: int
    """Largest in the first half of the flood."""
    second_half: int
    end: int
    """When the run ended."""

    @property
    def peak(self) -> int:
        """Largest in the flood."""
        return max(self.first_half, self.second_half)


@dataclass(frozen=True, slots=True)
class Report:
    """The whole run."""

    phases: tuple[Phase, ...]
    saturation: Rates
    """Without the ramp at its beginning."""
    flood: Rates
    voters: int
    """Validators with seats at the worst moment."""
    memory: Memory
    links: Links
    normal_after_s: float
    """Seconds from the flood's end to that of the last gap that began within `RECOVERY_S` and was longer than
    twice the baseline's 99th percentile."""

    def phase(self, name: str) -> Phase:
        """By its name."""
        return next(phase for phase in self.phases if phase.name == name)


def shortcomings(report: Report) -> list[str]:
    """Everything that is not as promised, or was not tried as asked; empty if all is well."""
    return [*untried(report), *_broken(report)]


def untried(report: Report) -> list[str]:
    """What the run did less than it was asked for; empty if it did all."""
    found = []
    saturation, flood = report.saturation, report.flood
    if saturation.landed_per_s < 1:
        found.append("saturation not found: hardly a transaction became final")
    if saturation.short > MOST_SHORT:
        found.append(
            f"saturation not found: {saturation.short:.0%} of its blocks left less on its way than they "
            f"took, at most {MOST_SHORT:.0%} may"
        )
    wanted = TIMES * saturation.landed_per_s
    if flood.offered_per_s < LEAST_OFFERED * wanted:
        found.append(f"offered {flood.offered_per_s:.0f} a second, {wanted:.0f} was asked for")
    if flood.connected < NODES:
        found.append(f"the hostile peer was connected to {flood.connected} of {NODES} nodes")
    if report.voters < NODES:
        found.append(f"{report.voters} of {NODES} validators had seats at the worst moment")
    return found


def _broken(report: Report) -> list[str]:
    found = []
    baseline = report.phase("baseline").p99_ms
    for name in ("overload", "afterwards"):
        p99 = report.phase(name).p99_ms
        if p99 > 2 * baseline:
            found.append(f"{name}: finality p99 {p99} ms, {baseline} ms without load")
    memory = report.memory
    if memory.peak > memory.begin + GROWTH_MIB:
        found.append(f"memory rose from {memory.begin} to {memory.peak} MiB, by {GROWTH_MIB} it may")
    if memory.second_half > CREEP * memory.first_half + CREEP_MIB:
        found.append(f"memory goes on rising: {memory.first_half}, then {memory.second_half} MiB")
    if report.links.lost_frames or report.links.broken:
        found.append(f"{report.links.lost_frames} consensus frames lost, {report.links.broken} links broken")
    if report.normal_after_s > RECOVERY_S:
        found.append(f"normal again after {report.normal_after_s:.1f} s, {RECOVERY_S:.0f} s are allowed")
    return found


def described(report: Report) -> str:
    """For people."""
    saturation, flood, memory, links = report.saturation, report.flood, report.memory, report.links
    table = "\n".join(
        f"{phase.name:<11} {phase.seconds:7.0f} {phase.blocks:7} {phase.landed_per_s:11.0f} "
        f"{phase.proofs_per_s:9.2f} {phase.median_ms:10} {phase.p99_ms:7} {phase.longest_ms:11}"
        for phase in report.phases
    )
    return f"""\
phase       seconds  blocks  final tx/s  proofs/s  median ms  p99 ms  longest ms
{table}
saturation: {saturation.landed_per_s:.0f} transactions a second; {saturation.short:.0%} of its blocks left \
less on its way than they took
flood: {flood.offered_per_s:.0f} transactions a second to each of {flood.connected} nodes, {flood.fresh:.0%} \
in no block yet; {flood.refused:.0%} were refused by back-pressure before they left
memory: {memory.begin} MiB before, {memory.peak} at most, {memory.end} in the end; \
{memory.begin + GROWTH_MIB} are allowed
consensus frames lost: {links.lost_frames}; links broken: {links.broken}; validators with seats: \
{report.voters} of {NODES}; normal again after {report.normal_after_s:.1f} s"""
