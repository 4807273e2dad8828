"""The peer's process, as the campaign sees it: orders in, samples out."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Final

from tests.house import ROOT
from tests.overload.peer import Order, Place
from tests.overload.samples import Sample

_END_S: Final = 30.0


class Offering:
    """A running peer."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.samples: list[Sample] = []
        """All so far, in order."""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def order(self, order: Order) -> None:
        """Let it offer from now on; it ends that by itself."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asdict(order)) + "\n")
        self._process.stdin.flush()

    def check(self) -> None:
        """See that it runs.

        Raises:
            AssertionError: It has ended.
        """
        assert self._process.poll() is None, f"the peer ended with {self._process.returncode}"

    def end(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._reader.join()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.samples.append(Sample(**json.loads(line)))


@contextmanager
def offering(place: Place) -> Iterator[Offering]:
    """A peer that is gone afterwards, whatever happened."""
    command = [sys.executable, "-m", "tests.overload.peer", json.dumps(asdict(place))]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        peer = Offering(process)
        try:
            yield peer
        finally:
            peer.end()
