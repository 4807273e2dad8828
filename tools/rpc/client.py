"""Calls to a node from a program without an event loop; `call` gives typed values, `raw` plain JSON."""

import http.client
import json
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from tools.rpc import wire
from tools.rpc.wire import Json

DEFAULT_URL: Final = "http://127.0.0.1:26657"
MAX_RESPONSE_BYTES: Final = 1 << 26

_T = TypeVar("_T")


class Unreachable(Exception):  # noqa: N818 - a state of the world
    """No node answers at the address, or what answers is no node."""


class CallFailed(Exception):  # noqa: N818 - the node's own answer
    """The node answered with an error."""

    def __init__(self, number: int, message: str, code: str, next_step: str) -> None:
        super().__init__(message)
        self.number = number
        self.message = message
        self.code = code
        self.next_step = next_step


class Client:
    """One node's RPC. A connection a call: nothing to keep alive, nothing to lose when the node restarts."""

    def __init__(self, url: str = DEFAULT_URL, *, timeout: float = 30.0) -> None:
        """Take the address of a node.

        Raises:
            ValueError: It is no http URL.
        """
        parts = urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError(f"{url!r} is not an address like {DEFAULT_URL}")
        self.url = f"http://{parts.netloc}"
        self._host, self._port = parts.hostname, parts.port or 80
        self._timeout = timeout
        self._prefix: str | None = None

    @property
    def prefix(self) -> str:
        """The chain's address prefix, asked for once.

        Raises:
            Unreachable: No node answers.
        """
        if self._prefix is None:
            params = self.raw("params", {})
            found = params.get("address_prefix") if isinstance(params, dict) else None
            if not isinstance(found, str):
                raise Unreachable(f"{self.url} answers, but not as a Headrace node")
            self._prefix = found
        return self._prefix

    def call(self, result: type[_T], method: str, **params: Json) -> _T:
        """Call a method and read its result as a typed value.

        Raises:
            CallFailed: The node's error.
            Unreachable: No node answers, or its answer is not of that type.
        """
        value = self.raw(method, params)
        try:
            return wire.read(result, value, prefix=self.prefix, path=method)
        except wire.WireError as error:
            raise Unreachable(f"{self.url} answers in another version's words: {error}") from None

    def raw(self, method: str, params: Json) -> Json:
        """Call a method.

        Raises:
            CallFailed: The node's error.
            Unreachable: No node answers.
        """
        request: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": method}
        if params is not None:
            request["params"] = params
        answer = self._post(json.dumps(request).encode())
        if "result" in answer:
            result: Json = answer["result"]
            return result
        error = answer.get("error")
        if not isinstance(error, dict):
            raise Unreachable(f"{self.url} answers, but not as JSON-RPC 2.0")
        data = error.get("data") if isinstance(error.get("data"), dict) else {}
        assert isinstance(data, dict)
        number = error.get("code")
        raise CallFailed(
            number if type(number) is int else 0,
            str(error.get("message", "")),
            str(data.get("code", "")),
            str(data.get("next", "")),
        )

    def _post(self, body: bytes) -> dict[str, Any]:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)
        try:
            connection.request("POST", "/", body, {"Content-Type": "application/json", "Connection": "close"})
            response = connection.getresponse()
            raw = response.read(MAX_RESPONSE_BYTES)
            if response.status != 200:
                said = raw[:200].decode(errors="replace").strip()
                raise Unreachable(f"{self.url} answers {response.status}: {said}")
            answer = json.loads(raw)
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(f"no node answers at {self.url}: {error}") from None
        except (ValueError, RecursionError):
            raise Unreachable(f"{self.url} answers, but not as JSON-RPC 2.0") from None
        finally:
            connection.close()
        if not isinstance(answer, dict):
            raise Unreachable(f"{self.url} answers, but not as JSON-RPC 2.0")
        return answer
