"""One target at its own speed: `python -m tests.fuzz.fast TARGET RUNS FOLDER`.

Nothing is instrumented. What steers is free: a refusal's traceback holds the lines that it passed through,
and an input that is refused by way of a line no other took joins the corpus. So this goes on from where a
guided run has stopped finding branches, and makes the many executions that such a run has no time for.
"""

import random
import resource
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Final

from tests.fuzz.memory import TIMES, dearest
from tests.fuzz.mutation import mutated
from tests.fuzz.target import Target
from tests.fuzz.targets import TARGETS

PATIENCE_S: Final = 5.0
"""What a decoder may think about one input."""

ROOM: Final = 1 << 30
"""Bytes of memory beyond what the process has when it begins; past them comes a MemoryError."""

MEASURE_EACH: Final = 250
"""Of so many inputs one has its memory measured, which takes as long as twenty executions."""


class TookTooLong(Exception):  # noqa: N818 - it is the thing to be found
    """The decoder was at one input for longer than its patience."""


class TookTooMuch(Exception):  # noqa: N818 - it is the thing to be found
    """The decoder allocated over eight times its input."""


class Finding(Exception):  # noqa: N818 - it is no error of ours
    """An input that the decoder does not survive; its cause tells why."""

    def __init__(self, data: bytes) -> None:
        super().__init__(f"on {data.hex()}")
        self.data = data


class Corpus:
    """Inputs worth changing, and the lines by which inputs have been refused so far."""

    def __init__(self, target: Target, inputs: list[bytes]) -> None:
        self.inputs = inputs
        self._target = target
        self._lines: set[tuple[CodeType, int]] = set()
        for data in inputs:
            self.refused_anew(data)

    def refused_anew(self, data: bytes) -> bool:
        """Whether the input is refused by way of a line that no other took; raises only what is a finding."""
        refusal = self._target.refusal(data)
        if refusal is None:
            return False
        known, step = len(self._lines), refusal.__traceback__
        while step is not None:
            self._lines.add((step.tb_frame.f_code, step.tb_lasti))
            step = step.tb_next
        return len(self._lines) > known


def fuzz(
    target: Target,
    corpus: Corpus,
    *,
    runs: int,
    chance: random.Random,
    keep: Callable[[bytes], object],
    patience_s: float = PATIENCE_S,
) -> None:
    """Try changed inputs of the corpus, and keep those that got somewhere new.

    Raises:
        Finding: The decoder raised what it does not name, or took too long or too much.
    """
    before, data = signal.signal(signal.SIGALRM, _out_of_patience), b""
    try:
        for run in range(runs):
            signal.setitimer(signal.ITIMER_REAL, patience_s)
            data = mutated(corpus.inputs, chance)[: target.longest]
            if corpus.refused_anew(data):
                corpus.inputs.append(data)
                keep(data)
            if run % MEASURE_EACH == 0:
                _measure(target, data)
    except Exception as error:
        # Everything that a decoder raises and does not name is what we are looking for.
        raise Finding(data) from error
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _measure(target: Target, data: bytes) -> None:
    times, _ = dearest(target.attempt, [data])
    if times > TIMES:
        raise TookTooMuch(f"{times:.1f} times {len(data)} bytes")


def _out_of_patience(_signal: int, _frame: FrameType | None) -> None:
    raise TookTooLong


def _limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + ROOM
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def main() -> int:
    """Fuzz until the runs are used up or something is found, which the exit code tells."""
    name, runs, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    home = folder / "corpus"
    inputs = [path.read_bytes() for path in sorted(home.iterdir())]
    known = len(inputs)

    def keep(data: bytes) -> None:
        (home / f"fast-{len(inputs):05}").write_bytes(data)

    _limit_memory()
    target = TARGETS[name]
    corpus = Corpus(target, inputs)
    try:
        fuzz(target, corpus, runs=runs, chance=random.Random(name), keep=keep)
    except Finding as finding:
        traceback.print_exc()
        (folder / "fast-finding").write_bytes(finding.data)
        return 1
    print(f"{runs} executions, {len(inputs) - known} inputs were refused by a new line")
    return 0


if __name__ == "__main__":
    sys.exit(main())
