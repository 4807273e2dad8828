"""A whole database, checked against itself and the genesis file: what `headrace verify` does.

Nothing on the disk is believed: committees are proven from the genesis file up, each certificate is checked
against the committee of its epoch, each root against what it is over, each index in both directions, and the
undo records by going back. With a replay every block is executed again, too.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from chain.batches import event_entries
from chain.codec import decode, encode
from chain.database.interface import CorruptionError, Database
from chain.execution.conservation import StateError, check_state
from chain.layout import (
    BODY,
    CERTIFICATE,
    EVENT,
    HEADER,
    HEIGHT_OF_BLOCK,
    MAX_CERTIFICATE_BYTES,
    OUTCOME,
    PLACE_OF_TRANSACTION,
)
from chain.msgpack_reader import DecodeError
from chain.store import BlockStore
from chain.types.block import Block, Header, transactions_root
from chain.types.receipt import BlockOutcome
from chain.types.statement import Kind
from consensus.messages import Certificate, CertificateError
from consensus.sync.light import EpochProof, ProofError, TrustedCommittee, verify_epoch
from genesis.document import GenesisDocument
from tools.node.replay import Replay, execute_again

MAX_FAULTS: Final = 100

Progress = Callable[[str, int, int], None]
"""Told what is being checked, how far it is, and how far it goes."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that does not fit."""

    code: str
    message: str


@dataclass(slots=True)
class Report:
    """What was looked at, and what does not fit."""

    first: int
    head: int
    blocks: int = 0
    transactions: int = 0
    events: int = 0
    certificates: int = 0
    epochs: int = 0
    undone: int = 0
    """Blocks that were taken back, in memory, to check the undo records."""
    entries: int = 0
    replayed: int = 0
    notes: list[str] = field(default_factory=list)
    """What could not be looked at, and why; nothing is wrong with it."""
    faults: list[Fault] = field(default_factory=list)

    def add(self, code: str, message: str) -> None:
        """Note a fault; beyond `MAX_FAULTS` they are not told apart any more."""
        if len(self.faults) < MAX_FAULTS:
            self.faults.append(Fault(code, message))


def verify_database(
    store: BlockStore,
    database: Database,
    genesis: GenesisDocument,
    *,
    replay: Replay | None = None,
    progress: Progress = lambda _what, _done, _all: None,
) -> Report:
    """Check everything; blocks are executed again only if `replay` is given.

    Raises:
        CorruptionError: A record cannot be read; nothing behind it was checked.
    """
    report = Report(store.first, store.head.height, entries=len(store.state))
    _check_genesis(store, genesis, report)
    _check_epochs(store, genesis, report, progress)
    for height in range(store.first, store.head.height + 1):
        _check_block(store, database, genesis, height, report)
        progress("blocks", height, store.head.height)
    _check_indices(store, database, genesis, report)
    _check_state(store, genesis, report)
    _check_undo(store, report)
    if replay is not None:
        _replay(store, genesis, replay, report, progress)
    return report


def check_whole(store: BlockStore, database: Database, genesis: GenesisDocument) -> None:
    """Check everything but what execution gives.

    Raises:
        CorruptionError: The first thing that does not fit.
    """
    report = verify_database(store, database, genesis)
    if report.faults:
        raise CorruptionError(f"{report.faults[0].code}: {report.faults[0].message}")


def _check_genesis(store: BlockStore, genesis: GenesisDocument, report: Report) -> None:
    header = store.header(0)
    if header is None or store.committee(0) != genesis.committee:
        report.add("WRONG_GENESIS", "height 0 or its committee is not the genesis file's")
    elif header.beacon != genesis.digest or header.next_committee_root != genesis.committee.root:
        report.add("WRONG_GENESIS", f"the beacon of height 0 is {header.beacon.hex()}, not the file's digest")


def _check_epochs(store: BlockStore, genesis: GenesisDocument, report: Report, progress: Progress) -> None:
    """Every committee, each proven by the one before."""
    params = genesis.params
    trusted = TrustedCommittee(0, genesis.committee)
    ended = store.head.height // params.epoch_length
    for epoch in range(ended):
        height = params.last_height(epoch)
        header, raw, committee = store.header(height), store.finalization(height), store.committee(epoch + 1)
        if header is None or raw is None or committee is None:
            report.add("EPOCH_MISSING", f"epoch {epoch}: no header, certificate or next committee")
            return
        try:
            certificate = decode(Certificate, raw, limit=MAX_CERTIFICATE_BYTES)
            trusted = verify_epoch(EpochProof(header, certificate, committee), trusted, params=params)
        except (ProofError, DecodeError) as error:
            report.add("EPOCH_UNPROVEN", f"epoch {epoch}: {error}")
            return
        report.epochs += 1
        progress("epochs", epoch + 1, ended)


