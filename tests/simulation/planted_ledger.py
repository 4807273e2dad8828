"""Bugs of execution, mempool and headers."""

# Patches take the arguments of what they replace.
# ruff: noqa: ARG005

from types import SimpleNamespace

import chain.execution.block
import chain.execution.header
import chain.execution.proofs
import chain.types.evidence
import consensus.simplex.witness
import tools.node.ledger
from chain.execution import commits, epochs, miners, open_commits, state_keys
from chain.execution.invalid import BlockReason, InvalidBlock, NotIncludable
from chain.execution.records import Commit
from chain.execution.run import Run
from chain.mempool import Mempool
from chain.reasons import Reason
from chain.seats import apportion_seats
from chain.types.params import ChainParams
from chain.types.statement import Kind, Statement, excludes
from chain.types.transaction import ProveWork, SignedTransaction
from tests.simulation.planted import Bug, patch

_AFFORDABLE = chain.execution.block.check_affordable
_OUTCOME = tools.node.ledger.check_outcome
_PROVE = chain.execution.proofs.prove_work


def _any_nonce(*arguments: object) -> None:
    try:
        _AFFORDABLE(*arguments)  # type: ignore[arg-type]
    except NotIncludable as error:
        if error.reason is not Reason.NONCE_TOO_LOW:
            raise


def _unchecked(*ignored: BlockReason) -> object:
    def check(header: object, execution: object) -> None:
        try:
            _OUTCOME(header, execution)  # type: ignore[arg-type]
        except InvalidBlock as error:
            if error.reason not in ignored:
                raise

    return check


def _by_id_alone(self: Mempool, signed: SignedTransaction) -> bool:
    return signed.id in self or signed.is_authentic()


def _proof_of_anybody(run: Run, sender: bytes, body: ProveWork) -> Reason:
    """The commit's own miner is forgotten: whoever sends the proof is paid."""
    commit = run.ledger.find(Commit, state_keys.commit(body.commit))
    own = chain.execution.proofs._reward
    if commit is None or commit.miner == sender or miners.find_miner(run, sender) is None:
        return _PROVE(run, sender, body)
    chain.execution.proofs._reward = lambda run, _miner, commit_id: own(run, sender, commit_id)
    try:
        return _PROVE(run, commit.miner, body)
    finally:
        chain.execution.proofs._reward = own


def _still_open(run: Run, commit_id: bytes) -> Commit:
    """The commit is read and not closed: its proof can come again."""
    return run.ledger.get(Commit, state_keys.commit(commit_id))


def _open_commits(close: object) -> SimpleNamespace:
    names = {name: getattr(open_commits, name) for name in dir(open_commits) if not name.startswith("__")}
    return SimpleNamespace(**{**names, "close": close})


def _slash_for_a_missing_proof(run: Run, key: bytes, stake: int) -> None:
    miners.slash(run, key, cause=bytes(32), detail="it was late")


def _notarize_and_nullify(first: Statement, second: Statement) -> bool:
    """Takes two votes for a contradiction that honest validators do cast."""
    same = (first.epoch, first.view) == (second.epoch, second.view)
    return excludes(first, second) or (same and {first.kind, second.kind} == {Kind.NOTARIZE, Kind.NULLIFY})


def _rank_by_digest(weights: dict[bytes, int], *, seats: int, beacon: bytes) -> dict[bytes, int]:
    """All weights are the same, so work does not count."""
    return apportion_seats(dict.fromkeys(weights, 1), seats=seats, beacon=beacon)


_UNSTABLE = [0]


def _impure_opening(run: Run) -> None:
    """Something outside of the block enters the state."""
    _UNSTABLE[0] += 1
    _OPEN(run)
    if _UNSTABLE[0] % 50 == 0:
        run.ledger.put(state_keys.beacon(run.context.height), bytes(32))


_OPEN = chain.execution.block._open


LEDGER_BUGS = tuple(
    Bug(name, what, planted, profile="ledger", habits=habits)
    for name, what, planted, habits in (
        (
            "beacon_reuse", "a block's beacon need not be its own leader's for this view",
            patch((chain.execution.header, "_check_beacon", lambda parent, header: None)),
            ("invalid_block",),
        ),
        (
            "state_root_unchecked", "a header may claim any state",
            patch((tools.node.ledger, "check_outcome", _unchecked(BlockReason.WRONG_STATE_ROOT))),
            ("invalid_block",),
        ),
        (
            "receipts_root_unchecked", "a header may claim any receipts",
            patch((tools.node.ledger, "check_outcome", _unchecked(BlockReason.WRONG_RECEIPTS_ROOT))),
            ("invalid_block",),
        ),
        (
            "committee_root_unchecked", "a header may claim any next committee",
            patch((tools.node.ledger, "check_outcome", _unchecked(BlockReason.WRONG_COMMITTEE_ROOT))),
            ("invalid_block",),
        ),
        (
            "nonce_reuse", "a transaction may be executed again",
            patch((chain.execution.block, "check_affordable", _any_nonce)), ("invalid_block",),
        ),
        (
            "signature_by_id", "a verified id vouches for any signature",
            patch((Mempool, "is_authentic", _by_id_alone)), ("invalid_block",),
        ),
        (
            "base_fee_stuck", "the base fee never moves",
            patch((
                chain.execution.block, "fees",
                SimpleNamespace(
                    next_base_fee=lambda base_fee, weight_used, params: base_fee,
                    weight_of=chain.execution.block.fees.weight_of,
                ),
            )), None,
        ),
        (
            "proof_of_anybody", "a proof pays whoever sends it",
            patch((chain.execution.block.proofs, "prove_work", _proof_of_anybody)), ("stolen_work",),
        ),
        (
            "credits_twice", "a proven commit stays open and is credited again",
            patch((chain.execution.proofs, "open_commits", _open_commits(_still_open))), None,
        ),
        (
            "proof_unchecked", "no cell is recomputed",
            patch((chain.execution.proofs, "check_proof", lambda *a, **k: None)), ("invalid_work",),
        ),
        (
            "slashes_the_late", "a proof that did not come costs the whole bond",
            patch((commits.miners, "burn_stake", _slash_for_a_missing_proof)), None,
        ),
        (
            "slashes_the_honest", "notarize and nullify in one view count as a contradiction",
            patch(
                (chain.types.evidence, "excludes", _notarize_and_nullify),
                (consensus.simplex.witness, "excludes", _notarize_and_nullify),
            ), None,
        ),
        (
            "burns_nothing", "fees are taken and not counted as burned",
            patch((chain.execution.block.coins, "burn", lambda ledger, amount: None)), None,
        ),
        (
            "work_does_not_count", "seats go round evenly, whatever was proven",
            patch((epochs, "apportion_seats", _rank_by_digest)), None,
        ),
        (
            "weighs_late", "who leads an epoch's last block may still choose what the seats are drawn from",
            patch((ChainParams, "weighed_at", ChainParams.last_height)), None,
        ),
        (
            "impure_execution", "the same block gives another state once in a while",
            patch((chain.execution.block, "_open", _impure_opening)), None,
        ),
    )
)  # fmt: skip
"""All of them."""
