"""The phases: accounts get coins, nobody loads the chain, it is saturated, flooded, left alone."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tests.network.cluster import Cluster
from tests.network.machine import eventually
from tests.overload.accounts import ACCOUNTS, fund, load_keys
from tests.overload.measure import (
    Gap,
    MemoryWatch,
    finals,
    gaps,
    last_long,
    links,
    memory_mib,
    quantile_ms,
    voters,
    waiting,
)
from tests.overload.offering import Offering, offering
from tests.overload.peer import Order, Place
from tests.overload.report import NODES, RECOVERY_S, TIMES, Memory, Phase, Report
from tests.overload.samples import rates
from tools.testnet.plan import dial_address

SEED: Final = 1
RAMP: Final = 3
"""One part in so many of the saturation's phase is not measured: queues fill, windows find their width."""

_START_S: Final = 600.0
"""Miners may take minutes to start beside other work."""
_DRAIN_S: Final = 300.0
_IDLE_S: Final = 10.0
_TELL_S: Final = 10.0

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of the run: seconds since 1970."""

    name: str
    began: float
    ended: float


class Campaign:
    """One run over a cluster that has just started."""

    def __init__(self, cluster: Cluster, *, seconds: float, calm: float, say: Say) -> None:
        """Take the lengths of overload and of the other phases in seconds, and whom to tell how it goes."""
        self._cluster, self._seconds, self._calm, self._say = cluster, seconds, calm, say
        self._stretches: list[Stretch] = []
        self._voters = NODES

    def run(self) -> Report:
        """All phases, and what they say together."""
        cluster = self._cluster
        self._say("waiting until the seats of all validators come from work")
        eventually(lambda: voters(cluster), lambda count: count == NODES, within=_START_S, what="voters")
        self._say(f"giving coins to {ACCOUNTS} accounts")
        height = max(cluster.heights())
        fund(cluster, load_keys(ACCOUNTS), seed=SEED)
        place = Place(
            genesis=str(cluster.machines[0].folder / "genesis.json"),
            nodes=tuple(dial_address(machine.plan) for machine in cluster.machines),
            accounts=ACCOUNTS,
            height=height,
        )
        with offering(place) as peer:
            eventually(lambda: len(peer.samples), bool, within=_START_S, what="a connected peer")
            return self._phases(peer)

    def _phases(self, peer: Offering) -> Report:
        cluster = self._cluster
        baseline = self._stretch(peer, "baseline", self._calm)
        begin = memory_mib(cluster)
        load = self._stretch(peer, "saturation", self._calm, Order(rate=0, seconds=self._calm))
        saturation = rates(peer.samples, load.began + self._calm / RAMP, load.ended)
        self._say(f"saturation: {saturation.landed_per_s:.0f} transactions a second become final")
        eventually(lambda: self._is_idle(peer), bool, within=_DRAIN_S, what="an idle chain")
        rate = max(1, round(TIMES * saturation.landed_per_s))
        with MemoryWatch(cluster) as watch:
            flood = self._stretch(peer, "overload", self._seconds, Order(rate=rate, seconds=self._seconds))
        self._stretch(peer, "recovery", RECOVERY_S)
        until = self._stretch(peer, "afterwards", self._calm).ended
        first, second = watch.halves
        phases = tuple(self._phase(peer, stretch) for stretch in self._stretches)
        after = self._gaps(flood.ended, until)
        return Report(
            phases=phases,
            saturation=saturation,
            flood=rates(peer.samples, flood.began, flood.ended),
            voters=self._voters,
            memory=Memory(begin, first, second, memory_mib(cluster)),
            links=links(cluster, within_ms=round(1000 * (time.time() - baseline.began))),
            normal_after_s=last_long(after, flood.ended, RECOVERY_S, limit_ms=2 * phases[0].p99_ms),
        )

    def _stretch(self, peer: Offering, name: str, seconds: float, order: Order | None = None) -> Stretch:
        """Let a phase pass, and say how it goes."""
        rate = f" of {order.rate} transactions a second" if order is not None and order.rate else ""
        self._say(f"{name}: {seconds:.0f} s{rate}")
        began = told = time.time()
        if order is not None:
            peer.order(order)
        while (left := began + seconds - time.time()) > 0:
            time.sleep(min(left, max(0.0, told + _TELL_S - time.time())))
            peer.check()
            if time.time() >= told + _TELL_S:
                self._tell(peer)
                told = time.time()
        self._stretches.append(Stretch(name, began, began + seconds))
        return self._stretches[-1]

    def _tell(self, peer: Offering) -> None:
        self._voters = min(self._voters, voters(self._cluster))
        last = peer.samples[-1]
        lately = rates(peer.samples, last.at - _TELL_S, last.at)
        self._say(
            f"  {lately.offered_per_s:.0f}/s offered, {lately.landed_per_s:.0f}/s final; {last.waiting} on "
            f"their way, {waiting(self._cluster)} in a mempool; {memory_mib(self._cluster)} MiB"
        )

    @staticmethod
    def _is_idle(peer: Offering) -> bool:
        """Whether nothing of the load lands any more; what lies behind a gap of nonces waits for ever."""
        lately = rates(peer.samples, peer.samples[-1].at - _IDLE_S, peer.samples[-1].at)
        return lately.landed_per_s == 0

    def _gaps(self, began: float, ended: float) -> list[Gap]:
        return [gap for machine in self._cluster.machines for gap in gaps(finals(machine), began, ended)]

    def _phase(self, peer: Offering, stretch: Stretch) -> Phase:
        found = self._gaps(stretch.began, stretch.ended)
        lately = rates(peer.samples, stretch.began, stretch.ended)
        return Phase(
            name=stretch.name,
            seconds=stretch.ended - stretch.began,
            blocks=len(found) // len(self._cluster.machines),
            landed_per_s=lately.landed_per_s,
            proofs_per_s=lately.proofs_per_s,
            median_ms=quantile_ms(found, 50),
            p99_ms=quantile_ms(found, 99),
            longest_ms=quantile_ms(found, 100),
        )
