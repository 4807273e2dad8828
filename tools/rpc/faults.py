"""What can go wrong in a call, as JSON-RPC tells it: a number, a code, a sentence and what to do next."""

import enum
from typing import Any


class Code(enum.IntEnum):
    """Error numbers: JSON-RPC 2.0 section 5.1, and our own from -32000 down."""

    PARSE_ERROR = -32700
    INVALID_REQUEST = -32600
    METHOD_NOT_FOUND = -32601
    INVALID_PARAMS = -32602
    INTERNAL_ERROR = -32603
    REFUSED = -32000
    """The chain's rules or the mempool say no; `data.code` is the `Reason`."""
    NOT_FOUND = -32001
    """This node's final chain has nothing of that name."""
    NOT_READY = -32002
    """The node cannot answer yet; `data.next` says what it waits for."""
    FORBIDDEN = -32003
    """Only a program on the node's own machine may call this."""
    TIMED_OUT = -32004
    """The answer took longer than the server allows."""


class RpcFault(Exception):  # noqa: N818 - reads as a sentence where it is raised
    """A call that brings no result."""

    def __init__(self, number: Code, message: str, *, code: str = "", next_step: str = "") -> None:
        super().__init__(message)
        self.number = number
        self.message = message
        self.code = code or number.name
        """A `Reason` by name for `Code.REFUSED`, else the number's own name."""
        self.next_step = next_step

    def as_object(self) -> dict[str, Any]:
        """The error member of a response."""
        data = {"code": self.code, "message": self.message, "next": self.next_step}
        return {"code": int(self.number), "message": self.message, "data": data}
