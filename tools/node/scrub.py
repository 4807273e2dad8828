"""Reading the whole database now and then: a bit that flips in an old block is found before it is needed."""

import logging
from itertools import islice
from typing import Final

import trio

from chain.database.interface import Database

_log = logging.getLogger(__name__)

STEP: Final = 500
"""Entries that one step reads."""

PAUSE_SECONDS: Final = 0.05
"""Between two steps: reading takes a few parts in a hundred of the node's time."""

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
        entries = list(islice(self._database.iterate(prefix=b"", start=self._next), STEP))
        self._next = entries[-1][0] + b"\0" if len(entries) == STEP else b""
        return len(entries) == STEP
