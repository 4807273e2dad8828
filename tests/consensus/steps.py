"""Work that is cut into steps, done in one go by tests that have nothing else to do meanwhile."""

from collections.abc import Generator
from typing import TypeVar

_Result = TypeVar("_Result")


def finish(steps: Generator[None, None, _Result]) -> _Result:
    """What comes out after all steps."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: _Result = end.value
            return result
