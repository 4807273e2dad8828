"""The table of request handlers, and how the outcome of a handler becomes an answer."""

import logging
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import trio

from p2p.network import MAX_RESPONSE, Handler, PeerId, RequestFailed, RequestFailure, RequestRefused

log = logging.getLogger(__name__)

MAX_METHOD = 64
"""Longest method name, ASCII characters."""

MAX_DETAIL = 200
"""Longest sentence sent with a refusal, bytes."""


class Status(IntEnum):
    """First byte of an answer on the wire; never renumber."""

    OK = 0
    TOO_LARGE = 1
    UNKNOWN_METHOD = 2
    REFUSED = 3
    FAILED = 4


FAILURE_OF: Final = {
    Status.TOO_LARGE: RequestFailure.TOO_LARGE,
    Status.UNKNOWN_METHOD: RequestFailure.UNKNOWN_METHOD,
    Status.REFUSED: RequestFailure.REFUSED,
    Status.FAILED: RequestFailure.PEER_FAILED,
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back to the asking peer: the handler's bytes, or a sentence why there are none."""

    status: Status
    body: bytes

    def unwrap(self) -> bytes:
        """The answer's bytes.

        Raises:
            RequestFailed: The status is not `OK`.
        """
        if self.status is Status.OK:
            return self.body
        raise RequestFailed(FAILURE_OF[self.status], self.body[:MAX_DETAIL].decode("utf-8", "replace"))


class Methods:
    """Handlers by name."""

    def __init__(self, *, timeout: float) -> None:
        self._timeout = timeout
        self._handlers: dict[str, tuple[Handler, int]] = {}

    def add(self, method: str, handler: Handler, limit: int) -> None:
        """Answer `method` with `handler` for payloads of at most `limit` bytes.

        Raises:
            ValueError: The name is taken, empty, too long or not ASCII.
        """
        check_method(method)
        if method in self._handlers:
            raise ValueError(f"method {method!r} has a handler already")
        self._handlers[method] = (handler, limit)

    def refusal(self, method: str, size: int) -> Answer | None:
        """The answer to a request of `size` bytes that its handler need not see."""
        entry = self._handlers.get(method)
        if entry is None:
            return no(Status.UNKNOWN_METHOD, f"no handler for {method!r}")
        if size > entry[1]:
            return no(Status.TOO_LARGE, f"request has {size} bytes, {method!r} takes {entry[1]}")
        return None

    async def answer(self, peer: PeerId, method: str, payload: bytes, *, limit: int) -> Answer:
        """Run the handler of `method` and turn whatever happens into an answer of at most `limit` bytes."""
        refusal = self.refusal(method, len(payload))
        if refusal is not None:
            return refusal
        handler, _ = self._handlers[method]
        try:
            with trio.fail_after(self._timeout):
                body = await handler(peer, payload)
        except RequestRefused as refusal:
            return no(Status.REFUSED, str(refusal))
        except trio.TooSlowError:
            return no(Status.FAILED, f"no answer within {self._timeout} s")
        except Exception:  # a peer's request must not end the node, whatever the handler did
            log.exception("event=handler_failed peer=%s method=%s", peer, method)
            return no(Status.FAILED, "internal error")
        allowed = min(limit, MAX_RESPONSE)
        if len(body) > allowed:
            return no(Status.TOO_LARGE, f"answer has {len(body)} bytes, the limit is {allowed}")
        return Answer(Status.OK, body)


def check_method(method: str) -> bytes:
    """`method` as it goes on the wire.

    Raises:
        ValueError: It is empty, too long or not ASCII.
    """
    if not method.isascii() or not 0 < len(method) <= MAX_METHOD:
        raise ValueError(f"method name must be 1 to {MAX_METHOD} ASCII characters, got {method!r}")
    return method.encode("ascii")


def no(status: Status, sentence: str) -> Answer:
    """An answer that says why there is none."""
    return Answer(status, sentence.encode("utf-8")[:MAX_DETAIL])
