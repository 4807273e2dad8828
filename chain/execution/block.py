"""Executing a block: opening, transactions, closing, and what comes out of them.

```
 opening    overdue commits, missed deadlines, old tasks, bonds that come back; waiting tasks are assigned;
            shortly before an epoch's end the miners are weighed
 each tx    includable? (else the block is invalid) ─ fee ─ body: effects, or a reason and only the fee
            (a report of equivocation pays none; if it does not hold, the block is invalid)
 closing    base fees burned, tips paid; in a round's last block the next step of the commons model, in an
            epoch's last block the next committee; the next base fee
```

Everything here follows from the arguments alone. An assertion that fails is our own mistake and must stop the
node before anything is written: nothing catches it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from chain.codec import encode
from chain.execution import (
    coins,
    commits,
    epochs,
    evidence,
    fees,
    miners,
    proofs,
    state_keys,
    tasks,
    training,
    transfers,
)
from chain.execution.invalid import BlockReason, InvalidBlock, NotIncludable, Refused
from chain.execution.ledger import Ledger
from chain.execution.models import ModelRegistry
from chain.execution.records import Account, Head
from chain.execution.run import BlockContext, Run
from chain.reasons import Reason
from chain.state.tree import StateTree
from chain.types.block import MAX_TRANSACTIONS
from chain.types.committee import Committee
from chain.types.params import MAX_BLOCK_OVERHEAD, ChainParams
from chain.types.receipt import BlockOutcome, Receipt
from chain.types.transaction import (
    CommitWork,
    ProveWork,
    RegisterMiner,
    ReportEquivocation,
    SignedTransaction,
    SubmitTask,
    Transaction,
    Transfer,
    Unregister,
)

Authentic = Callable[[SignedTransaction], bool]
"""Whether a transaction's signature is its sender's. A caller that remembers verified ones must go by the
signature's bytes as well as by the id, which does not cover them."""


@dataclass(frozen=True, slots=True)
class Execution:
    """What a block makes of the state before it."""

    state: StateTree
    changes: Mapping[bytes, bytes | None]
    """Entries written, or deleted (None): the difference to the state before."""
    outcome: BlockOutcome
    next_committee: Committee
    """Votes on the next height."""
    weight_used: int
    next_base_fee: int


def execute_block(
    state: StateTree,
    context: BlockContext,
    transactions: Sequence[SignedTransaction],
    *,
    params: ChainParams,
    models: ModelRegistry,
    is_authentic: Authentic = SignedTransaction.is_authentic,
) -> Execution:
    """Execute a block on the state of its parent.

    Args:
        state: After the parent.
        context: From the block's checked header.
        transactions: The block's body.
        params: The chain's rules.
        models: The chain's models.
        is_authentic: Checks signatures; see `Authentic`.

    Raises:
        InvalidBlock: TOO_MANY_TRANSACTIONS, TOO_MANY_BYTES, TOO_MUCH_WEIGHT, or BAD_TRANSACTION with its
            cause.
    """
    if len(transactions) > MAX_TRANSACTIONS:
        raise InvalidBlock(
            BlockReason.TOO_MANY_TRANSACTIONS, f"{len(transactions)} transactions, at most {MAX_TRANSACTIONS}"
        )
    work = _BlockWork.begin(state, context, params=params, models=models, is_authentic=is_authentic)
    for index, transaction in enumerate(transactions):
        try:
            size = work.check_includable(transaction)
        except NotIncludable as error:
            raise InvalidBlock(
                BlockReason.BAD_TRANSACTION, f"transaction {index}: {error.message}", cause=error.reason
            ) from error
        work.check_room(transaction, size)
        work.include(transaction, size)
    return work.finish()


@dataclass(frozen=True, slots=True)
class Draft:
    """A block body that its proposer put together."""

    execution: Execution
    transactions: tuple[SignedTransaction, ...]
    left_out: Mapping[bytes, Reason]
    """Candidates, by id, that can never be in this block, with why; those that merely found no room are not
    here."""


def draft_block(
    state: StateTree,
    context: BlockContext,
    candidates: Iterable[SignedTransaction],
    *,
    params: ChainParams,
    models: ModelRegistry,
    is_authentic: Authentic = SignedTransaction.is_authentic,
) -> Draft:
    """Put as many of ``candidates`` as are includable and fit into a block, in order, and execute it."""
    work = _BlockWork.begin(state, context, params=params, models=models, is_authentic=is_authentic)
    chosen: list[SignedTransaction] = []
    left_out: dict[bytes, Reason] = {}
    for transaction in candidates:
        if len(chosen) == MAX_TRANSACTIONS:
            break
        try:
            size = work.check_includable(transaction)
            work.check_room(transaction, size)
        except NotIncludable as error:
            left_out[transaction.id] = error.reason
        except InvalidBlock:
            continue
        else:
            work.include(transaction, size)
            chosen.append(transaction)
    return Draft(work.finish(), tuple(chosen), left_out)


