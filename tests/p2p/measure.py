"""Figures of the network layer: `python -m tests.p2p.measure`.

Real nodes on loopback: frames, requests, connections, and restarts of a peer that was killed.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial

import trio

from p2p.addresses.multiaddrs import parse_endpoint, parse_peer_address
from p2p.libp2p_network import Libp2pNetwork
from p2p.limits import Limits
from p2p.network import Lane
from tests.p2p.attacker import attacker_of
from tests.p2p.nodes import node, peers_are

NODES = 4
COUNT = 2000


Figures = dict[str, float]


class Report:
    """Every figure, printed as it is found."""

    def __init__(self, *, silent: bool) -> None:
        self.found: dict[str, Figures] = {}
        self._silent = silent

    def add(self, what: str, **figures: float) -> None:
        """Milliseconds, each by its name."""
        self.found[what] = figures
        if not self._silent:
            shown = ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in figures.items())
            print(f"{what}: {shown} ms", flush=True)


def spread(values: list[float]) -> Figures:
    return {"median": statistics.median(values) * 1e3, "worst": max(values) * 1e3}


async def measure_frames(
    report: Report, nodes: list[Libp2pNetwork], size: int, burst: int, *, count: int
) -> None:
    """CPU of all nodes (one process) per frame and receiver; time until the last of all has it."""
    rounds = max(1, count // burst)
    latencies = []
    cpu = time.process_time()
    for _ in range(rounds):
        start = time.perf_counter()
        for _ in range(burst):
            nodes[0].broadcast(Lane.CONSENSUS, bytes(size))
        async with trio.open_nursery() as nursery:
            for receiver in nodes[1:]:
                nursery.start_soon(receive, receiver, burst)
        latencies.append(time.perf_counter() - start)
    cpu = (time.process_time() - cpu) / (rounds * burst * (len(nodes) - 1))
    what = f"{size} B frames in bursts of {burst}, until all have it"
    report.add(what, cpu_per_delivery=cpu * 1e3, **spread(latencies))


async def receive(network: Libp2pNetwork, count: int) -> None:
    for _ in range(count):
        await network.inbound.receive()


async def measure_requests(report: Report, a: Libp2pNetwork, b: Libp2pNetwork, *, count: int) -> None:
    cpu, start = time.process_time(), time.perf_counter()
    for _ in range(count):
        await a.request(b.local_id, "echo", bytes(1000), timeout=5, limit=2000)
    cpu, wall = (time.process_time() - cpu) / count, (time.perf_counter() - start) / count
    report.add("1000 B requests", cpu_of_both_sides=cpu * 1e3, each=wall * 1e3)


async def measure_connecting(report: Report) -> None:
    times = []
    async with node(11) as victim, attacker_of(victim) as dialer:
        for _ in range(30):
            start = time.perf_counter()
            streams = await dialer.handshake()
            times.append(time.perf_counter() - start)
            next(iter(streams.values())).muxed_conn.end("measured")
    report.add("dial, noise, handshake and four streams", **spread(times))


async def measure_restarts(report: Report) -> None:
    noticed, back = [], []
    async with node(12) as here:
        port = 0
        for _ in range(5):
            command = [sys.executable, "-m", "tests.p2p.process_node", "13", str(port), *here.listen_addrs]
            run = partial(trio.run_process, stdin=subprocess.PIPE, stdout=subprocess.PIPE, check=False)
            async with trio.open_nursery() as nursery:
                process = await nursery.start(run, command)
                address = (await process.stdout.receive_some()).decode().strip()
                start = time.perf_counter()
                peer, endpoint = parse_peer_address(address)
                port = parse_endpoint(endpoint).port
                await peers_are(here, peer)
                back.append(time.perf_counter() - start)
                start = time.perf_counter()
                process.kill()
                await peers_are(here)
                noticed.append(time.perf_counter() - start)
    report.add("kill -9 noticed", **spread(noticed))
    report.add("connected again once the restarted node listens", **spread(back[1:]))


async def measure(report: Report, *, count: int) -> None:
    async with AsyncExitStack() as stack:
        fast = Limits(requests_per_second=100_000)
        nodes = [await stack.enter_async_context(node(1, limits=fast))]
        start = time.perf_counter()
        for number in range(2, NODES + 1):
            nodes.append(await stack.enter_async_context(node(number, nodes[0], limits=fast)))
        for here in nodes:
            await peers_are(here, *(other for other in nodes if other is not here))
        report.add(f"{NODES} nodes from one bootstrap to a mesh", all=(time.perf_counter() - start) * 1e3)
        for size, burst in ((200, 1), (1000, 1), (1000, 20), (64_000, 1)):
            await measure_frames(report, nodes, size, burst, count=count)
        await measure_requests(report, nodes[0], nodes[1], count=count)
    await measure_connecting(report)
    await measure_restarts(report)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line for each figure."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.p2p.measure", description=__doc__,
        epilog="Example: python -m tests.p2p.measure --count 200 --json",
    )  # fmt: skip
    parser.add_argument("--count", type=int, default=COUNT, help=f"frames and requests a kind ({COUNT})")
    parser.add_argument("--json", action="store_true", help="print one JSON document, in milliseconds")
    options = parser.parse_args(arguments)
    if options.count < 1:
        parser.error(f"--count is at least 1, not {options.count}")
    report = Report(silent=options.json)
    trio.run(partial(measure, report, count=options.count))
    if options.json:
        print(json.dumps(report.found))


if __name__ == "__main__":
    main()
