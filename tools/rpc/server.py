"""The node's RPC server: `POST /` for calls, `GET /health` and `GET /readyz` for supervisors."""

import json
from dataclasses import dataclass
from typing import Any, Final

import trio

from tools.rpc.catalog import registry
from tools.rpc.dispatch import Dispatcher
from tools.rpc.http import HttpServer, Request, Response
from tools.rpc.view import NodeView

DEFAULT_HOST: Final = "127.0.0.1"
DEFAULT_PORT: Final = 26657
STALE_MS: Final = 30_000
"""A head older than this means that the chain, or this node, stands still."""
_ENVELOPE_BYTES: Final = 65536


@dataclass(frozen=True, slots=True)
class Binding:
    """A place to be called at, listening but not yet answering."""

    host: str
    port: int
    listeners: tuple[trio.SocketListener, ...]

    @property
    def url(self) -> str:
        """What clients are given."""
        return f"http://[{self.host}]:{self.port}" if ":" in self.host else f"http://{self.host}:{self.port}"


async def bind(host: str = DEFAULT_HOST, port: int = DEFAULT_PORT) -> Binding:
    """Listen on an address.

    Args:
        host: Anything but loopback opens the interface to whoever reaches it.
        port: TCP port, 0 for any free one.

    Raises:
        OSError: The address is taken or not this machine's; its text names both.
    """
    try:
        listeners = await trio.open_tcp_listeners(port, host=host)
    except OSError as error:
        why = f"cannot listen on {host} port {port}: {error.strerror or error}"
        raise OSError(error.errno, why) from error
    return Binding(host, int(listeners[0].socket.getsockname()[1]), tuple(listeners))


@dataclass(frozen=True, slots=True)
class RpcServer:
    """Answers for a node."""

    node: NodeView
    allowed_hosts: frozenset[str] = frozenset()
    """Host names it may be called by, besides the address it is bound to and loopback's names."""

    async def serve(self, binding: Binding) -> None:
        """Serve until cancelled."""
        hosts = self.allowed_hosts | {binding.host.lower()}
        http = HttpServer(self.handle, max_body_bytes=self.max_body_bytes, hosts=hosts)
        await http.serve(binding.listeners)

    @property
    def max_body_bytes(self) -> int:
        """Room for the largest transaction in hexadecimal, and its envelope."""
        return 2 * self.node.genesis.params.max_transaction_bytes + _ENVELOPE_BYTES

    async def handle(self, request: Request) -> Response:
        """Answer one HTTP request."""
        if request.target == "/" and request.method == "POST":
            if request.content_type != "application/json":
                return _json(415, {"message": "send content-type: application/json"})
            answer = await Dispatcher(self.node, registry()).answer(request.body, local=request.local)
            return Response(204) if answer is None else Response(200, answer)
        if request.target in ("/health", "/readyz"):
            if request.method != "GET":
                return _json(405, {"message": "GET only"})
            problems = unready(self.node) if request.target == "/readyz" else []
            document = {"ok": not problems, "height": self.node.head.height, "problems": problems}
            return _json(503 if problems else 200, document)
        if request.target == "/":
            return _json(405, {"message": "POST a JSON-RPC 2.0 request here; rpc.discover lists the methods"})
        return _json(404, {"message": "POST / for JSON-RPC 2.0, GET /health, GET /readyz"})


def unready(node: NodeView) -> list[dict[str, str]]:
    """Why a node should get no traffic; empty if it should."""
    status = node.status()
    problems = []
    if status.syncing:
        problems.append({"code": "SYNCING", "message": status.syncing})
    if status.lag_ms > STALE_MS:
        message = f"the last final block is {status.lag_ms // 1000} s old, {STALE_MS // 1000} s is healthy"
        problems.append({"code": "STALE_HEAD", "message": message})
    if not node.peers() and len(status.committee.validators) > 1:
        problems.append({"code": "NO_PEERS", "message": "no peer is connected"})
    return problems


def _json(status: int, document: dict[str, Any]) -> Response:
    return Response(status, json.dumps(document).encode() + b"\n")
