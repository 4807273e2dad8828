"""Transactions that wait: one queue of nonces a sender, bounded in every direction, without a clock.

Bounds: transactions and bytes in all, transactions a sender, and how far a nonce may lie beyond the first one
missing. A full pool makes room by dropping the last transaction of a queue, if the newcomer is worth more:
what lies behind a gap can be in no block, costs nobody anything and goes first; then whatever is not work;
then what tips least, and among equal tips the latest to come. What a sender cannot pay the fees of, in sum,
is not taken.

Work goes first. A miner whose proof finds no room loses part of its bond, and no proof, no seats: so a block
fills up to half of its bytes and weight with queues that hold a commit or a proof before the rest is sold to
whoever tips most. Only a registered miner can have such a queue, and it pays the same base fee as all others.

Signatures are verified once: `is_authentic` remembers the very bytes of the signature, because a
transaction's id does not cover them and a block may carry the same transaction with another, false one.
"""

import heapq
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
from chain.types.params import ChainParams
from chain.types.transaction import SignedTransaction
from chain.waiting import NO_LAST_NONCE, Queue, Room, Selection, Waiting

_FATES_KEPT: Final = 4096

_Worth = tuple[bool, bool, int]
"""Whether it can run, as far as the queue tells; whether it is work; its tip."""


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
        self._tails: list[tuple[_Worth, int, bytes, int]] = []
        """Heap of (worth, -arrival, sender, nonce) of the last entries of queues; stale ones go on sight."""
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
        replaced = self._queues.get(signed.transaction.sender, {}).get(signed.transaction.nonce)
        freed = (0, 0) if replaced is None else (1, replaced.size)
        due = queries.account(state, signed.transaction.sender).nonce
        runs = signed.transaction.nonce <= self.next_nonce(signed.transaction.sender, due)
        worth = (runs, entry.is_work, entry.tip)
        if self._is_full(entry, freed) and not self._outbids(entry, worth):
            return Reason.MEMPOOL_FULL
        # The dearest check comes last, and nothing is dropped for a transaction that nobody signed.
        if not signed.is_authentic():
            return Reason.BAD_SIGNATURE
        if not self._make_room(entry, worth, freed):
            return Reason.MEMPOOL_FULL
        if replaced is not None:
            self._drop(replaced, Reason.REPLACED)
        self._due[signed.transaction.sender] = due
        self._put(entry)
        self._arrivals += 1
        return Reason.OK

    def select(self, state: StateTree, *, max_bytes: int) -> list[SignedTransaction]:
        """What a proposer should try to put into a block, in order: work for half of the bytes, then by tip.

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
        share = Room(whole.bytes // 2, whole.weight // 2)
        left = selection.fill(last_work, share)
        rest = whole.less(share.bytes - left.bytes, share.weight - left.weight)
        selection.fill(dict.fromkeys(self._queues, NO_LAST_NONCE), rest)
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
            if queue and self._due[sender] != account.nonce:
                self._due[sender] = account.nonce
                self._note_tail(queue)
            for nonce in sorted(queue):
                entry = queue[nonce]
                if nonce < account.nonce:
                    self._drop(entry, Reason.NONCE_TOO_LOW)
                    continue
                funds -= entry.weight * (base_fee + entry.tip)
                if funds < 0:
                    self._drop(entry, Reason.INSUFFICIENT_FUNDS)

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

    def _make_room(self, entry: Waiting, worth: "_Worth", freed: tuple[int, int]) -> bool:
        """Drop cheaper tails until the entry fits; if that is not enough, drop nothing."""
        victims: list[Waiting] = []
        while self._is_full(entry, freed):
            if not self._outbids(entry, worth):
                for victim in reversed(victims):
                    self._put(victim)
                return False
            victims.append(self._lowest_tail())
            self._remove(victims[-1])
        for victim in victims:
            self._remember(victim, Reason.MEMPOOL_FULL)
        return True

    def _outbids(self, entry: Waiting, worth: "_Worth") -> bool:
        """Whether the least tail is another sender's and worth less."""
        if not self._by_id:
            return False
        tail = self._lowest_tail()
        return self._worth(tail) < worth and tail.signed.transaction.sender != entry.signed.transaction.sender

    def _lowest_tail(self) -> Waiting:
        """The entry that would be missed least; the pool is not empty."""
        while True:
            worth, arrival, sender, nonce = self._tails[0]
            queue = self._queues.get(sender, {})
            entry = queue.get(nonce)
            if (
                entry is not None
                and nonce == max(queue)
                and (self._worth(entry), -entry.arrival) == (worth, arrival)
            ):
                return entry
            heapq.heappop(self._tails)

    def _put(self, entry: Waiting) -> None:
        transaction = entry.signed.transaction
        queue = self._queues.setdefault(transaction.sender, {})
        queue[transaction.nonce] = entry
        self._by_id[entry.id] = entry
        self._bytes += entry.size
        if entry.is_work:
            self._workers[transaction.sender] = self._workers.get(transaction.sender, 0) + 1
        self._note_tail(queue)
        if len(self._tails) > 4 * len(self._by_id) + 64:
            self._tails = []
            for others in self._queues.values():
                self._note_tail(others)

    def _drop(self, entry: Waiting, reason: Reason) -> None:
        self._remove(entry)
        self._remember(entry, reason)

    def _remove(self, entry: Waiting) -> None:
        transaction = entry.signed.transaction
        queue = self._queues[transaction.sender]
        del queue[transaction.nonce], self._by_id[entry.id]
        self._bytes -= entry.size
        if entry.is_work:
            self._workers[transaction.sender] -= 1
            if not self._workers[transaction.sender]:
                del self._workers[transaction.sender]
        if queue:
            self._note_tail(queue)
        else:
            del self._queues[transaction.sender]

    def _remember(self, entry: Waiting, reason: Reason) -> None:
        if entry.signed.transaction.sender not in self._queues:
            self._due.pop(entry.signed.transaction.sender, None)
        self._fates[entry.id] = reason
        if len(self._fates) > _FATES_KEPT:
            self._fates.popitem(last=False)

    def _note_tail(self, queue: Queue) -> None:
        nonce = max(queue)
        entry = queue[nonce]
        worth = self._worth(entry)
        heapq.heappush(self._tails, (worth, -entry.arrival, entry.signed.transaction.sender, nonce))

    def _worth(self, tail: Waiting) -> "_Worth":
        """What the last transaction of a queue is worth keeping."""
        transaction = tail.signed.transaction
        due, queue = self._due[transaction.sender], self._queues[transaction.sender]
        return transaction.nonce < due + len(queue), tail.is_work, tail.tip


def _raised(price: int) -> int:
    """The least price that replaces one: an eighth more, and at least 1 more."""
    return price + max(1, -(-price // 8))