@dataclass(slots=True)
class _BlockWork:
    """A block between its opening and its closing."""

    state: StateTree
    run: Run
    is_authentic: Authentic
    opening: BlockOutcome
    receipts: list[Receipt] = field(default_factory=list)
    bytes_used: int = MAX_BLOCK_OVERHEAD
    weight_used: int = 0
    burned: int = 0
    tips: int = 0

    @classmethod
    def begin(
        cls,
        state: StateTree,
        context: BlockContext,
        *,
        params: ChainParams,
        models: ModelRegistry,
        is_authentic: Authentic,
    ) -> "_BlockWork":
        run = Run(Ledger(state), context, params, models)
        _check_place(run)
        _open(run)
        return cls(state, run, is_authentic, BlockOutcome((), run.take_events(), ()))

    def check_includable(self, signed: SignedTransaction) -> int:
        """Check all that makes somebody pay for the transaction; returns its size in bytes.

        A report pays nothing and has to hold instead.

        Raises:
            NotIncludable: WRONG_CHAIN, TOO_LARGE, NONCE_TOO_LOW, NONCE_TOO_HIGH, FEE_TOO_LOW,
                INSUFFICIENT_FUNDS or BAD_SIGNATURE; for a report those of `evidence.check_report`.
        """
        size = len(encode(signed))
        body = signed.transaction.body
        if isinstance(body, ReportEquivocation):
            height, params = self.run.context.height, self.run.params
            evidence.check_report(self.run.ledger, signed, body, height=height, params=params)
            return size
        check_affordable(self.run, signed, size)
        if not self.is_authentic(signed):
            raise NotIncludable(Reason.BAD_SIGNATURE, f"not signed by {signed.transaction.sender.hex()}")
        return size

    def check_room(self, signed: SignedTransaction, size: int) -> None:
        """Check that the transaction still fits.

        Raises:
            InvalidBlock: TOO_MANY_BYTES or TOO_MUCH_WEIGHT.
        """
        params = self.run.params
        total = self.bytes_used + size
        if total > params.max_block_bytes:
            raise InvalidBlock(BlockReason.TOO_MANY_BYTES, f"{total} bytes, at most {params.max_block_bytes}")
        weight = self.weight_used + fees.weight_of(signed.transaction.body, size, params=params)
        if weight > params.max_block_weight:
            raise InvalidBlock(
                BlockReason.TOO_MUCH_WEIGHT, f"a weight of {weight}, at most {params.max_block_weight}"
            )

    def include(self, signed: SignedTransaction, size: int) -> None:
        """Charge the fee and do what the body asks."""
        run, transaction = self.run, signed.transaction
        weight = fees.weight_of(transaction.body, size, params=run.params)
        fee = 0 if isinstance(transaction.body, ReportEquivocation) else self._charge(transaction, weight)
        self.bytes_used += size
        self.weight_used += weight
        transaction_id = transaction.id
        writes = run.ledger.writes
        try:
            reason = _apply(run, signed, transaction_id)
        except Refused as refusal:
            assert run.ledger.writes == writes and not run.events, "a refusal after a write"
            reason = refusal.reason
            run.emit(reason, transaction_id, other=transaction.sender, detail=refusal.message)
        self.receipts.append(Receipt(transaction_id, reason, weight, fee, run.take_events()))

    def _charge(self, transaction: Transaction, weight: int) -> int:
        """Take fee and nonce of the sender; returns the fee."""
        run = self.run
        burned, tip = weight * run.context.base_fee, weight * transaction.tip
        sender = coins.account(run.ledger, transaction.sender)
        left = Account(sender.balance - burned - tip, sender.nonce + 1)
        run.ledger.put(state_keys.account(transaction.sender), left)
        self.burned += burned
        self.tips += tip
        return burned + tip

    def finish(self) -> Execution:
        """Close the block."""
        run = self.run
        context, params = run.context, run.params
        self._settle_fees()
        if context.height % params.round_length == 0:
            training.close_round(run)
        if context.height == params.last_height(context.epoch):
            epochs.close_epoch(run)
        base_fee = fees.next_base_fee(context.base_fee, self.weight_used, params=params)
        run.ledger.put(state_keys.HEAD, Head(context.height, context.beacon, base_fee))
        outcome = BlockOutcome(tuple(self.receipts), self.opening.opening, run.take_events())
        next_epoch = params.epoch_of(context.height + 1)
        changes = run.ledger.changes()
        return Execution(
            state=self.state.updated(changes), changes=changes, outcome=outcome,
            next_committee=run.ledger.get(Committee, state_keys.committee(next_epoch)),
            weight_used=self.weight_used, next_base_fee=base_fee,
        )  # fmt: skip

    def _settle_fees(self) -> None:
        run = self.run
        if self.burned:
            coins.burn(run.ledger, self.burned)
            run.emit(Reason.FEE_BURNED, run.context.proposer, amount=self.burned)
        if self.tips:
            payout = _payout(run)
            coins.credit(run.ledger, payout, self.tips)
            run.emit(Reason.TIP_PAID, payout, other=run.context.proposer, amount=self.tips)


