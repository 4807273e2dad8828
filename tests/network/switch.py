"""The wires between namespaces: `python -m tests.network.switch SEED NAMESPACE=ADDRESS ...`.

One process carries every packet, so that a seed decides which are lost and how long each takes. Orders come
as lines of JSON on standard input and hold until the next one:

    {"loss": 0.3, "delay": 0.2, "jitter": 0.05, "cut": [[0, 1], [1, 0]]}

`cut` lists the directions, from node to node, in which nothing passes. At the end of input it prints what it
did.
"""

import heapq
import json
import os
import random
import selectors
import sys
import time
from dataclasses import dataclass, field
from typing import Any, Final

from tests.network.namespaces import open_wire

PACKET: Final = 2048
BURST: Final = 64
QUEUE: Final = 20_000
"""Packets on their way at most; a real router drops what is beyond, too."""


@dataclass
class Rules:
    """What happens to packets."""

    loss: float = 0.0
    delay: float = 0.0
    jitter: float = 0.0
    cut: frozenset[tuple[int, int]] = frozenset()

    @classmethod
    def read(cls, order: dict[str, Any]) -> "Rules":
        """The rules of an order; what it does not name is as in a healthy network."""
        cut = frozenset((int(a), int(b)) for a, b in order.get("cut", []))
        return cls(order.get("loss", 0.0), order.get("delay", 0.0), order.get("jitter", 0.0), cut)


@dataclass
class Switch:
    """Carries packets between devices."""

    wires: list[int]
    by_address: dict[bytes, int]
    chance: random.Random
    rules: Rules = field(default_factory=Rules)
    waiting: list[tuple[float, int, int, bytes]] = field(default_factory=list)
    count: dict[str, int] = field(default_factory=lambda: {"carried": 0, "lost": 0, "cut": 0, "overflow": 0})
    _number: int = 0

    def take(self, source: int, now: float) -> None:
        """Read what a device has sent."""
        for _ in range(BURST):
            try:
                packet = os.read(self.wires[source], PACKET)
            except BlockingIOError:
                return
            target = self.by_address.get(packet[16:20])
            if target is not None and packet[0] >> 4 == 4:
                self._judge(source, target, packet, now)

    def _judge(self, source: int, target: int, packet: bytes, now: float) -> None:
        rules = self.rules
        if (source, target) in rules.cut:
            self.count["cut"] += 1
        elif self.chance.random() < rules.loss:
            self.count["lost"] += 1
        elif len(self.waiting) >= QUEUE:
            self.count["overflow"] += 1
        else:
            self._number += 1
            due = now + rules.delay + self.chance.uniform(-rules.jitter, rules.jitter)
            heapq.heappush(self.waiting, (due, self._number, target, packet))

    def deliver(self, now: float) -> None:
        """Write what is due."""
        while self.waiting and self.waiting[0][0] <= now:
            _, _, target, packet = heapq.heappop(self.waiting)
            try:
                os.write(self.wires[target], packet)
                self.count["carried"] += 1
            except BlockingIOError:
                self.count["overflow"] += 1

    def patience(self, now: float) -> float:
        """Seconds until something is due."""
        return max(0.0, min(0.5, self.waiting[0][0] - now)) if self.waiting else 0.5


def main() -> None:
    """Carry packets until standard input ends."""
    places = [argument.split("=") for argument in sys.argv[2:]]
    wires = [open_wire(path, address) for path, address in places]
    addresses = {bytes(map(int, address.split("."))): index for index, (_, address) in enumerate(places)}
    switch = Switch(wires, addresses, random.Random(int(sys.argv[1])))
    orders = sys.stdin.buffer.raw
    selector = selectors.DefaultSelector()
    for index, wire in enumerate(wires):
        selector.register(wire, selectors.EVENT_READ, index)
    selector.register(orders, selectors.EVENT_READ, None)
    print("ready", flush=True)
    begun = b""
    while True:
        for key, _ in selector.select(switch.patience(time.monotonic())):
            if key.data is not None:
                switch.take(key.data, time.monotonic())
                continue
            got = orders.read(1 << 16)
            if not got:
                print(json.dumps(switch.count), flush=True)
                return
            *lines, begun = (begun + got).split(b"\n")
            for line in lines:
                switch.rules = Rules.read(json.loads(line))
        switch.deliver(time.monotonic())


if __name__ == "__main__":
    main()
