"""Peers that are killed, suspended and started again, as real processes."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import trio

from p2p.addresses.multiaddrs import parse_endpoint, parse_peer_address
from p2p.libp2p_network import Libp2pNetwork
from p2p.limits import Limits
from p2p.network import PeerDisconnected, PeerId
from tests.p2p.nodes import PATIENCE, node, peers_are

ROOT = Path(__file__).parents[2]


@asynccontextmanager
async def process(
    number: int, port: int, bootstrap: Libp2pNetwork
) -> AsyncIterator[tuple[trio.Process, str]]:
    """A node's process, and the address that it printed."""
    arguments = [str(number), str(port), *bootstrap.listen_addrs]
    command = [sys.executable, "-m", "tests.p2p.process_node", *arguments]
    run = partial(
        trio.run_process, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=None, check=False
    )
    async with trio.open_nursery() as nursery:
        started = await nursery.start(run, command)
        with trio.fail_after(30):
            address = (await started.stdout.receive_some()).decode().strip()
        yield started, address
        if started.returncode is None:
            started.kill()
        nursery.cancel_scope.cancel()


async def lost(network: Libp2pNetwork, peer: PeerId) -> str:
    with trio.fail_after(PATIENCE):
        while True:
            event = await network.events.receive()
            if isinstance(event, PeerDisconnected) and event.peer == peer:
                return event.reason


async def test_a_killed_peer_is_noticed_and_welcomed_back() -> None:
    async with node(1) as here:
        async with process(2, 0, here) as (victim, address):
            peer, endpoint = parse_peer_address(address)
            await peers_are(here, peer)
            before = trio.current_time()
            victim.kill()
            assert (await lost(here, peer)).startswith("connection lost: ")
            assert trio.current_time() - before < 2
        async with process(2, parse_endpoint(endpoint).port, here):
            await peers_are(here, peer)


async def test_a_suspended_peer_is_given_up_and_welcomed_back() -> None:
    limits = Limits(ping_interval=0.3)
    async with node(1, limits=limits) as here, process(2, 0, here) as (victim, address):
        peer, _ = parse_peer_address(address)
        await peers_are(here, peer)
        os.kill(victim.pid, signal.SIGSTOP)
        try:
            assert await lost(here, peer) == "silent: nothing heard for 1.2 s"
        finally:
            os.kill(victim.pid, signal.SIGCONT)
        await peers_are(here, peer)
