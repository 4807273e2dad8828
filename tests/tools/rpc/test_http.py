"""The server on a real socket: what reaches the methods, and what never does."""

import json
import random

import pytest
import trio
import trio.testing

from tests.tools.chain_node import chain_node
from tools.rpc import http
from tools.rpc.client import CallFailed, Client, Unreachable
from tools.rpc.messages import BlockView, Status
from tools.rpc.server import RpcServer, bind


async def exchange(port, raw):
    """Everything that the server sends back to some bytes, until it closes."""
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with stream:
        await stream.send_all(raw)
        received = b""
        with trio.fail_after(120):
            async for chunk in stream:
                received += chunk
    return received


def post(body, *, host="127.0.0.1:1", extra=""):
    head = f"POST / HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    return f"{head}Connection: close\r\n{extra}Content-Length: {len(body)}\r\n\r\n".encode() + body


STATUS = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "status"}).encode()


@pytest.fixture
async def server(nursery):
    node = chain_node()
    node.produce()
    binding = await bind(port=0)
    nursery.start_soon(RpcServer(node).serve, binding)
    return node, binding.port


async def test_the_client_reads_typed_results(server):
    node, port = server
    client = Client(f"http://127.0.0.1:{port}")
    status = await trio.to_thread.run_sync(lambda: client.call(Status, "status"))
    assert (status.height, status.block, status.own_seats) == (1, node.head.digest, 16)
    block = await trio.to_thread.run_sync(lambda: client.call(BlockView, "block", height=0))
    assert block.state_root == node.store.block(0).header.state_root
    with pytest.raises(CallFailed) as caught:
        await trio.to_thread.run_sync(lambda: client.call(BlockView, "block", height=9))
    assert caught.value.code == "NOT_FOUND"


async def test_nobody_home_is_unreachable():
    with pytest.raises(Unreachable, match="no node answers"):
        await trio.to_thread.run_sync(lambda: Client("http://127.0.0.1:9", timeout=1.0).raw("status", None))


async def test_one_connection_carries_many_calls(server):
    _, port = server
    twice = post(STATUS).replace(b"Connection: close\r\n", b"") + post(STATUS)
    answer = await exchange(port, twice)
    assert answer.count(b"HTTP/1.1 200 OK") == 2


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (post(STATUS, host="evil.example:26657"), 421),
        (post(STATUS, extra="Origin: https://evil.example\r\n"), 403),
        (post(STATUS, extra="Origin: http://localhost:3000\r\n"), 200),
        (post(STATUS, host="localhost"), 200),
        (post(STATUS, host="[::1]:26657"), 200),
        (post(STATUS).replace(b"application/json", b"text/plain"), 415),
        (post(STATUS).replace(b"Content-Length: ", b"Content-Length: 9999999"), 413),
        (post(STATUS).replace(b"POST / ", b"GET / "), 405),
        (post(STATUS).replace(b"POST / ", b"HEAD / "), 405),
        (post(STATUS).replace(b"POST / ", b"POST /nope "), 404),
        (post(STATUS).replace(b"Host: 127.0.0.1:1\r\n", b""), 400),
        (b"\x16\x03\x01 not http\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"A: b\r\n" * 20000 + b"\r\n", 431),
        (post(b'{"jsonrpc":"2.0","method":"status"}'), 204),
    ],
)
async def test_status_lines(server, raw, status):
    _, port = server
    answer = await exchange(port, raw)
    assert answer.split(b" ", 2)[1] == str(status).encode()


async def test_a_chunked_body_is_bounded_as_it_arrives(server):
    _, port = server
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"10000\r\n" + bytes(65536) + b"\r\n"
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with stream:
        with trio.fail_after(5):
            try:
                await stream.send_all(head + chunk * 40)
            except trio.BrokenResourceError:
                return
            assert (await stream.receive_some(65536)).startswith(b"HTTP/1.1 413")


async def test_expect_100_is_answered(server):
    _, port = server
    raw = post(STATUS, extra="Expect: 100-continue\r\n")
    head, body = raw.split(b"\r\n\r\n")
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with stream:
        with trio.fail_after(5):
            await stream.send_all(head + b"\r\n\r\n")
            assert (await stream.receive_some(1000)).startswith(b"HTTP/1.1 100")
            await stream.send_all(body)
            assert (await stream.receive_some(1000)).startswith(b"HTTP/1.1 200")


async def test_a_slow_request_is_ended_and_an_idle_connection_closed(server, autojump_clock):
    _, port = server
    assert (await exchange(port, post(STATUS)[:-10])).startswith(b"HTTP/1.1 408")
    assert await exchange(port, b"") == b""


async def test_connections_are_bounded(server, monkeypatch):
    _, port = server
    open_ones = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(http.MAX_CONNECTIONS)]
    await trio.testing.wait_all_tasks_blocked(0.01)
    assert await exchange(port, b"") == b""
    for stream in open_ones:
        await stream.aclose()
    await trio.testing.wait_all_tasks_blocked(0.01)
    assert (await exchange(port, post(STATUS))).startswith(b"HTTP/1.1 200")


async def test_readiness_gives_its_reasons(server):
    node, port = server
    ready = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    assert (await exchange(port, ready)).startswith(b"HTTP/1.1 200")
    node.lag_ms, node.syncing = 60_000, "37 blocks behind"
    answer = await exchange(port, ready)
    assert answer.startswith(b"HTTP/1.1 503")
    problems = json.loads(answer.split(b"\r\n\r\n", 1)[1])["problems"]
    assert [problem["code"] for problem in problems] == ["SYNCING", "STALE_HEAD"]
    health = ready.replace(b"/readyz", b"/health")
    assert (await exchange(port, health)).startswith(b"HTTP/1.1 200")


async def test_no_bytes_bring_a_traceback(server, caplog):
    """Whole, cut and mangled requests: an answer that is no 500, or a closed connection."""
    _, port = server
    draw = random.Random(7)
    for number in range(120):
        raw = bytearray(post(STATUS))
        for _ in range(number % 6):
            raw[draw.randrange(len(raw))] = draw.randrange(256)
        if number % 3 == 0:
            del raw[draw.randrange(len(raw)) :]
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        async with stream:
            with trio.fail_after(5):
                await stream.send_all(bytes(raw))
                await stream.send_eof()
                answer = b"".join([chunk async for chunk in stream])
        assert not answer or answer.startswith(b"HTTP/1.1 ")
        assert b" 500 " not in answer[:20]
    assert not caplog.records
