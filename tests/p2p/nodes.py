"""Real nodes on loopback for tests; everything waits on events, with deadlines."""

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio

from p2p.config import NetworkConfig
from p2p.libp2p_network import Libp2pNetwork, open_network
from p2p.network import Inbound, PeerId

TAG = b"tests of p2p".ljust(32, b".")
PATIENCE = 10.0
"""Seconds for anything that usually takes milliseconds, on a machine that is busy with other things."""


def seed(number: int) -> bytes:
    return bytes([number]) * 32


def config(number: int, *bootstrap: Libp2pNetwork, **settings: Any) -> NetworkConfig:
    known = tuple(address for node in bootstrap for address in node.listen_addrs)
    defaults: dict[str, Any] = {"chain_tag": TAG, "bootstrap": known, "rng": random.Random(number)}
    return NetworkConfig(identity_seed=seed(number), **{**defaults, **settings})


@asynccontextmanager
async def node(number: int, *bootstrap: Libp2pNetwork, **settings: Any) -> AsyncIterator[Libp2pNetwork]:
    """A node that answers `echo` requests."""

    async def echo(_peer: PeerId, payload: bytes) -> bytes:
        return payload

    async with open_network(config(number, *bootstrap, **settings)) as network:
        network.set_handler("echo", echo, limit=1_000_000)
        yield network


async def peers_are(network: Libp2pNetwork, *peers: Libp2pNetwork | PeerId) -> None:
    """Wait until exactly `peers` are connected to `network`."""
    wanted = {peer if isinstance(peer, str) else peer.local_id for peer in peers}
    with trio.fail_after(PATIENCE):
        while set(network.peers()) != wanted:
            await network.events.receive()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that makes no event of its own."""
    with trio.fail_after(PATIENCE):
        while not condition():  # noqa: ASYNC110 - statistics have no event
            await trio.sleep(0.01)


def partings(network: Libp2pNetwork, reason: str) -> int:
    """How often `network` refused or parted for `reason`."""
    return dict(network.stats().rejected).get(reason, 0)


async def take(network: Libp2pNetwork, count: int) -> list[Inbound]:
    with trio.fail_after(PATIENCE):
        return [await network.inbound.receive() for _ in range(count)]


async def is_alive(network: Libp2pNetwork, friend: Libp2pNetwork) -> bool:
    """Whether `network` still serves an honest peer."""
    body = b"are you there?"
    return await friend.request(network.local_id, "echo", body, timeout=PATIENCE, limit=100) == body
