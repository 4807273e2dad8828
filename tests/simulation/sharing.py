"""Nodes of one process share what is a pure function of shared values: a block is executed once for all of
them, a proof is checked once, its records are made once, a state entry is decoded once.

What a world is about stays apart for each node: headers, signatures, outcomes against headers, stores,
mempools. One answer in `_REPEATED` is worked out again all the same and must come out the same, or the
function is not pure.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, Generic, TypeVar

import chain.execution.block
import chain.execution.ledger
import chain.execution.proofs
import chain.execution.queries
import chain.layout
import chain.mempool
import chain.store
import chain.types.block
import consensus.safe_store
import tools.node.ledger
from chain.batches import block_records, undo_of
from chain.codec import decode, encode
from chain.execution.block import Execution, execute_block
from chain.execution.records import Commit
from chain.execution.run import BlockContext, Run
from chain.layout import Changes, Undo
from chain.state.tree import StateTree
from chain.types.block import Block, Header
from chain.types.committee import Committee
from chain.types.receipt import BlockOutcome
from chain.types.statement import Statement
from chain.types.transaction import SignedTransaction, Transaction
from consensus.messages import Certificate, Vote
from pouw.proofs.proof import ProofError
from tests.simulation.planted import swapped

_KEPT: Final = 2048
_REPEATED: Final = 16
_CHECKED_AT_START: Final = 8
"""Heights that a start walks; the long walk has tests of its own."""

Entries = Mapping[bytes, bytes | None]
_Subject = TypeVar("_Subject")
_Result = TypeVar("_Result")


class Impure(AssertionError):  # noqa: N818 - reads as a sentence where it is caught
    """The same question got two answers."""


class _Answers(Generic[_Result]):
    """Of one pure function, by what they follow from."""

    def __init__(self, *, told: Callable[[_Result], object] = lambda result: result) -> None:
        self._told = told
        """What must be the same of two answers."""
        self._known: dict[object, tuple[object, _Result]] = {}
        self._used = 0

    def find(self, key: object, kept: object, work: Callable[[], _Result]) -> _Result:
        """The answer under ``key``. Addresses in it are of ``kept``, lest they become others'."""
        found = self._known.get(key)
        if found is None:
            result = work()
            _put(self._known, key, (kept, result))
            return result
        self._used += 1
        if self._used % _REPEATED == 0 and self._told(work()) != self._told(found[1]):
            raise Impure(f"{key} came out twice, and differently")
        return found[1]


def _executor() -> Callable[..., Execution]:
    answers = _Answers[Execution](told=lambda execution: (execution.state.root, execution.outcome))

    def shared(
        state: StateTree, context: BlockContext, transactions: Sequence[SignedTransaction], **rules: Any
    ) -> Execution:
        key = (state.root, context, id(transactions))
        return answers.find(key, transactions, lambda: execute_block(state, context, transactions, **rules))

    return shared


def _proof_checker() -> Callable[..., None]:
    """Leaders draft blocks, forks hold the same proofs: what differs there is not what a proof is about."""
    answers = _Answers[ProofError | None](told=str)
    check, items_of = chain.execution.proofs._check, chain.execution.proofs._items

    def shared(run: Run, commit: Commit, encoded: bytes, *, seed: bytes) -> None:
        def checked() -> ProofError | None:
            try:
                check(run, commit, encoded, seed=seed)
            except ProofError as error:
                return error
            return None

        items = items_of(run, commit)
        covered = items._commons, tuple(read() for read in items._tasks)
        error = answers.find((run.params, commit, covered, encoded, seed), run.params, checked)
        if error is not None:
            raise ProofError(error.reason, error.message)

    return shared


def _record_maker() -> Callable[..., Changes]:
    answers = _Answers[Changes]()

    def shared(
        block: Block, outcome: BlockOutcome, certificate: bytes | None, committee: Committee | None,
        *, epoch: int,
    ) -> Changes:  # fmt: skip
        key = (id(block), id(outcome), certificate, id(committee), epoch)
        return answers.find(
            key, (block, outcome, committee),
            lambda: block_records(block, outcome, certificate, committee, epoch=epoch),
        )  # fmt: skip

    return shared


def _undo_maker() -> Callable[..., Undo]:
    answers = _Answers[Undo]()

    def shared(changes: Entries, written: Entries, state: StateTree) -> Undo:
        if written:
            return undo_of(changes, written, state)
        return answers.find((id(changes), state.root), changes, lambda: undo_of(changes, written, state))

    return shared


def _decoder() -> Callable[..., Any]:
    known: dict[tuple[type, bytes], Any] = {}

    def shared(kind: type, data: bytes, *, limit: int) -> Any:
        found = known.get((kind, data))
        if found is None:
            found = decode(kind, data, limit=limit)
            _put(known, (kind, data), found)
        return found

    return shared


def _of_each(pure: Callable[[_Subject], _Result]) -> Callable[[_Subject], _Result]:
    """``pure`` of each object that nobody changes; equal objects are objects of their own."""
    known: dict[int, tuple[_Subject, _Result]] = {}

    def shared(subject: _Subject) -> _Result:
        found = known.get(id(subject))
        if found is None:
            found = subject, pure(subject)
            _put(known, id(subject), found)
        return found[1]

    return shared


def _of_statements(pure: Callable[[Statement, str], bytes]) -> Callable[[Statement, str], bytes]:
    """What is signed of each statement, on one chain: everybody verifies what everybody signs."""
    known: dict[int, tuple[Statement, str, bytes]] = {}

    def shared(statement: Statement, chain_id: str) -> bytes:
        found = known.get(id(statement))
        if found is None or found[1] != chain_id:
            found = statement, chain_id, pure(statement, chain_id)
            _put(known, id(statement), found)
        return found[2]

    return shared


def _put(known: dict[Any, Any], key: object, value: object) -> None:
    if len(known) >= _KEPT:
        known.clear()
    known[key] = value


@contextmanager
def shared_results() -> Iterator[None]:
    """Share executions, digests and encodings among all nodes of the worlds that run inside."""
    encoder, decoder = _of_each(encode), _decoder()
    derived = [
        (Header, "digest"), (Transaction, "id"), (BlockOutcome, "root"), (Committee, "root"),
        (Vote, "statement"), (Certificate, "statement"),
    ]  # fmt: skip
    writers = [
        chain.types.block, chain.mempool, chain.execution.block, chain.store, consensus.safe_store,
        tools.node.ledger,
    ]  # fmt: skip
    readers = [chain.execution.queries, chain.execution.ledger, chain.layout]
    with swapped(
        (tools.node.ledger, "execute_block", _executor()),
        (chain.execution.proofs, "_check", _proof_checker()),
        (chain.store, "block_records", _record_maker()),
        (chain.store, "undo_of", _undo_maker()),
        (chain.store, "CHECKED_AT_START", _CHECKED_AT_START),
        *((owner, name, property(_of_each(owner.__dict__[name].fget))) for owner, name in derived),
        (Statement, "signing_bytes", _of_statements(Statement.signing_bytes)),
        *((module, "encode", encoder) for module in writers),
        *((module, "decode", decoder) for module in readers),
    ):
        yield
