"""JSON from strangers, read only where that takes little memory for its size.

`{}` and a comma are three bytes of text, and 72 of memory in a list: a document of little else would take
thirty times its size. So what it would take is added up from its marks before anything is built.
"""

import json
from typing import Any, Final

TIMES: Final = 8
"""Bytes of memory that a document may take for each of its own, the text included."""

_FREE: Final = 8 * 1024
"""What a document may take whatever its size."""

_MARKS: Final = (("{", 192), ("[", 64), (",", 40))
"""What begins with a mark takes so much: an object of some members, an empty list, a number and its place."""


def read_json(text: str | bytes, *, size: int | None = None, **hooks: Any) -> Any:
    """The value of a JSON document.

    Args:
        text: the document, of any length; whoever reads it bounds that.
        size: bytes of the file that it is a part of, if it is.
        hooks: see `json.loads`.

    Raises:
        ValueError: It is not JSON, is nested deeper than Python reads, or would take more than TIMES its
            size; or a hook says so.
    """
    size = len(text) if size is None else size
    cost = sum(takes * _count(text, mark) for mark, takes in _MARKS)
    if cost > (TIMES - 1) * size + _FREE:
        raise ValueError(f"{len(text)} bytes of values that would take about {cost} bytes of memory")
    try:
        return json.loads(text, **hooks)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def _count(text: str | bytes, mark: str) -> int:
    return text.count(mark) if isinstance(text, str) else text.count(mark.encode())
