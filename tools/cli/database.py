"""`headrace verify` and `headrace rollback`: the database of a node that is stopped."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tools.cli.errors import CliError, Exit
from tools.cli.node import CONFIG_NAME, home_option
from tools.cli.options import json_option
from tools.cli.output import emit, pairs, table

if TYPE_CHECKING:
    from chain.database.leveldb import LevelDatabase
    from chain.store import BlockStore
    from genesis.document import GenesisDocument

_TOLD_EVERY = 1000


@click.command(epilog="Example: headrace verify --home ~/headrace --replay")
@home_option
@click.option("--replay", is_flag=True, help="Execute every block again, too.")
@json_option
def verify(home: Path, *, replay: bool, as_json: bool) -> None:
    """Check a stopped node's whole database: chain, certificates, committees, state, indices.

    Nothing on the disk is believed but the genesis file. Exit code 0: all of it fits; 1: something does not,
    and the node should sync anew.
    """
    from chain.database.interface import CorruptionError
    from chain.database.memory import MemoryDatabase
    from genesis.registry import registry_of
    from tools.node.replay import Replay
    from tools.node.run import create_chain
    from tools.node.verify import verify_database

    def tell(what: str, done: int, whole: int) -> None:
        if not as_json and (done % _TOLD_EVERY == 0 or done == whole):
            click.echo(f"{what}: {done} of {whole}", err=True)

    with _opened(home) as (store, database, genesis):
        again = Replay(registry_of(genesis), create_chain(MemoryDatabase(), genesis).state)
        try:
            report = verify_database(
                store, database, genesis, replay=again if replay else None, progress=tell
            )
        except CorruptionError as error:
            raise _damaged(str(error)) from None
    document = asdict(report)
    shown = pairs(
        [
            ("heights", f"{report.first} to {report.head}"),
            ("blocks", f"{report.blocks} with {report.transactions} transactions, {report.events} events"),
            ("certificates", report.certificates),
            ("epochs", f"{report.epochs}, each committee proven by the one before"),
            ("state", f"{report.entries} entries; {report.undone} blocks taken back and compared"),
            ("replayed", report.replayed if replay else "not asked for"),
            *(("note", note) for note in report.notes),
        ]
    )
    if not report.faults:
        emit(document, [*shown, "everything fits"], as_json=as_json)
        return
    faults = [(fault.code, fault.message) for fault in report.faults]
    emit(document, [*shown, "", *table(("fault", "what does not fit"), faults)], as_json=as_json)
    raise _damaged(f"{len(faults)} things do not fit, first: {faults[0][1]}", code=faults[0][0])


@click.command(epilog="Example: headrace rollback 10 --home ~/headrace --discard-final")
@click.argument("blocks", type=click.IntRange(1))
@home_option
@click.option(
    "--discard-final", is_flag=True, help="Yes: throw away the local copy of blocks that are final."
)
@json_option
def rollback(blocks: int, home: Path, *, discard_final: bool, as_json: bool) -> None:
    """Take the newest BLOCKS of a stopped node back, and its state with them.

    Final blocks are final: this changes no chain. The local copy goes, and the node fetches the very same
    blocks again from its peers. The signing log is not touched: the node's key keeps to what it signed.
    """
    from chain.store import TooFarBack

    if not discard_final:
        raise CliError(
            f"all blocks in the database are final; taking {blocks} back throws away the local copy alone, "
            "and the node will fetch them again",
            code="FINAL", next_step="if that is what you want, add --discard-final",
            exit_code=Exit.REFUSED,
        )  # fmt: skip
    with _opened(home) as (store, _, _genesis):
        before = store.head.height
        if blocks > before:
            raise CliError(
                f"{blocks} blocks are to go, and the chain here has {before}", code="TOO_FAR_BACK",
                next_step="go back less, or remove the database folder: the node then syncs anew",
                exit_code=Exit.REFUSED,
            )  # fmt: skip
        try:
            after = store.roll_back(blocks)
        except TooFarBack as error:
            raise CliError(
                str(error), code="TOO_FAR_BACK",
                next_step="go back less, or remove the database folder: the node then syncs anew",
                exit_code=Exit.REFUSED,
            ) from None  # fmt: skip
        document = {"before": before, "after": after, "block": store.head.digest.hex()}
    lines = [
        f"went back from height {before} to {after}, {document['block']}",
        "the blocks above are final all the same: the node fetches them again when it runs",
        "the signing log is as it was",
    ]
    emit(document, lines, as_json=as_json)


@contextmanager
def _opened(home: Path) -> "Iterator[tuple[BlockStore, LevelDatabase, GenesisDocument]]":
    """The chain of a stopped node, exactly as it is on disk: nothing is repaired."""
    from chain.database.interface import CorruptionError, DatabaseError, DatabaseReason
    from chain.database.leveldb import open_leveldb
    from chain.store import BlockStore, ForeignDatabase
    from tools.cli.genesis import load_genesis
    from tools.node.beginning import undo_blocks
    from tools.node.config import ConfigError, read_config

    try:
        config = read_config(home / CONFIG_NAME)
    except (ConfigError, OSError) as error:
        why = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error)
        raise CliError(why, code="BAD_CONFIG", next_step="name the node's folder: --home DIR") from None
    genesis = load_genesis(config.genesis)
    try:
        database = open_leveldb(config.data_dir / "chain", create=False)
    except CorruptionError as error:
        raise _damaged(str(error)) from None
    except DatabaseError as error:
        running = error.reason is DatabaseReason.LOCKED
        raise CliError(
            str(error), code=error.reason.name,
            next_step="stop the node first" if running else "check the folder",
            exit_code=Exit.REFUSED if running else Exit.ERROR,
        ) from None  # fmt: skip
    try:
        store = BlockStore.open(database, genesis=genesis.digest)
        if store is None:
            raise CliError(
                f"{config.data_dir / 'chain'} is empty", code="EMPTY", next_step="start the node once"
            )
        store.undo_blocks = undo_blocks(genesis)
        yield store, database, genesis
    except CorruptionError as error:
        raise _damaged(str(error)) from None
    except ForeignDatabase as error:
        raise CliError(
            str(error), code="FOREIGN", next_step="check which genesis file the node has",
            exit_code=Exit.REFUSED,
        ) from None  # fmt: skip
    finally:
        database.close()


def _damaged(message: str, *, code: str = "DATABASE_DAMAGED") -> CliError:
    return CliError(
        message, code=code,
        next_step="start the node: it moves what is damaged aside and syncs anew; the signing log stays",
    )  # fmt: skip
