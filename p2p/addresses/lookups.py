"""What names lead to: asked in threads of its own, and never near us by the word of a stranger.

The system's lookup blocks a thread for as long as a name's servers are silent, half a minute and longer,
whether or not anybody still waits for it. So these threads are few and nobody else's: a dial of a name that
finds none free waits within its own time. Names that the operator gave do not wait behind those of strangers.
"""

import socket
from functools import partial
from typing import Final

import trio

from p2p.addresses.groups import group_of_host
from p2p.addresses.multiaddrs import Endpoint

LOOKUPS: Final = 8
"""Threads for names that may lead near us, and as many for all others."""

MOST_HOSTS: Final = 4
"""Addresses of a name that are tried."""


class NearError(Exception):
    """A name that must not lead near us leads nowhere else."""


class Lookups:
    """Connects to IP addresses, and to those that names lead to."""

    def __init__(self) -> None:
        self._limiters = {near: trio.CapacityLimiter(LOOKUPS) for near in (False, True)}

    async def connect(self, endpoint: Endpoint, *, near: bool) -> trio.SocketStream:
        """A socket connected to `endpoint`; a name may lead to what is near us only if `near`.

        Each address of a name gets an equal part of the time that the caller leaves.

        Raises:
            OSError: Nobody is there.
            NearError: See `hosts`.
        """
        if not endpoint.is_name:
            return await trio.open_tcp_stream(endpoint.host, endpoint.port)
        hosts = await self.hosts(endpoint.host, near=near)
        error = OSError(f"nobody answers at {endpoint.host}")
        for number, host in enumerate(hosts):
            left = trio.current_effective_deadline() - trio.current_time()
            with trio.move_on_after(left / (len(hosts) - number)):
                try:
                    return await trio.open_tcp_stream(host, endpoint.port)
                except OSError as refused:
                    error = refused
        raise error

    async def hosts(self, name: str, *, near: bool) -> tuple[str, ...]:
        """IP addresses that `name` leads to, a few at most; what is near us only if `near`.

        Raises:
            OSError: The name leads nowhere.
            NearError: It leads near us and nowhere else, and must not.
        """
        ask = partial(socket.getaddrinfo, name, None, type=socket.SOCK_STREAM)
        found = await trio.to_thread.run_sync(ask, limiter=self._limiters[near], abandon_on_cancel=True)
        hosts = tuple(dict.fromkeys(str(where[0]) for *_, where in found))
        if not near:
            hosts = tuple(host for host in hosts if group_of_host(host) is not None)
        if not hosts:
            raise NearError(f"{name} leads to nothing public")
        return hosts[:MOST_HOSTS]
