"""Figures of the network layer, for the README: `python -m tests.p2p.measure`. Not a test."""

import statistics
import subprocess
import sys
import time
from contextlib import AsyncExitStack
from functools import partial

import trio

from p2p.addresses import parse_endpoint, parse_peer_address
from p2p.libp2p_network import Libp2pNetwork
from p2p.limits import Limits
from p2p.network import Lane
from tests.p2p.attacker import attacker_of
from tests.p2p.nodes import node, peers_are

NODES = 4
COUNT = 2000


def milliseconds(values: list[float]) -> str:
    ordered = sorted(values)
    return f"median {statistics.median(ordered) * 1e3:.1f} ms, worst {ordered[-1] * 1e3:.1f} ms"


async def measure_frames(nodes: list[Libp2pNetwork], size: int, burst: int) -> None:
    """CPU of all nodes (one process) per frame and receiver; time until the last of all has it."""
    latencies = []
    cpu = time.process_time()
    for _ in range(COUNT // burst):
        start = time.perf_counter()
        for _ in range(burst):
            nodes[0].broadcast(Lane.CONSENSUS, bytes(size))
        async with trio.open_nursery() as nursery:
            for receiver in nodes[1:]:
                nursery.start_soon(receive, receiver, burst)
        latencies.append(time.perf_counter() - start)
    cpu = (time.process_time() - cpu) / (COUNT // burst * burst * (len(nodes) - 1))
    spread = milliseconds(latencies)
    print(f"{size} B frames in bursts of {burst}: {cpu * 1e3:.3f} ms CPU per delivery; all have it: {spread}")


async def receive(network: Libp2pNetwork, count: int) -> None:
    for _ in range(count):
        await network.inbound.receive()


async def measure_requests(a: Libp2pNetwork, b: Libp2pNetwork) -> None:
    cpu, start = time.process_time(), time.perf_counter()
    for _ in range(COUNT):
        await a.request(b.local_id, "echo", bytes(1000), timeout=5, limit=2000)
    cpu, wall = (time.process_time() - cpu) / COUNT, (time.perf_counter() - start) / COUNT
    print(f"1000 B requests: {cpu * 1e3:.2f} ms CPU on both sides together, {wall * 1e3:.2f} ms each")


async def measure_connecting() -> None:
    times = []
    async with node(11) as victim, attacker_of(victim) as dialer:
        for _ in range(30):
            start = time.perf_counter()
            streams = await dialer.handshake()
            times.append(time.perf_counter() - start)
            next(iter(streams.values())).muxed_conn.end("measured")
    print(f"dial, noise, handshake and four streams: {milliseconds(times)}")


async def measure_restarts() -> None:
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
    print(f"kill -9 noticed: {milliseconds(noticed)}")
    print(f"connected again once the restarted node listens: {milliseconds(back[1:])}")


async def main() -> None:
    async with AsyncExitStack() as stack:
        fast = Limits(requests_per_second=100_000)
        nodes = [await stack.enter_async_context(node(1, limits=fast))]
        start = time.perf_counter()
        for number in range(2, NODES + 1):
            nodes.append(await stack.enter_async_context(node(number, nodes[0], limits=fast)))
        for here in nodes:
            await peers_are(here, *(other for other in nodes if other is not here))
        print(f"{NODES} nodes from one bootstrap to a mesh: {(time.perf_counter() - start) * 1e3:.0f} ms")
        for size, burst in ((200, 1), (1000, 1), (1000, 20), (64_000, 1)):
            await measure_frames(nodes, size, burst)
        await measure_requests(nodes[0], nodes[1])
    await measure_connecting()
    await measure_restarts()


if __name__ == "__main__":
    trio.run(main)
