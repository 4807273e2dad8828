"""Bits that flip on the disk of a node: `python -m tests.tools.node.flips --flips 500`.

Each time one bit of one file of a node's database is flipped, and the node starts on it. Either nothing that
is read has changed, or the damage is found, at the start or when the node reads through its database, and
what was lost comes from a peer. It must never hold, or hand out, anything that is not the chain.
"""

import argparse
import collections
import enum
import logging
import shutil
import tempfile
from functools import partial
from pathlib import Path
from random import Random

import trio
from trio.testing import MockClock

from chain.database.interface import CorruptionError
from chain.database.leveldb import open_leveldb
from p2p.memory import Link, open_hub
from p2p.network import PeerId
from tests.tools.node.long_chain import LongChain, document, open_chain
from tests.tools.node.sync_campaign import beginner, follow, serve
from tools.node.scrub import Scrubber
from tools.node.storage import mark_of, open_store
from tools.node.verify import check_whole

BLOCKS = 66
EPOCH = 12
GENESIS = document(epoch_length=EPOCH)


class Outcome(enum.Enum):
    """What became of a flipped bit."""

    HARMLESS = "nothing that is read has changed"
    SHORTER = "found at the start; the newest blocks were gone, and came from a peer"
    AT_START = "found at the start; everything came from a peer"
    WHILE_READING = "found while reading; everything came from a peer"


async def make_chain(folder: Path) -> None:
    """A database of several tables and a log."""
    database = open_leveldb(folder, write_buffer_bytes=1 << 15)
    await open_chain(database, GENESIS).grow(BLOCKS - 6, transfers=2, direct=3)
    database.close()
    database = open_leveldb(folder)
    await open_chain(database, GENESIS).grow(6, transfers=2, direct=3)
    database.close()


def flip(folder: Path, rng: Random) -> str:
    """Flip one bit of one file that LevelDB reads; which."""
    files = sorted(path for path in folder.iterdir() if path.name not in ("LOCK", "LOG", "LOG.old"))
    files = [path for path in files if path.stat().st_size]
    # Files of any size alike: most of the bytes are in the tables.
    path = rng.choice(files)
    raw = bytearray(path.read_bytes())
    bit = rng.randrange(8 * len(raw))
    raw[bit // 8] ^= 1 << bit % 8
    path.write_bytes(raw)
    return f"{path.name} bit {bit}"


def contents(folder: Path) -> dict[bytes, bytes]:
    """Everything in a database."""
    database = open_leveldb(folder)
    everything = dict(database.iterate(prefix=b""))
    database.close()
    return everything


async def start(folder: Path, source: LongChain, network_seed: int) -> Outcome:
    """Start a node on a database that may be damaged, twice if it stops, and let it catch up."""
    opened = partial(
        open_store, folder, genesis=GENESIS.digest, check_whole=partial(check_whole, genesis=GENESIS)
    )
    database, store = opened()
    outcome = Outcome.AT_START if store is None else Outcome.HARMLESS
    if store is not None:
        if store.head.height < BLOCKS:
            outcome = Outcome.SHORTER
        scrubber = Scrubber(database)
        try:
            while scrubber.step():
                pass
        except CorruptionError:
            assert mark_of(folder).exists(), "the next start does not know"
            outcome = Outcome.WHILE_READING
            database.close()
            database, store = opened()
            assert store is None, "a database that was found damaged was opened again"
    if outcome is not Outcome.HARMLESS:
        chain = open_chain(database, GENESIS)
        async with open_hub(rng=Random(network_seed), link=Link(delay=0.005)) as hub:
            serve(hub.join(PeerId("peer")), source)
            await follow(beginner(hub.join(PeerId("me")), chain, with_state=False), BLOCKS)
        store = chain.store
    assert store is not None
    check_whole(store, database, GENESIS)
    assert store.head.digest == source.store.head.digest, "another chain"
    database.close()
    return outcome


async def campaign(folder: Path, flips: int, *, seed: int = 1) -> collections.Counter[Outcome]:
    """Flip bits one after another, each in a fresh copy of one chain."""
    await make_chain(folder / "chain")
    whole = contents(folder / "chain")
    shutil.copytree(folder / "chain", folder / "source")
    served = open_leveldb(folder / "source")
    source = open_chain(served, GENESIS)
    outcomes: collections.Counter[Outcome] = collections.Counter()
    for number in range(flips):
        rng = Random(f"{seed}/{number}")
        work = folder / "work"
        shutil.copytree(folder / "chain", work / "chain")
        where = flip(work / "chain", rng)
        try:
            outcome = await start(work / "chain", source, number)
            if outcome is Outcome.HARMLESS:
                assert contents(work / "chain") == whole, "a changed value was not noticed"
        except BaseException:
            print(f"seed {seed}/{number}: {where}")
            raise
        outcomes[outcome] += 1
        shutil.rmtree(work)
    served.close()
    return outcomes


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.tools.node.flips", description=__doc__)
    parser.add_argument("--flips", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder:
        outcomes = trio.run(
            partial(campaign, Path(folder), options.flips, seed=options.seed),
            clock=MockClock(autojump_threshold=0),
        )
    for outcome in Outcome:
        print(f"{outcomes[outcome]:5d}  {outcome.value}")
    print(f"{outcomes.total():5d}  bits flipped, all of them harmless, or found and healed")


if __name__ == "__main__":
    main()
