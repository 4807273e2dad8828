"""Reading the whole database now and then: a bit that flips in an old block is found before it is needed."""

import logging
from typing import Final

import trio

from chain.database.interface import Database

_log = logging.getLogger(__name__)

STEP: Final = 500
"""Entries that one step reads at most."""

STEP_BYTES: Final = 1 << 20
"""A step ends with the entry that reaches this; the node does nothing else meanwhile."""

PAUSE_SECONDS: Final = 0.05
"""Between two steps: reading takes a few parts in a hundred of the node's time, of full bodies a tenth."""

REST_SECONDS: Final = 6 * 3600.0
"""Between two rounds."""


class Scrubber:
    """Walks through a database again and again; every read verifies checksums."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._next = b""

    async def run(self) -> None:
        """Scrub for ever.

        Raises:
            CorruptionError: Something was damaged. The node must stop; its next start syncs anew.
        """
        while True:
            has_more = self.step()
            if not has_more:
                _log.info("read the whole database: no damage")
            await trio.sleep(PAUSE_SECONDS if has_more else REST_SECONDS)

    def step(self) -> bool:
        """Read some entries; whether there are more in this round.

        Raises:
            CorruptionError: Something was damaged.
        """
        size = 0
        for read, (key, value) in enumerate(self._database.iterate(prefix=b"", start=self._next), 1):
            size += len(key) + len(value)
            if read == STEP or size >= STEP_BYTES:
                self._next = key + b"\0"
                return True
        self._next = b""
        return False
