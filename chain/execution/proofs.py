"""Proofs: every node recomputes the cells that the beacon drew, and the miner is paid or loses its bond.

A proof that does not hold is as good as a confession: the commit was signed, the draw was the chain's, and
each cell is exact. That includes bytes that are no proof at all, since nobody but the miner can send them.
"""

from functools import partial
from typing import Final

from chain.codec import decode_fields
from chain.execution import coins, epochs, miners, open_commits, state_keys, tasks, training
from chain.execution.invalid import Refused
from chain.execution.models import Roots
from chain.execution.records import Commit, Miner, Round, Task
from chain.execution.run import Run
from chain.execution.work import CommitItems, CommonsWork, TaskWork, commons_seed
from chain.msgpack_reader import DecodeError
from chain.reasons import Reason
from chain.types.transaction import MAX_PROOF_BYTES, ProveWork
from pouw.proofs.proof import Proof, ProofError, ProofReason
from pouw.proofs.verifier import Statement, check_proof

REASON_OF_PROOF: Final = {
    ProofReason.MALFORMED: Reason.PROOF_MALFORMED,
    ProofReason.OVERSIZE: Reason.PROOF_OVERSIZE,
    ProofReason.WRONG_CHAIN: Reason.PROOF_WRONG_CHAIN,
    ProofReason.WRONG_MINER: Reason.PROOF_WRONG_MINER,
    ProofReason.WRONG_SEED: Reason.PROOF_WRONG_SEED,
    ProofReason.EMPTY_COMMIT: Reason.PROOF_EMPTY_COMMIT,
    ProofReason.UNITS_MISMATCH: Reason.PROOF_UNITS_MISMATCH,
    ProofReason.ITEM_ORDER: Reason.PROOF_ITEM_ORDER,
    ProofReason.DUPLICATE_ITEM: Reason.PROOF_DUPLICATE_ITEM,
    ProofReason.BAD_SUM: Reason.PROOF_BAD_SUM,
    ProofReason.INFLATED_SUMS: Reason.PROOF_INFLATED_SUMS,
    ProofReason.PATH_LENGTH: Reason.PROOF_PATH_LENGTH,
    ProofReason.CELL_NOT_OPENED: Reason.PROOF_CELL_NOT_OPENED,
    ProofReason.CELL_NOT_DRAWN: Reason.PROOF_CELL_NOT_DRAWN,
    ProofReason.WRONG_POSITION: Reason.PROOF_WRONG_POSITION,
    ProofReason.ROW_SIZE: Reason.PROOF_ROW_SIZE,
    ProofReason.COMMIT_MISMATCH: Reason.PROOF_COMMIT_MISMATCH,
    ProofReason.ROW_NOT_COMMITTED: Reason.PROOF_ROW_NOT_COMMITTED,
    ProofReason.WEIGHT_NOT_IN_MODEL: Reason.PROOF_WEIGHT_NOT_IN_MODEL,
    ProofReason.INPUT_MISMATCH: Reason.PROOF_INPUT_MISMATCH,
    ProofReason.ANSWER_MISMATCH: Reason.PROOF_ANSWER_MISMATCH,
    ProofReason.ANSWER_SHAPE: Reason.PROOF_ANSWER_SHAPE,
    ProofReason.WRONG_CELL: Reason.PROOF_WRONG_CELL,
}
"""The ledger's code for each way in which a proof can fail."""


def prove_work(run: Run, sender: bytes, body: ProveWork) -> Reason:
    """Check a proof; credit and pay its commit, or burn the miner's bond.

    Returns:
        OK, or one of `REASON_OF_PROOF`, when the bond is burned.

    Raises:
        Refused: COMMIT_UNKNOWN or PROOF_TOO_EARLY.
    """
    commit = run.ledger.find(Commit, state_keys.commit(body.commit))
    if commit is None or commit.miner != sender:
        raise Refused(Reason.COMMIT_UNKNOWN, f"the sender has no open commit {body.commit.hex()}")
    drawn_at = open_commits.beacon_height(commit.height, params=run.params)
    if run.context.height <= drawn_at:
        raise Refused(
            Reason.PROOF_TOO_EARLY, f"at height {run.context.height}; the beacon of height {drawn_at} draws"
        )
    try:
        _check(run, commit, body.proof, seed=run.ledger.get_raw(state_keys.beacon(drawn_at)))
    except ProofError as error:
        reason = REASON_OF_PROOF[error.reason]
        run.emit(reason, body.commit, other=sender, amount=commit.units, detail=error.message)
        miners.slash(run, sender, cause=body.commit, detail=error.message)
        return reason
    _reward(run, sender, body.commit)
    return Reason.OK


def _check(run: Run, commit: Commit, encoded: bytes, *, seed: bytes) -> None:
    try:
        fields = decode_fields(encoded, limit=MAX_PROOF_BYTES)
    except DecodeError as error:
        raise ProofError(ProofReason.MALFORMED, str(error)) from error
    proof = Proof.from_fields(fields, max_bytes=MAX_PROOF_BYTES)
    items = _items(run, commit)
    statement = Statement(
        chain_id=run.params.chain_id.encode(), miner=commit.miner, items=items, root=commit.root,
        units=commit.units, answered=items.answered,
    )  # fmt: skip
    check_proof(statement, proof, seed=seed, samples=run.params.samples)


def _items(run: Run, commit: Commit) -> CommitItems:
    """What the commit covers, from the ledger."""
    trained = run.ledger.find(Round, state_keys.training_round(commit.commons_round))
    commons = None
    if commit.commons_count:
        assert trained is not None, f"round {commit.commons_round} was forgotten too early"
        seed = commons_seed(trained.seed, commit.miner)
        commons = CommonsWork(seed, trained.roots, commit.commons_start, commit.commons_count, commit.vote)
    tasks_of = [partial(_task_work, run, task, trained) for task in commit.tasks]
    return CommitItems(tasks_of, commons, models=run.models)


def _task_work(run: Run, task_id: bytes, trained: Round | None) -> TaskWork:
    task = run.ledger.get(Task, state_keys.task(task_id))
    roots: Roots = ()
    if task.model == run.models.commons.id:
        assert trained is not None, f"the checkpoint of task {task_id.hex()} was forgotten too early"
        roots = trained.roots
    inputs = run.ledger.get_raw(state_keys.task_inputs(task_id))
    answer = run.ledger.get_raw(state_keys.task_answer(task_id))
    return TaskWork(task_id, task.model, task.rows, inputs, answer, roots)


def _reward(run: Run, sender: bytes, commit_id: bytes) -> None:
    commit = open_commits.close(run, commit_id)
    miner = run.ledger.get(Miner, state_keys.miner(sender))
    run.emit(
        Reason.WORK_PROVEN, commit_id, other=sender, amount=commit.units,
        detail=f"{run.params.samples + commit.claims} cells recomputed",
    )  # fmt: skip
    epoch = epochs.credit_units(run, miner.consensus_key, commit.units)
    run.emit(
        Reason.WORK_CREDITED, miner.consensus_key, other=commit_id, amount=commit.units,
        detail=f"in epoch {epoch}",
    )  # fmt: skip
    reward = coins.mint(run.ledger, sender, commit.units * run.params.reward_per_million_units // 1_000_000)
    run.emit(Reason.WORK_REWARDED, commit_id, other=sender, amount=reward)
    for task in commit.tasks:
        tasks.pay(run, task)
    if commit.commons_count:
        training.count_vote(run, commit_id, commit)
