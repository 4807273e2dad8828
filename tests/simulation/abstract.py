"""The ledger of the profile "consensus": no transactions, and committees as the plan says."""

from collections.abc import Callable, Sequence
from random import Random

from chain.types.block import Block
from chain.types.committee import Committee
from chain.types.params import ChainParams
from chain.types.transaction import SignedTransaction
from consensus.messages import Certificate
from tests.consensus.fakes import ChainTwin, committee_of
from tests.simulation.disks import DatabaseJournal, SimDatabase
from tests.simulation.plan import Plan

Committees = Callable[[int], Committee]

_HEIGHT = b"height"


class AbstractLedger(ChainTwin):
    """`ChainTwin` on a disk: what its last synced write said is final is what a restart finds."""

    def __init__(self, params: ChainParams, committees: Committees) -> None:
        super().__init__(params, committees)
        self.database = SimDatabase()
        self.journal = DatabaseJournal(SimDatabase())

    @property
    def databases(self) -> tuple[SimDatabase, ...]:
        return self.database, self.journal.database

    def digest_at(self, height: int) -> bytes:
        return self.final[height]

    def settle(self, blocks: Sequence[Block], certificate: Certificate) -> None:
        super().settle(blocks, certificate)
        self.database.write([(_HEIGHT, self.final_head.height.to_bytes(8, "big"))])

    def take_transaction(self, signed: SignedTransaction) -> None:
        """There are none here."""

    def reports(self) -> list[SignedTransaction]:
        return []

    def restart(self) -> None:
        """Forget what the process knew beyond the disk."""
        kept = self.database.get(_HEIGHT)
        height = 0 if kept is None else int.from_bytes(kept, "big")
        del self.final[height + 1 :]
        self.certificates = {h: c for h, c in self.certificates.items() if h <= height}
        self.headers = {d: self.headers[d] for d in self.final}
        self.blocks = {d: self.blocks[d] for d in self.final[1:]}


def whole(_plan: Plan, keys: Sequence[bytes]) -> Committees:
    """One seat each, always."""
    committee = committee_of(keys)
    return lambda _: committee


def alternating(_plan: Plan, keys: Sequence[bytes]) -> Committees:
    """Two committees without a common member, in turn."""
    half = len(keys) // 2
    committees = committee_of(keys[:half]), committee_of(keys[half:])
    return lambda epoch: committees[epoch % 2]


def uneven(_plan: Plan, keys: Sequence[bytes]) -> Committees:
    """Three seats, two, one, one, and so on; which hand holds how many turns with the epochs."""
    ordered = sorted(keys)
    return lambda epoch: committee_of(ordered, seats=lambda index: (3, 2, 1, 1)[(index + epoch) % 4])


def drawn(plan: Plan, keys: Sequence[bytes]) -> Committees:
    """Seats by chance for every epoch: for some none, and less than a third for the traitors."""
    known: dict[int, Committee] = {}
    traitors = len(plan.habits)

    def draw(epoch: int) -> Committee:
        rng = Random(f"{plan.seed}/{epoch}")
        seats = [0]
        while 3 * sum(seats[:traitors]) >= sum(seats):
            seats = [rng.choice([0, 1, 1, 2, 3]) for _ in keys]
        members = sorted((keys[i], seats[i]) for i in range(len(keys)) if seats[i])
        return committee_of([key for key, _ in members], seats=lambda index: members[index][1])

    def committee(epoch: int) -> Committee:
        if epoch not in known:
            known[epoch] = draw(epoch)
        return known[epoch]

    return committee


COMMITTEES: dict[str, Callable[[Plan, Sequence[bytes]], Committees]] = {
    "drawn": drawn,
    "whole": whole,
    "alternating": alternating,
    "uneven": uneven,
}
"""Who votes in which epoch, by the plan's word for it; the first is every campaign's."""
