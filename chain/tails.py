"""Which waiting transaction a full mempool gives up first: always the last one of some sender's queue.

What can be in no next block costs its sender nothing, so it only holds a place that nobody else asks for. It
lies behind a gap, or it or one before it does not accept the base fee in force: its *reach*, the highest base
fee at which all up to it can be in a block, is too low. Of such transactions, what is not work goes first,
then what reaches least; behind a gap, nothing is reached at all. Only when none is left goes what could be in
the next block: what is not work first, then what tips least. Among equals the latest to come goes first.

The base fee moves with every block, and nothing here moves with it. A tail stands in two orders, one by reach
and one by tip, which both know nothing of the base fee: if what reaches least reaches it, all do, and the tip
decides. So a pool full of transactions that wait for a lower fee makes no block more expensive.
"""

import heapq
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from chain.waiting import Queue, Waiting

_BEHIND_A_GAP: Final = 0
"""Below every base fee: the lowest is `base_fee_floor`, and that is positive."""

Worth = tuple[bool, bool, int, int]
"""Whether it can be in the next block, as far as the queue tells; whether it is work; how far it reaches, if
that is not enough, else 0; its tip."""

_Key = tuple[int, int, int, bytes]
"""Place of a tail in a heap; the last two are -arrival and the sender."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """A waiting transaction and what decides how long it may stay."""

    entry: Waiting
    reach: int
    """Highest base fee per unit of weight at which it and all before it can be in a block."""

    def worth(self, base_fee: int) -> Worth:
        """What keeping it is worth; the lower goes first."""
        runs = self.reach >= base_fee
        return runs, self.entry.is_work, 0 if runs else self.reach, self.entry.tip


def ranked(entry: Waiting, queue: Mapping[int, Waiting], due: int) -> Ranked:
    """How a transaction ranks, in its sender's queue or about to enter it.

    Args:
        entry: The transaction.
        queue: Its sender's transactions by nonce.
        due: First nonce that the final state has not seen.
    """
    transaction = entry.signed.transaction
    reach = transaction.max_base_fee
    for nonce in range(due, transaction.nonce):
        before = queue.get(nonce)
        if before is None:
            return Ranked(entry, _BEHIND_A_GAP)
        reach = min(reach, before.signed.transaction.max_base_fee)
    return Ranked(entry, reach)


def _by_reach(tail: Ranked) -> _Key:
    return tail.reach, tail.entry.tip, -tail.entry.arrival, tail.entry.signed.transaction.sender


def _by_tip(tail: Ranked) -> _Key:
    return tail.entry.is_work, tail.entry.tip, -tail.entry.arrival, tail.entry.signed.transaction.sender


class Tails:
    """The last transaction of every queue, least worth first at any base fee."""

    def __init__(self) -> None:
        self._tails: dict[bytes, Ranked] = {}
        """By sender."""
        self._reaches: tuple[list[_Key], list[_Key]] = ([], [])
        """Heaps of what is not work, and of work. Stale keys, here and below, go on sight."""
        self._tips: list[_Key] = []
        """Heap of all."""

    def __len__(self) -> int:
        """Keys held, stale ones included."""
        return len(self._tips) + sum(map(len, self._reaches))

    def note(self, sender: bytes, queue: Queue, due: int) -> None:
        """Take in how a sender's queue ends, whenever the queue or its due nonce has changed.

        Args:
            sender: Whose queue it is.
            queue: Empty if nothing is left.
            due: First nonce that the final state has not seen.
        """
        if not queue:
            self._tails.pop(sender, None)
            return
        tail = ranked(queue[max(queue)], queue, due)
        before = self._tails.get(sender)
        if before is not None and _by_reach(before) == _by_reach(tail):
            return
        self._tails[sender] = tail
        heapq.heappush(self._reaches[tail.entry.is_work], _by_reach(tail))
        heapq.heappush(self._tips, _by_tip(tail))
        if len(self) > 8 * len(self._tails) + 128:
            self._forget_stale()

    def lowest(self, base_fee: int) -> Ranked | None:
        """The transaction that would be missed least, or None if none waits.

        Args:
            base_fee: In force in the next block, coins per unit of weight.
        """
        for reaches in self._reaches:
            tail = self._first(reaches, _by_reach)
            if tail is not None and tail.reach < base_fee:
                return tail
        return self._first(self._tips, _by_tip)

    def _first(self, heap: list[_Key], key: Callable[[Ranked], _Key]) -> Ranked | None:
        while heap:
            tail = self._tails.get(heap[0][-1])
            if tail is not None and key(tail) == heap[0]:
                return tail
            heapq.heappop(heap)
        return None

    def _forget_stale(self) -> None:
        tails = self._tails.values()
        self._tips = [_by_tip(tail) for tail in tails]
        self._reaches = (
            [_by_reach(tail) for tail in tails if not tail.entry.is_work],
            [_by_reach(tail) for tail in tails if tail.entry.is_work],
        )
        for heap in (self._tips, *self._reaches):
            heapq.heapify(heap)
