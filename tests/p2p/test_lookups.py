"""Dialing names: in few threads of their own, and near us only where that is meant."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from p2p.addresses.lookups import LOOKUPS, MOST_HOSTS, Lookups, NearError
from p2p.addresses.multiaddrs import Endpoint
from tests.p2p.nodes import PATIENCE


class Servers:
    """Answers for the system's lookup: some names lead somewhere, all others hang."""

    def __init__(self) -> None:
        self.names: dict[str, list[str]] = {}
        self.open = threading.Event()

    def getaddrinfo(self, real: Callable[..., object], host: Any, *args: Any, **options: Any) -> object:
        flags = args[4] if len(args) > 4 else options.get("flags", 0)
        if flags & socket.AI_NUMERICHOST:
            return real(host, *args, **options)
        name = host.decode() if isinstance(host, bytes) else host
        if name not in self.names:
            assert self.open.wait(30), "a test left its lookups hanging"
            raise socket.gaierror(socket.EAI_AGAIN, "no server answers")
        families = [socket.AF_INET6 if ":" in ip else socket.AF_INET for ip in self.names[name]]
        return [(f, 1, 6, "", (ip, 0)) for f, ip in zip(families, self.names[name], strict=True)]


@contextmanager
def name_servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Servers]:
    servers, real = Servers(), socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **opts: servers.getaddrinfo(real, *args, **opts))
    try:
        yield servers
    finally:
        servers.open.set()


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Servers]:
    with name_servers(monkeypatch) as found:
        yield found


async def test_names_that_hang_harm_nobody_else(servers: Servers) -> None:
    servers.names["seed.example"] = ["127.0.0.1"]
    lookups, free = Lookups(), trio.to_thread.current_default_thread_limiter()
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listener.socket.getsockname()[1]
        for number in range(60):
            host = f"n{number}.evil.example"
            nursery.start_soon(partial(lookups.connect, Endpoint(host, 1), near=False))
        await wait_all_tasks_blocked()
        assert lookups._limiters[False].borrowed_tokens == LOOKUPS
        assert free.borrowed_tokens == 0
        with trio.fail_after(PATIENCE):
            for host in ("127.0.0.1", "seed.example"):
                async with await lookups.connect(Endpoint(host, port), near=True):
                    pass
        # Nobody waits for them any more, but they go on.
        nursery.cancel_scope.cancel()
    listener.socket.close()
    assert lookups._limiters[False].borrowed_tokens == LOOKUPS
    with trio.move_on_after(0) as scope:
        await lookups.hosts("late.example", near=False)
    assert scope.cancelled_caught


@pytest.mark.parametrize(
    ("found", "public"),
    [
        (["8.8.8.8", "8.8.8.8", "127.0.0.1", "2a00:1450::1"], ("8.8.8.8", "2a00:1450::1")),
        (["127.0.0.1", "10.0.0.5", "169.254.169.254", "::1", "fe80::1%lo", "fd00::1"], ()),
        (["::ffff:127.0.0.1", "64:ff9b::a00:1", "0.0.0.0"], ()),
        ([f"8.8.8.{n}" for n in range(100)], tuple(f"8.8.8.{n}" for n in range(MOST_HOSTS))),
    ],
)
async def test_a_strangers_name_leads_nowhere_near(
    servers: Servers, found: list[str], public: tuple[str, ...]
) -> None:
    servers.names["x.example"] = found
    lookups = Lookups()
    assert await lookups.hosts("x.example", near=True) == tuple(dict.fromkeys(found))[:MOST_HOSTS]
    if public:
        assert await lookups.hosts("x.example", near=False) == public
    else:
        with pytest.raises(NearError, match=r"x\.example leads to nothing public"):
            await lookups.connect(Endpoint("x.example", 1), near=False)


async def test_every_address_of_a_name_gets_its_part_of_the_time(
    servers: Servers, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    asked: list[tuple[str, float]] = []
    start = trio.current_time()

    async def open_tcp_stream(host: str, _port: int) -> object:
        asked.append((host, trio.current_time() - start))
        if host.endswith("1"):
            await trio.sleep_forever()
        if host.endswith("2"):
            raise ConnectionRefusedError("closed")
        return "a stream"

    lookups = Lookups()
    monkeypatch.setattr(trio, "open_tcp_stream", open_tcp_stream)

    async def hosts(_name: str, *, near: bool) -> tuple[str, ...]:
        assert not near
        return ("8.8.8.1", "8.8.8.2", "8.8.8.3")

    monkeypatch.setattr(lookups, "hosts", hosts)
    with trio.fail_after(6):
        stream: object = await lookups.connect(Endpoint("x.example", 1), near=False)
    assert stream == "a stream"
    assert asked == [("8.8.8.1", 0), ("8.8.8.2", pytest.approx(2)), ("8.8.8.3", pytest.approx(2))]


async def test_the_last_refusal_is_told(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    servers.names["x.example"] = ["127.0.0.1"]

    async def refuse(_host: str, _port: int) -> None:
        raise ConnectionRefusedError("closed")

    monkeypatch.setattr(trio, "open_tcp_stream", refuse)
    with pytest.raises(ConnectionRefusedError, match="closed"):
        await Lookups().connect(Endpoint("x.example", 1), near=True)
