"""Transactions that wait: one queue of nonces a sender, bounded in every direction, without a clock.

Bounds: transactions and bytes in all, transactions a sender, and how far a nonce may lie beyond the first one
missing. A full pool makes room by dropping the last transaction of a queue, if the newcomer is worth more:
what can be in no next block, because it lies behind a gap or below the base fee, costs nobody anything and
goes first; then whatever is not work; then what tips least (`chain/tails.py`). What a sender cannot pay the
fees of, in sum, is not taken.

Work goes first. A miner whose proof finds no room loses part of its bond, and no proof, no seats: so a block
fills up to half of its bytes and weight with queues that hold a commit or a proof before the rest is sold to
whoever tips most. Only a registered miner can have such a queue, it pays the same base fee as all others, and
little of what is not work rides along in front of it (`RIDERS`).

Signatures are verified once: `is_authentic` remembers the very bytes of the signature, because a
transaction's id does not cover them and a block may carry the same transaction with another, false one.
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from chain.codec import encode
from chain.execution import queries
from chain.execution.fees import weight_of
from chain.execution.records import MinerStatus
from chain.reasons import Reason
from chain.state.tree import StateTree
from chain.tails import Ranked, Tails, ranked
from chain.types.params import ChainParams
from chain.types.transaction import SignedTransaction
from chain.waiting import NO_LAST_NONCE, RIDERS, Queue, Room, Selection, Waiting

_FATES_KEPT: Final = 4096


@dataclass(frozen=True, slots=True)
class MempoolLimits:
    """Local bounds; every node may choose its own."""

    transactions: int = 20_000
    bytes: int = 32 << 20
    per_sender: int = 64
    gap: int = 16
    """How far a nonce may lie beyond the first one that neither state nor queue has."""


class Mempool:
    """Transactions that wait to be put into a block."""

    def __init__(self, params: ChainParams, limits: MempoolLimits | None = None) -> None:
        self._params = params
        self._limits = limits if limits is not None else MempoolLimits()
        self._queues: dict[bytes, Queue] = {}
        """By sender, then by nonce."""
        self._by_id: dict[bytes, Waiting] = {}
        self._workers: dict[bytes, int] = {}
        """Commits and proofs by sender, for those that have one."""
        self._bytes = 0
        self._arrivals = 0
        self._due: dict[bytes, int] = {}
        """First nonce that the final state has not seen, by sender of a queue."""
        self._tails = Tails()
        self._fates: OrderedDict[bytes, Reason] = OrderedDict()

    def __len__(self) -> int:
        return len(self._by_id)

    def __contains__(self, transaction_id: bytes) -> bool:
        return transaction_id in self._by_id

    @property
    def size(self) -> int:
        """Bytes waiting."""
        return self._bytes

    def get(self, transaction_id: bytes) -> SignedTransaction | None:
        """A waiting transaction by its id."""
        entry = self._by_id.get(transaction_id)
        return None if entry is None else entry.signed

    def fate(self, transaction_id: bytes) -> Reason | None:
        """Why a transaction that was accepted here was dropped later, as long as that is remembered."""
        return self._fates.get(transaction_id)

    def is_authentic(self, signed: SignedTransaction) -> bool:
        """Whether the sender signed, without verifying a second time what waits here."""
        entry = self._by_id.get(signed.id)
        if entry is not None and entry.signed.signature == signed.signature:
            return True
        return signed.is_authentic()

    def next_nonce(self, sender: bytes, state_nonce: int) -> int:
        """First nonce of a sender, from ``state_nonce`` on, that no waiting transaction uses."""
        queue = self._queues.get(sender, {})
        while state_nonce in queue:
            state_nonce += 1
        return state_nonce

    def add(self, signed: SignedTransaction, state: StateTree) -> Reason:
        """Take a transaction in.

        Args:
            signed: From anybody.
            state: After the last final block.

        Returns:
            OK, or ALREADY_KNOWN, WRONG_CHAIN, TOO_LARGE, NONCE_TOO_LOW, NONCE_TOO_HIGH, SENDER_QUEUE_FULL,
            REPLACEMENT_UNDERPRICED, FEE_TOO_LOW, INSUFFICIENT_FUNDS, NOT_A_MINER, MEMPOOL_FULL or
            BAD_SIGNATURE.
        """
        size = len(encode(signed))
        weight = weight_of(signed.transaction.body, size, params=self._params)
        entry = Waiting(signed, signed.id, size, weight, self._arrivals)
        base_fee = queries.head(state).next_base_fee
        for check in (self._check_form, self._check_nonce, self._check_fees, self._check_miner):
            reason = check(entry, state, base_fee)
            if reason is not Reason.OK:
                return reason
        queue = self._queues.get(signed.transaction.sender, {})
        replaced = queue.get(signed.transaction.nonce)
        freed = (0, 0) if replaced is None else (1, replaced.size)
        due = queries.account(state, signed.transaction.sender).nonce
        newcomer = ranked(entry, queue, due)
        if self._is_full(entry, freed) and self._outbid_by(newcomer, base_fee) is None:
            return Reason.MEMPOOL_FULL
        # The dearest check comes last, and nothing is dropped for a transaction that nobody signed.
        if not signed.is_authentic():
            return Reason.BAD_SIGNATURE
        if not self._make_room(newcomer, base_fee, freed):
            return Reason.MEMPOOL_FULL
        if replaced is not None:
            self._drop(replaced, Reason.REPLACED)
        self._due[signed.transaction.sender] = due
        self._put(entry)
        self._arrivals += 1
        return Reason.OK

    def select(self, state: StateTree, *, max_bytes: int) -> list[SignedTransaction]:
        """What a proposer should try to put into a block, in order: work for half of the room, then by tip.

        What stands before a commit or a proof rides along up to a bound (`RIDERS`). Beyond that it is sold
        like all else, and the work behind it waits.

        Args:
            state: After the parent of the block; transactions of its unfinal ancestors are passed over.
            max_bytes: Bytes of transactions to choose.
        """
        selection = Selection(state, self._queues)
        whole = Room(max_bytes, self._params.max_block_weight)
        last_work = {
            sender: max(nonce for nonce, entry in self._queues[sender].items() if entry.is_work)
            for sender in self._workers
        }
        share = whole.part(2)
        left = selection.fill(last_work, share, share.part(RIDERS))
        rest = whole.less(share.bytes - left.bytes, share.weight - left.weight)
        selection.fill(dict.fromkeys(self._queues, NO_LAST_NONCE), rest, rest)
        return selection.chosen

    def revalidate(self, state: StateTree, senders: Iterable[bytes] | None = None) -> None:
        """Drop what a new final state has executed, overtaken, or left without funds.

        Args:
            state: After the last final block.
            senders: Whose queues to look at; all by default. Only a sender's own transactions take nonces and
                coins from it, so those of the new final blocks are enough.
        """
        base_fee = queries.head(state).next_base_fee
        for sender in list(self._queues if senders is None else senders):
            queue = self._queues.get(sender, {})
            account = queries.account(state, sender)
            funds = account.balance
            if queue:
                self._due[sender] = account.nonce
            for nonce in sorted(queue):
                entry = queue[nonce]
                if nonce < account.nonce:
                    self._drop(entry, Reason.NONCE_TOO_LOW)
                    continue
                funds -= entry.weight * (base_fee + entry.tip)
                if funds < 0:
                    self._drop(entry, Reason.INSUFFICIENT_FUNDS)
            self._note_tail(sender)

    def _check_form(self, entry: Waiting, _state: StateTree, _base_fee: int) -> Reason:
        if entry.id in self._by_id:
            return Reason.ALREADY_KNOWN
        if entry.signed.transaction.chain_id != self._params.chain_id:
            return Reason.WRONG_CHAIN
        if entry.size > self._params.max_transaction_bytes:
            return Reason.TOO_LARGE
        return Reason.OK

    def _check_nonce(self, entry: Waiting, state: StateTree, _base_fee: int) -> Reason:
        transaction = entry.signed.transaction
        queue = self._queues.get(transaction.sender, {})
        due = queries.account(state, transaction.sender).nonce
        if transaction.nonce < due:
            return Reason.NONCE_TOO_LOW
        if transaction.nonce > self.next_nonce(transaction.sender, due) + self._limits.gap:
            return Reason.NONCE_TOO_HIGH
        old = queue.get(transaction.nonce)
        if old is None:
            return Reason.SENDER_QUEUE_FULL if len(queue) >= self._limits.per_sender else Reason.OK
        before = old.signed.transaction
        if transaction.tip < _raised(before.tip) or transaction.max_base_fee < _raised(before.max_base_fee):
            return Reason.REPLACEMENT_UNDERPRICED
        return Reason.OK

    def _check_fees(self, entry: Waiting, state: StateTree, base_fee: int) -> Reason:
        transaction = entry.signed.transaction
        if transaction.max_base_fee < base_fee:
            return Reason.FEE_TOO_LOW
        owed = entry.weight * (base_fee + entry.tip) + entry.amount
        for nonce, other in self._queues.get(transaction.sender, {}).items():
            if nonce != transaction.nonce:
                owed += other.weight * (base_fee + other.tip)
        funds = queries.account(state, transaction.sender).balance
        return Reason.INSUFFICIENT_FUNDS if owed > funds else Reason.OK

    def _check_miner(self, entry: Waiting, state: StateTree, _base_fee: int) -> Reason:
        if not entry.is_work:
            return Reason.OK
        miner = queries.miner(state, entry.signed.transaction.sender)
        if miner is None or miner.status is MinerStatus.SLASHED:
            return Reason.NOT_A_MINER
        return Reason.OK

    def _is_full(self, entry: Waiting, freed: tuple[int, int]) -> bool:
        count, size = freed
        return (
            len(self._by_id) - count >= self._limits.transactions
            or self._bytes - size + entry.size > self._limits.bytes
        )

    def _make_room(self, newcomer: Ranked, base_fee: int, freed: tuple[int, int]) -> bool:
        """Drop cheaper tails until the newcomer fits; if that is not enough, drop nothing."""
        victims: list[Waiting] = []
        while self._is_full(newcomer.entry, freed):
            victim = self._outbid_by(newcomer, base_fee)
            if victim is None:
                for kept in reversed(victims):
                    self._put(kept)
                return False
            victims.append(victim)
            self._remove(victim)
            self._note_tail(victim.signed.transaction.sender)
        for victim in victims:
            self._remember(victim, Reason.MEMPOOL_FULL)
        return True

    def _outbid_by(self, newcomer: Ranked, base_fee: int) -> Waiting | None:
        """The tail that would be missed least, if it is another sender's and worth less than the newcomer."""
        tail = self._tails.lowest(base_fee)
        if tail is None or tail.worth(base_fee) >= newcomer.worth(base_fee):
            return None
        own = tail.entry.signed.transaction.sender == newcomer.entry.signed.transaction.sender
        return None if own else tail.entry

    def _put(self, entry: Waiting) -> None:
        transaction = entry.signed.transaction
        queue = self._queues.setdefault(transaction.sender, {})
        queue[transaction.nonce] = entry
        self._by_id[entry.id] = entry
        self._bytes += entry.size
        if entry.is_work:
            self._workers[transaction.sender] = self._workers.get(transaction.sender, 0) + 1
        self._note_tail(transaction.sender)

    def _drop(self, entry: Waiting, reason: Reason) -> None:
        self._remove(entry)
        self._remember(entry, reason)

    def _remove(self, entry: Waiting) -> None:
        """Take an entry out; the caller notes how its queue ends, once for all that it takes out."""
        transaction = entry.signed.transaction
        queue = self._queues[transaction.sender]
        del queue[transaction.nonce], self._by_id[entry.id]
        self._bytes -= entry.size
        if entry.is_work:
            self._workers[transaction.sender] -= 1
            if not self._workers[transaction.sender]:
                del self._workers[transaction.sender]
        if not queue:
            del self._queues[transaction.sender]

    def _remember(self, entry: Waiting, reason: Reason) -> None:
        if entry.signed.transaction.sender not in self._queues:
            self._due.pop(entry.signed.transaction.sender, None)
        self._fates[entry.id] = reason
        if len(self._fates) > _FATES_KEPT:
            self._fates.popitem(last=False)

    def _note_tail(self, sender: bytes) -> None:
        self._tails.note(sender, self._queues.get(sender, {}), self._due.get(sender, 0))


def _raised(price: int) -> int:
    """The least price that replaces one: an eighth more, and at least 1 more."""
    return price + max(1, -(-price // 8))
