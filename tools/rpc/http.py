"""HTTP/1.1 on trio, as much as a local interface needs (RFC 9112, parsed by h11).

Bounded before anything is read: connections, header bytes, body bytes, and the time for each. A page in
somebody's browser cannot reach it: the Host header must name this server (against DNS rebinding), a foreign
Origin is refused, and a body must be declared as JSON, which no browser sends to a stranger without asking.
"""

import ipaddress
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

import h11
import trio

MAX_CONNECTIONS: Final = 128
MAX_HEADER_BYTES: Final = 16 * 1024
READ_SECONDS: Final = 15.0
"""For a whole request once its first byte is there."""
IDLE_SECONDS: Final = 75.0
"""Between two requests on one connection."""
WRITE_SECONDS: Final = 30.0
LINGER_SECONDS: Final = 2.0
_LINGER_CHUNKS: Final = 64
_CHUNK: Final = 65536
_GONE: Final = (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError, h11.LocalProtocolError)

_LOG: Final = logging.getLogger("headrace.rpc")

REASONS: Final = {
    200: "OK", 204: "No Content", 400: "Bad Request", 403: "Forbidden", 404: "Not Found",
    405: "Method Not Allowed", 408: "Request Timeout", 413: "Content Too Large",
    415: "Unsupported Media Type", 421: "Misdirected Request", 503: "Service Unavailable",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Request:
    """One whole request."""

    method: str
    target: str
    content_type: str
    """Without parameters, lower case; empty if there is none."""
    body: bytes
    local: bool
    """Whether it came from this machine."""


@dataclass(frozen=True, slots=True)
class Response:
    """One whole response."""

    status: int
    body: bytes = b""
    content_type: str = "application/json"


Handler = Callable[[Request], Awaitable[Response]]


class _Refused(Exception):  # noqa: N818 - ends a request, not an error of ours
    """A request that is answered without being handled; the connection closes."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class HttpServer:
    """Serves one handler; `hosts` are the names it answers to, without ports, besides loopback's."""

    handler: Handler
    max_body_bytes: int
    hosts: frozenset[str] = frozenset()

    async def serve(self, listeners: Sequence[trio.SocketListener]) -> None:
        """Serve until cancelled. Connections end with it."""
        slots = trio.CapacityLimiter(MAX_CONNECTIONS)

        async def connection(stream: trio.SocketStream) -> None:
            try:
                slots.acquire_nowait()
            except trio.WouldBlock:
                await trio.aclose_forcefully(stream)
                return
            try:
                await self._connection(stream)
            finally:
                slots.release()

        await trio.serve_listeners(connection, list(listeners))

    async def _connection(self, stream: trio.SocketStream) -> None:
        machine = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEADER_BYTES)
        local = _is_local(stream)
        try:
            while await self._exchange(machine, stream, local=local):
                machine.start_next_cycle()
        except _GONE:
            # The client went away, or is too slow to be worth waiting for. Nothing of ours depends on it.
            pass
        except Exception:  # noqa: BLE001
            # A connection's edge: whatever is wrong with one request must not end the node.
            _LOG.exception("http_connection_failed")
        finally:
            await trio.aclose_forcefully(stream)

    async def _exchange(self, machine: h11.Connection, stream: trio.SocketStream, *, local: bool) -> bool:
        """One request and its response; whether the connection can carry another."""
        try:
            request = await self._receive(machine, stream, local=local)
            if request is None:
                return False
            response = await self.handler(request)
        except _Refused as refusal:
            await _send(machine, stream, _plain(refusal.status, str(refusal)), close=True)
            await _linger(stream)
            return False
        except h11.RemoteProtocolError as error:
            if machine.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                await _send(machine, stream, _plain(error.error_status_hint, str(error)), close=True)
                await _linger(stream)
            return False
        if request.method == "HEAD":
            response = Response(405, content_type="text/plain")
        await _send(machine, stream, response, close=False)
        return machine.our_state is h11.DONE and machine.their_state is h11.DONE

    async def _receive(
        self, machine: h11.Connection, stream: trio.SocketStream, *, local: bool
    ) -> Request | None:
        with trio.move_on_after(IDLE_SECONDS) as idle:
            if not machine.trailing_data[0]:
                data = await stream.receive_some(_CHUNK)
                if not data:
                    return None
                machine.receive_data(data)
        if idle.cancelled_caught:
            return None
        try:
            with trio.fail_after(READ_SECONDS):
                return await self._request(machine, stream, local=local)
        except trio.TooSlowError:
            raise _Refused(408, f"the request took more than {READ_SECONDS:.0f} s to arrive") from None

    async def _request(
        self, machine: h11.Connection, stream: trio.SocketStream, *, local: bool
    ) -> Request | None:
        head = await _event(machine, stream)
        if not isinstance(head, h11.Request):
            return None
        headers = {bytes(name): bytes(value).decode("latin-1") for name, value in head.headers}
        self._check(headers)
        body = bytearray()
        while True:
            event = await _event(machine, stream)
            if isinstance(event, h11.EndOfMessage):
                break
            if not isinstance(event, h11.Data):
                return None
            body += event.data
            if len(body) > self.max_body_bytes:
                raise self._too_large()
        return Request(
            method=head.method.decode("ascii"),
            target=head.target.decode("latin-1").split("?", 1)[0],
            content_type=headers.get(b"content-type", "").split(";", 1)[0].strip().lower(),
            body=bytes(body),
            local=local,
        )

    def _check(self, headers: dict[bytes, str]) -> None:
        """Refuse on the headers alone, before the body is read."""
        host = _name_of(headers.get(b"host", ""))
        if not self._is_ours(host):
            raise _Refused(421, f"this server is not {host[:80]!a}; call it by its address")
        origin = headers.get(b"origin")
        if origin is not None and not self._is_ours(_name_of(origin.removeprefix("http://"))):
            raise _Refused(403, f"pages of {origin[:80]!a} may not call this node")
        length = headers.get(b"content-length", "0")
        if length.isdigit() and int(length[:20]) > self.max_body_bytes:
            raise self._too_large()

    def _is_ours(self, host: str) -> bool:
        return host == "localhost" or host in self.hosts or _is_loopback(host)

    def _too_large(self) -> _Refused:
        return _Refused(413, f"a body has at most {self.max_body_bytes} bytes")