def check_affordable(run: Run, signed: SignedTransaction, size: int) -> None:
    """All that `_BlockWork.check_includable` checks but the signature.

    Raises:
        NotIncludable: WRONG_CHAIN, TOO_LARGE, NONCE_TOO_LOW, NONCE_TOO_HIGH, FEE_TOO_LOW or
            INSUFFICIENT_FUNDS.
    """
    transaction, params = signed.transaction, run.params
    if transaction.chain_id != params.chain_id:
        raise NotIncludable(
            Reason.WRONG_CHAIN, f"for chain {transaction.chain_id!r}, this is {params.chain_id!r}"
        )
    if size > params.max_transaction_bytes:
        raise NotIncludable(Reason.TOO_LARGE, f"{size} bytes, at most {params.max_transaction_bytes}")
    account = coins.account(run.ledger, transaction.sender)
    if transaction.nonce != account.nonce:
        reason = Reason.NONCE_TOO_LOW if transaction.nonce < account.nonce else Reason.NONCE_TOO_HIGH
        raise NotIncludable(reason, f"nonce {transaction.nonce}, due is {account.nonce}")
    base_fee = run.context.base_fee
    if transaction.max_base_fee < base_fee:
        raise NotIncludable(
            Reason.FEE_TOO_LOW,
            f"a base fee of {base_fee} in force, at most {transaction.max_base_fee} accepted",
        )
    fee = fees.weight_of(transaction.body, size, params=params) * (base_fee + transaction.tip)
    if account.balance < fee:
        raise NotIncludable(Reason.INSUFFICIENT_FUNDS, f"a balance of {account.balance} for a fee of {fee}")


def _check_place(run: Run) -> None:
    """The caller checked the header against the parent; a mismatch here is our own mistake."""
    context = run.context
    head = run.ledger.get(Head, state_keys.HEAD)
    assert head.height + 1 == context.height, f"height {context.height} on a state of height {head.height}"
    assert head.beacon == context.parent_beacon, "the parent's beacon is not the state's"
    assert head.next_base_fee == context.base_fee, f"base fee {context.base_fee}, due is {head.next_base_fee}"
    assert run.params.epoch_of(context.height) == context.epoch, f"epoch {context.epoch} at {context.height}"


def _open(run: Run) -> None:
    height, params = run.context.height, run.params
    run.ledger.put(state_keys.beacon(height), run.context.beacon)
    commits.close_unproven(run)
    # After this block's overdue commits are closed, no proof can ask for a beacon older than these.
    oldest = height - params.proof_window
    if oldest > 0:
        run.ledger.delete(state_keys.beacon(oldest - 1))
    tasks.look_at_due(run)
    miners.return_bonds(run)
    tasks.assign_waiting(run)
    if height == params.weighed_at(run.context.epoch):
        epochs.weigh_miners(run)


def _payout(run: Run) -> bytes:
    committee = run.ledger.get(Committee, state_keys.committee(run.context.epoch))
    index = committee.index_of(run.context.proposer)
    assert index is not None, "the header's check let a stranger propose"
    return committee.validators[index].payout


def _apply(run: Run, signed: SignedTransaction, transaction_id: bytes) -> Reason:
    """Do what the body asks; OK, or the reason for which its sender lost its bond.

    Raises:
        Refused: Nothing was written.
    """
    sender, body = signed.transaction.sender, signed.transaction.body
    match body:
        case Transfer():
            transfers.transfer(run, sender, body)
        case RegisterMiner():
            miners.register(run, sender, body)
        case Unregister():
            miners.unregister(run, sender)
        case SubmitTask():
            tasks.submit(run, sender, body, task_id=transaction_id)
        case CommitWork():
            return commits.commit_work(run, sender, body, commit_id=transaction_id)
        case ProveWork():
            return proofs.prove_work(run, sender, body)
        case ReportEquivocation():
            evidence.convict(run, body, report_id=transaction_id)
    return Reason.OK
