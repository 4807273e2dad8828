"""JSON-RPC 2.0, bytes in and bytes out: batches, notifications and the right error for every mistake.

Nothing a caller sends makes this raise. JSON is read more strictly than Python does by itself: UTF-8 only, no
`NaN`, no member twice, no fraction anywhere (the protocol has none), a bound on the number of values.
"""

import json
import logging
from dataclasses import dataclass
from typing import Any, Final

import trio

from chain.json_text import read_json
from tools.rpc.faults import Code, RpcFault
from tools.rpc.openrpc import describe
from tools.rpc.registry import Registry
from tools.rpc.view import NodeView
from tools.rpc.wire import Json

MAX_BATCH: Final = 100
MAX_VALUES: Final = 4096
"""Members and items in one body. A byte of JSON can cost Python 35; this bounds the whole to a megabyte."""
CALL_SECONDS: Final = 20.0

_LOG: Final = logging.getLogger("headrace.rpc")


@dataclass(frozen=True, slots=True)
class Dispatcher:
    """Answers the calls in a request body."""

    node: NodeView
    registry: Registry

    async def answer(self, body: bytes, *, local: bool) -> bytes | None:
        """The response's body, or None if nothing is to be answered (notifications only).

        Args:
            body: As received; already bounded in length.
            local: Whether the caller is on this machine.
        """
        try:
            request = parse(body)
        except RpcFault as fault:
            return _encoded(_failure(None, fault))
        if not isinstance(request, list):
            reply = await self._one(request, local=local)
            return None if reply is None else _encoded(reply)
        if not 0 < len(request) <= MAX_BATCH:
            message = f"a batch has 1 to {MAX_BATCH} calls, got {len(request)}"
            return _encoded(_failure(None, RpcFault(Code.INVALID_REQUEST, message)))
        replies = [await self._one(item, local=local) for item in request]
        present: Json = [reply for reply in replies if reply is not None]
        return _encoded(present) if present else None

    async def _one(self, request: Json, *, local: bool) -> Json:
        try:
            name, params, identity, answered = _checked(request)
        except RpcFault as fault:
            return _failure(None, fault)
        try:
            with trio.fail_after(CALL_SECONDS):
                result = await self._call(name, params, local=local)
            reply: Json = {"jsonrpc": "2.0", "id": identity, "result": result}
        except RpcFault as fault:
            reply = _failure(identity, fault)
        except trio.TooSlowError:
            message = f"{name} took more than {CALL_SECONDS:.0f} s"
            reply = _failure(identity, RpcFault(Code.TIMED_OUT, message, next_step="try again later"))
        except Exception:  # noqa: BLE001
            # A worker's edge: a bug in one method must not take the node down, nor show the caller our stack.
            _LOG.exception("rpc_method_failed method=%s", ascii(name))
            message = f"{name} failed inside the node"
            next_step = "the node's log has the cause"
            reply = _failure(identity, RpcFault(Code.INTERNAL_ERROR, message, next_step=next_step))
        return reply if answered else None

    async def _call(self, name: str, params: Json, *, local: bool) -> Json:
        if name == "rpc.discover":
            document: Json = describe(self.registry, self.node)
            return document
        method = self.registry.get(name)
        if method is None:
            message = f"there is no method {name[:64]!a}"
            raise RpcFault(Code.METHOD_NOT_FOUND, message, next_step="rpc.discover lists the methods")
        if method.local_only and not local:
            raise RpcFault(
                Code.FORBIDDEN,
                f"{name} is answered on the node's own machine alone",
                next_step="call it over the loopback address",
            )
        await trio.lowlevel.checkpoint()
        return await method.call(self.node, params, prefix=self.node.genesis.params.address_prefix)


def parse(body: bytes) -> Json:
    """Read a body as strict JSON.

    Raises:
        RpcFault: PARSE_ERROR or INVALID_REQUEST (too many values).
    """
    values = sum(body.count(mark) for mark in (b",", b"[", b"{"))
    if values > MAX_VALUES:
        raise RpcFault(Code.INVALID_REQUEST, f"about {values} values in one body, at most {MAX_VALUES}")
    try:
        request: Json = read_json(
            body.decode("utf-8"), object_pairs_hook=_members, parse_constant=_refused, parse_float=_refused
        )
    except ValueError as error:
        # ValueError covers bad UTF-8, bad JSON, our own refusals and integers of thousands of digits.
        message = f"the body is not JSON: {str(error)[:160]}"
        raise RpcFault(Code.PARSE_ERROR, message, next_step="send one JSON-RPC 2.0 request") from None
    return request


def _checked(request: Json) -> tuple[str, Json, Json, bool]:
    """Method, params, id, and whether an answer is due."""
    if not isinstance(request, dict):
        raise RpcFault(Code.INVALID_REQUEST, "a request is an object")
    if request.get("jsonrpc") != "2.0":
        raise RpcFault(Code.INVALID_REQUEST, 'a request has "jsonrpc": "2.0"')
    name = request.get("method")
    if not isinstance(name, str):
        raise RpcFault(Code.INVALID_REQUEST, "a request's method is text")
    identity = request.get("id")
    if isinstance(identity, (bool, list, dict)):
        raise RpcFault(Code.INVALID_REQUEST, "a request's id is text, an integer or null")
    params = request.get("params")
    if "params" in request and not isinstance(params, (list, dict)):
        raise RpcFault(Code.INVALID_REQUEST, "params are an object or an array")
    unknown = sorted(request.keys() - {"jsonrpc", "method", "params", "id"})
    if unknown:
        raise RpcFault(Code.INVALID_REQUEST, f"a request has no member {unknown[0][:64]!a}")
    return name, params, identity, "id" in request


def _failure(identity: Json, fault: RpcFault) -> Json:
    return {"jsonrpc": "2.0", "id": identity, "error": fault.as_object()}


def _encoded(reply: Json) -> bytes:
    return json.dumps(reply, separators=(",", ":")).encode("ascii")


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("an object has a member twice")
    return members


def _refused(text: str) -> Any:
    raise ValueError(f"{text[:32]} is no integer")
