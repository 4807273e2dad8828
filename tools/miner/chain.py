"""The node as a miner sees it: typed calls that may fail."""

from typing import Protocol, TypeVar

import trio

from tools.rpc.client import Client
from tools.rpc.wire import Json

_T = TypeVar("_T")


class Chain(Protocol):
    """A node's RPC."""

    async def call(self, result: type[_T], method: str, **params: Json) -> _T:
        """Call a method.

        Raises:
            CallFailed: The node's error.
            Unreachable: No node answers.
        """
        ...


class HttpChain:
    """A node behind an address; each call is made in a thread and ends within the client's time limit."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._limiter = trio.CapacityLimiter(2)

    async def call(self, result: type[_T], method: str, **params: Json) -> _T:
        """Call a method; see `Chain`."""

        def blocking() -> _T:
            return self._client.call(result, method, **params)

        return await trio.to_thread.run_sync(blocking, limiter=self._limiter, abandon_on_cancel=True)
