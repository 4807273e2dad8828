"""Evidence: a consensus key that contradicted itself loses its bond now and its seats with the epoch.

```
 report ──► check_report ──► in the block ──► convict: bond burned, weight dropped, key struck off for good
               │ does not hold
               └──► no block may carry it
```

A report pays no fee, takes no nonce and has no sender: whoever saw the contradiction owes nobody anything for
saying so. It is no door for spam, because a block with a report that does not hold is invalid, and each that
holds convicts a member of a committee that was not convicted before: there are never more of them than seats.

One conviction a key, whatever else it signed, and for ever: a key that was copied has usually signed a whole
row of contradictions, and that is one mistake. Who wants to go on takes a new key.

Bonds are locked longer than evidence counts (`evidence_ends`, `miners.unregister`, `miners.return_bonds`).
"""

from chain.execution import miners, state_keys
from chain.execution.invalid import NotIncludable
from chain.execution.ledger import Ledger
from chain.execution.records import Conviction, Miner, MinerStatus
from chain.execution.run import Run
from chain.reasons import Reason
from chain.types.committee import Committee
from chain.types.params import ChainParams
from chain.types.transaction import NO_SIGNATURE, NOBODY, ReportEquivocation, SignedTransaction


def check_report(
    ledger: Ledger, signed: SignedTransaction, body: ReportEquivocation, *, height: int, params: ChainParams
) -> None:
    """Check all that a report must be to be in the block at ``height``, cheapest checks first.

    Args:
        ledger: Over the state of the block's parent, or later in the block.
        signed: The transaction that carries the report.
        body: Its body.
        height: Of the block.
        params: The chain's rules.

    Raises:
        NotIncludable: WRONG_CHAIN, REPORT_NOT_PLAIN, ALREADY_CONVICTED, EVIDENCE_WRONG_EPOCH,
            EVIDENCE_NO_SEATS or EVIDENCE_UNSIGNED.
    """
    transaction, evidence = signed.transaction, body.evidence
    if transaction.chain_id != params.chain_id:
        raise NotIncludable(
            Reason.WRONG_CHAIN, f"for chain {transaction.chain_id!r}, this is {params.chain_id!r}"
        )
    extras = (transaction.nonce, transaction.max_base_fee, transaction.tip)
    if transaction.sender != NOBODY or any(extras) or signed.signature != NO_SIGNATURE:
        raise NotIncludable(
            Reason.REPORT_NOT_PLAIN,
            f"sender {transaction.sender.hex()}, nonce, base fee and tip {extras}, expected all zero",
        )
    key = evidence.signer
    earlier = ledger.find(Conviction, state_keys.conviction(key))
    if earlier is not None:
        raise NotIncludable(Reason.ALREADY_CONVICTED, f"{key.hex()} was convicted at height {earlier.height}")
    _check_age(evidence.epoch, height=height, params=params)
    committee = ledger.get(Committee, state_keys.committee(evidence.epoch))
    if committee.index_of(key) is None:
        raise NotIncludable(
            Reason.EVIDENCE_NO_SEATS, f"{key.hex()} holds no seat in the committee of epoch {evidence.epoch}"
        )
    if not evidence.is_authentic(params.chain_id):
        raise NotIncludable(Reason.EVIDENCE_UNSIGNED, f"{key.hex()} did not sign both statements")


def convict(run: Run, body: ReportEquivocation, *, report_id: bytes) -> None:
    """Punish a key whose report was checked against this very ledger."""
    evidence = body.evidence
    key = evidence.signer
    statements = f"{evidence.first} and {evidence.second}"
    account = run.ledger.find_raw(state_keys.miner_of(key))
    miner = None if account is None else run.ledger.get(Miner, state_keys.miner(account))
    burned = 0 if miner is None else miner.bond
    run.ledger.put(
        state_keys.conviction(key),
        Conviction(run.context.height, evidence.epoch, evidence.view, report_id, account or b"", burned),
    )
    run.emit(
        Reason.KEY_CONVICTED, key, other=report_id, amount=evidence.epoch,
        detail=f"in view {evidence.view}: {statements}",
    )  # fmt: skip
    if account is not None and miner is not None:
        assert miner.status is not MinerStatus.SLASHED, "a slashed miner has no consensus key"
        miners.slash(run, account, cause=key, detail="", reason=Reason.MINER_EQUIVOCATED)


def evidence_ends(epoch: int, *, params: ChainParams) -> int:
    """Last height at which evidence of ``epoch`` counts; a bond takes as long to come back."""
    return params.last_height(epoch) + params.unbonding_blocks


def oldest_epoch(height: int, *, params: ChainParams) -> int:
    """First epoch whose evidence counts in a block at ``height``."""
    return max(0, -(-(height - params.unbonding_blocks) // params.epoch_length) - 1)


def _check_age(epoch: int, *, height: int, params: ChainParams) -> None:
    current = params.epoch_of(height)
    if epoch > current:
        raise NotIncludable(
            Reason.EVIDENCE_WRONG_EPOCH, f"evidence of epoch {epoch}, the block is of epoch {current}"
        )
    ends = evidence_ends(epoch, params=params)
    if height > ends:
        raise NotIncludable(
            Reason.EVIDENCE_WRONG_EPOCH,
            f"evidence of epoch {epoch} counts up to height {ends}, this is height {height}",
        )