def _check_block(
    store: BlockStore, database: Database, genesis: GenesisDocument, height: int, report: Report
) -> None:
    header, block, outcome = store.header(height), store.block(height), store.outcome(height)
    if header is None or block is None or outcome is None:
        report.add("BLOCK_MISSING", f"height {height}: no header, body or outcome")
        return
    report.blocks += 1
    below = store.header(height - 1)
    if header.height != height or header.epoch != genesis.params.epoch_of(height):
        report.add("WRONG_PLACE", f"height {height} holds height {header.height} of epoch {header.epoch}")
    # Below the first block at most the end of an epoch is kept.
    follows = height == store.first if below is None else header.parent == below.digest
    if not follows:
        report.add("BROKEN_CHAIN", f"height {height} does not follow the one below it")
    if header.transactions_root != transactions_root(block.transactions):
        report.add("WRONG_BODY", f"height {height}: the transactions are not the ones its header names")
    if header.receipts_root != outcome.root:
        report.add("WRONG_OUTCOME", f"height {height}: the outcome is not the one its header names")
    if len(outcome.receipts) != len(block.transactions):
        report.add("WRONG_OUTCOME", f"height {height}: {len(outcome.receipts)} receipts")
    _check_certificate(store, genesis, header, report)
    _check_names(store, database, block, outcome, report)


def _check_certificate(store: BlockStore, genesis: GenesisDocument, header: Header, report: Report) -> None:
    raw = store.finalization(header.height)
    committee = store.committee(header.epoch)
    if raw is None or committee is None:
        return
    try:
        certificate = decode(Certificate, raw, limit=MAX_CERTIFICATE_BYTES)
        said = (certificate.kind, certificate.epoch, certificate.digest)
        if said != (Kind.FINALIZE, header.epoch, header.digest):
            report.add("WRONG_CERTIFICATE", f"height {header.height}: it names {certificate.digest.hex()}")
            return
        certificate.verify(committee, genesis.params.chain_id)
    except (CertificateError, DecodeError) as error:
        report.add("BAD_CERTIFICATE", f"height {header.height}: {error}")
    report.certificates += 1


def _check_names(
    store: BlockStore, database: Database, block: Block, outcome: BlockOutcome, report: Report
) -> None:
    """That every index leads here."""
    height = block.header.height
    if store.height_of(block.digest) != height:
        report.add("WRONG_INDEX", f"height {height} is not found by its digest")
    for index, transaction in enumerate(block.transactions):
        report.transactions += 1
        if store.find_transaction(transaction.id) != (height, index):
            report.add("WRONG_INDEX", f"transaction {transaction.id.hex()} is not found at height {height}")
    for key, event in event_entries(height, outcome):
        report.events += 1
        if database.get(key) != encode(event):
            report.add("WRONG_INDEX", f"an event of height {height} is not found by {key[2:-12].hex()}")


def _check_indices(store: BlockStore, database: Database, genesis: GenesisDocument, report: Report) -> None:
    """That nothing else is indexed, and that the head is covered by a certificate."""
    headers = 1 + report.blocks + (store.first - 1) // genesis.params.epoch_length
    expected = {
        HEADER: headers, BODY: 1 + report.blocks, OUTCOME: 1 + report.blocks, HEIGHT_OF_BLOCK: headers,
        PLACE_OF_TRANSACTION: report.transactions, EVENT: report.events,
    }  # fmt: skip
    for namespace, count in expected.items():
        found = sum(1 for _ in database.iterate(prefix=namespace))
        if found != count:
            report.add("STRAY_RECORDS", f"{found} records under {namespace.decode()!r}, expected {count}")
    for key, _ in database.iterate(prefix=CERTIFICATE):
        height = int.from_bytes(key[1:], "big")
        if store.header(height) is None:
            report.add("STRAY_RECORDS", f"a certificate of height {height}, whose header is not here")
    if store.head.height and store.finalization(store.head.height) is None:
        report.add("HEAD_UNCERTIFIED", f"height {store.head.height} has no certificate of its own")


def _check_state(store: BlockStore, genesis: GenesisDocument, report: Report) -> None:
    if store.state.root != store.head.state_root:
        report.add(
            "WRONG_STATE", f"root {store.state.root.hex()}, the head has {store.head.state_root.hex()}"
        )
        return
    try:
        check_state(store.state, params=genesis.params)
    except StateError as error:
        report.add("STATE_CONTRADICTION", str(error))


def _check_undo(store: BlockStore, report: Report) -> None:
    for height, state in store.states_back():
        header = store.header(height)
        if header is None:
            return
        if state.root != header.state_root:
            report.add("WRONG_UNDO", f"going back to height {height} leads to root {state.root.hex()}")
            return
        report.undone += 1


def _replay(
    store: BlockStore, genesis: GenesisDocument, replay: Replay, report: Report, progress: Progress
) -> None:
    """Execute every block again, from the oldest state that can be had."""
    done = execute_again(
        store, genesis, replay, tell=lambda height: progress("replay", height, store.head.height)
    )
    report.replayed = done.blocks
    if done.note:
        report.notes.append(done.note)
    if done.invalid:
        report.add("INVALID_BLOCK", done.invalid)
