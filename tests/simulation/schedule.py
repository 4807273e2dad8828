"""Trio with a schedule that a seed decides.

Trio shuffles the tasks that may run. A private switch makes it sort them first, and its generator can be
seeded: the same seed is then the same run, another seed another schedule. Private, so it is used here alone,
and a test asserts that trio still has it.
"""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import trio
from trio._core import _run
from trio.testing import MockClock

Result = TypeVar("Result")


class Steps(trio.abc.Instrument):
    """Names of the tasks, in the order in which they took their steps."""

    def __init__(self) -> None:
        self.taken: list[tuple[float, str]] = []

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.taken.append((trio.current_time(), task.name))


def run_seeded(
    body: Callable[[], Awaitable[Result]], *, seed: int, instruments: tuple[Any, ...] = ()
) -> Result:
    """Run under virtual time, with the schedule of ``seed``."""
    before, state = _run._ALLOW_DETERMINISTIC_SCHEDULING, _run._r.getstate()
    _run._ALLOW_DETERMINISTIC_SCHEDULING = True
    _run._r.seed(seed)
    try:
        return trio.run(body, clock=MockClock(autojump_threshold=0), instruments=list(instruments))
    finally:
        _run._ALLOW_DETERMINISTIC_SCHEDULING = before
        _run._r.setstate(state)