async def _event(machine: h11.Connection, stream: trio.SocketStream) -> object:
    while True:
        event = machine.next_event()
        if event is not h11.NEED_DATA:
            return event
        if machine.they_are_waiting_for_100_continue:
            go_on = machine.send(h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue"))
            await stream.send_all(go_on or b"")
        machine.receive_data(await stream.receive_some(_CHUNK))


async def _send(
    machine: h11.Connection, stream: trio.SocketStream, response: Response, *, close: bool
) -> None:
    headers = [
        ("content-type", response.content_type),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
    ]
    if response.status != 204:  # RFC 9110 section 8.6: a 204 has no length
        headers.append(("content-length", str(len(response.body))))
    if close:
        headers.append(("connection", "close"))
    reason = REASONS.get(response.status, "").encode()
    out = machine.send(h11.Response(status_code=response.status, headers=headers, reason=reason)) or b""
    out += machine.send(h11.Data(data=response.body)) or b""
    out += machine.send(h11.EndOfMessage()) or b""
    with trio.fail_after(WRITE_SECONDS):
        await stream.send_all(out)


async def _linger(stream: trio.SocketStream) -> None:
    """Take in a little of what still comes, or the reset would wipe out our answer (RFC 9112 section 9.6)."""
    await stream.send_eof()
    with trio.move_on_after(LINGER_SECONDS):
        for _ in range(_LINGER_CHUNKS):
            if not await stream.receive_some(_CHUNK):
                return


def _plain(status: int, message: str) -> Response:
    return Response(status, f"{message}\n".encode("utf-8", "backslashreplace"), "text/plain; charset=utf-8")


def _name_of(authority: str) -> str:
    """The host of a `host[:port]`, without the brackets of an IPv6 address."""
    if authority.startswith("["):
        return authority[1:].split("]", 1)[0].lower()
    return authority.rsplit(":", 1)[0].lower() if authority.count(":") == 1 else authority.lower()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_local(stream: trio.SocketStream) -> bool:
    try:
        peer = stream.socket.getpeername()
    except OSError:
        return False
    return isinstance(peer, tuple) and _is_loopback(str(peer[0]))
