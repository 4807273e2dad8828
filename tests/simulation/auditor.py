"""Goes over a final chain afterwards with rules of its own: what must be true of it whatever the ledger
thinks.

Nothing here calls the code that made the blocks. Roots, beacons, base fees, nonces, credits and committees
are told again from blocks and receipts, in the plainest way; which work was really done the miners have told
`Watch`.
"""

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from chain.codec import encode
from chain.execution import queries
from chain.execution.conservation import StateError, check_state
from chain.hashing import digest
from chain.reasons import Reason
from chain.seats import apportion_seats
from chain.types.block import Block, beacon_input, transactions_root
from chain.types.committee import Committee
from chain.types.receipt import BlockOutcome, Event
from chain.types.transaction import NOBODY, CommitWork, ProveWork
from tests.simulation.keys import consensus_key, miner_key, verify_tag

if TYPE_CHECKING:
    from tests.simulation.node import Node
    from tests.simulation.world import World


class Auditor:
    """One reading of one node's chain."""

    def __init__(self, world: "World", node: "Node") -> None:
        self._world, self._watch = world, world.watch
        self._store = node.ledger.store
        self._params = world.params
        self._nonces: Counter[bytes] = Counter()
        self._proven: dict[bytes, int] = {}
        self._minted = self._burned = 0
        self._units: defaultdict[int, Counter[bytes]] = defaultdict(Counter)
        """Credited by epoch and consensus key."""
        self._weighed: Counter[bytes] = Counter()
        """What the next committee is drawn from."""
        self.events: Counter[str] = Counter()
        """What happened on the ledger, as far as a summary tells of it."""
        self._weight_before = 0
        seats = range(world.plan.count)
        self._key_of = {miner_key(seat).public_key: consensus_key(seat).public_key for seat in seats}
        self._honest = {honest.key.public_key for honest in world.honest}
        self._honest |= {miner_key(honest.seat).public_key for honest in world.honest}

    def audit(self) -> None:
        """Read from genesis to the head.

        Raises:
            tests.simulation.watch.Violation: The first thing that does not hold.
        """
        parent = self._store.block(0)
        assert parent is not None
        committee = self._store.committee(0)
        assert committee is not None
        for height in range(1, self._store.head.height + 1):
            block, outcome = self._store.block(height), self._store.outcome(height)
            if block is None or outcome is None:
                self._fail(height, "it is missing")
            self._check_header(parent, block, outcome, committee)
            self._check_transactions(block, outcome)
            if height == self._weighed_at(block.header.epoch):
                self._weighed = self._weigh(block.header.epoch)
            self._check_events(block, outcome)
            if height == self._params.last_height(block.header.epoch):
                following = self._store.committee(block.header.epoch + 1)
                assert following is not None
                self._check_committee(block, following)
                committee = following
            self._same(height, "next committee", block.header.next_committee_root, committee.root)
            parent = block
        self._check_state()

    def _weighed_at(self, epoch: int) -> int:
        """Before what happens in this block the weights of the next committee are settled."""
        first = epoch * self._params.epoch_length + 1
        return max(first, first + self._params.epoch_length - self._params.beacon_delay)

    def _weigh(self, epoch: int) -> Counter[bytes]:
        """Credited units over the window that ends with an epoch, by consensus key."""
        total: Counter[bytes] = Counter()
        for past in range(max(0, epoch + 1 - self._params.averaging_window), epoch + 1):
            total.update(self._units[past])
        return total

    def _check_header(self, parent: Block, block: Block, outcome: BlockOutcome, committee: Committee) -> None:
        header, before = block.header, parent.header
        height = header.height
        self._same(height, "parent", header.parent, before.digest)
        self._same(height, "height", height, before.height + 1)
        self._same(height, "epoch", header.epoch, (height - 1) // self._params.epoch_length)
        if header.timestamp_ms <= before.timestamp_ms:
            self._fail(height, f"time {header.timestamp_ms} is not after {before.timestamp_ms}")
        if committee.seats_of(header.proposer) == 0:
            self._fail(height, f"proposer {header.proposer.hex()} has no seat")
        alpha = beacon_input(header.chain_id, before.beacon, header.view)
        tag = header.vrf_proof[:64]
        if not verify_tag(header.proposer, b"beacon" + alpha, tag):
            self._fail(height, "the beacon is not its proposer's for this view")
        self._same(height, "beacon", header.beacon, digest("headrace/beacon", before.beacon, tag))
        self._same(
            height, "transactions root", header.transactions_root, transactions_root(block.transactions)
        )
        self._same(height, "receipts root", header.receipts_root, outcome.root)
        self._same(height, "base fee", header.base_fee, self._due_base_fee(parent))
        self._weight_before = sum(receipt.weight for receipt in outcome.receipts)

    def _due_base_fee(self, parent: Block) -> int:
        """An eighth up or down at most, at least 1, never below the floor."""
        if parent.header.height == 0:
            return self._params.base_fee_floor
        fee, target = parent.header.base_fee, self._params.target_block_weight
        distance = abs(self._weight_before - target)
        step = max(1, fee * distance // target // 8) if distance else 0
        return max(self._params.base_fee_floor, fee + step if self._weight_before > target else fee - step)

    def _check_transactions(self, block: Block, outcome: BlockOutcome) -> None:
        height = block.header.height
        self._same(height, "number of receipts", len(outcome.receipts), len(block.transactions))
        if len(encode(block)) > self._params.max_block_bytes:
            self._fail(height, "it is too large")
        for signed in block.transactions:
            transaction = signed.transaction
            if transaction.sender == NOBODY:
                continue
            self._same(height, "nonce", transaction.nonce, self._nonces[transaction.sender])
            self._nonces[transaction.sender] += 1
            self._same(height, "chain", transaction.chain_id, self._params.chain_id)
            if not signed.is_authentic():
                self._fail(height, f"transaction {signed.id.hex()} is not signed")

    def _check_events(self, block: Block, outcome: BlockOutcome) -> None:
        height = block.header.height
        for signed, receipt in zip(block.transactions, outcome.receipts, strict=True):
            body = signed.transaction.body
            for event in receipt.events:
                if event.reason is Reason.WORK_PROVEN:
                    assert isinstance(body, ProveWork)
                    self._check_proof(height, signed.transaction.sender, body, event)
            if isinstance(body, CommitWork) and receipt.reason is Reason.OK:
                known = self._watch.work.get(signed.id)
                if known is not None and known[1] != body.units:
                    self._fail(height, f"commit {signed.id.hex()} claims {body.units} units, did {known[1]}")
        for event in (*outcome.opening, *(e for r in outcome.receipts for e in r.events), *outcome.closing):
            self._count(block, event)

    def _check_proof(self, height: int, sender: bytes, body: ProveWork, event: Event) -> None:
        if body.commit in self._proven:
            self._fail(
                height, f"commit {body.commit.hex()} was credited at {self._proven[body.commit]} already"
            )
        self._proven[body.commit] = height
        known = self._watch.work.get(body.commit)
        if known is None:
            self._fail(height, f"{sender.hex()} was credited for work that nobody did")
        self._same(height, "miner of the credited work", sender, known[0])
        self._same(height, "credited units", event.amount, known[1])

    def _count(self, block: Block, event: Event) -> None:
        height = block.header.height
        if event.reason is Reason.WORK_CREDITED:
            # What is proven once the miners are weighed comes too late for the next committee.
            is_late = height >= self._weighed_at(block.header.epoch)
            self._units[block.header.epoch + is_late][event.subject] += event.amount
        elif event.reason is Reason.WORK_REWARDED:
            units = self._watch.work[event.subject][1]
            due = units * self._params.reward_per_million_units // 1_000_000
            self._same(height, "reward", event.amount, due)
            self._minted += event.amount
        elif event.reason in (Reason.FEE_BURNED, Reason.PROOF_MISSING):
            self._burned += event.amount
        elif event.reason in (Reason.MINER_SLASHED, Reason.MINER_EQUIVOCATED):
            self._burned += event.amount
            for units in self._units.values():
                units.pop(self._key_of[event.subject], None)
            if event.subject in self._honest:
                self._fail(height, f"honest miner {event.subject.hex()} lost its bond: {event.reason.name}")
        elif event.reason is Reason.KEY_CONVICTED and event.subject in self._honest:
            self._fail(height, f"honest key {event.subject.hex()} is convicted")
        if event.reason in _COUNTED:
            self.events[event.reason.name.lower()] += 1

    def _check_committee(self, block: Block, committee: Committee) -> None:
        """Seats follow the units of the window, of keys that may hold any."""
        header = block.header
        height = header.height
        outcome = self._store.outcome(height)
        assert outcome is not None
        if Reason.SEATS_APPORTIONED not in {event.reason for event in outcome.closing}:
            return
        total = self._weighed
        forfeited = {event.subject for event in outcome.closing if event.reason is Reason.SEATS_FORFEITED}
        weights = {key: total[key] for key in sorted(total) if committee.seats_of(key) or key in forfeited}
        if set(weights) - forfeited != {validator.consensus_key for validator in committee.validators}:
            self._fail(height, "somebody has a seat in the next committee and no credited work")
        missing = [key for key in self._honest & set(total) if not committee.seats_of(key)]
        if missing and all(total[key] * self._params.committee_size > sum(total.values()) for key in missing):
            self._check_excused(height, missing)
        if set(weights) == set(total):
            due = apportion_seats(weights, seats=self._params.committee_size, beacon=header.beacon)
            got = {validator.consensus_key: validator.seats for validator in committee.validators}
            self._same(height, "seats", got, {key: due[key] for key in due if key not in forfeited})

    def _check_excused(self, height: int, missing: list[bytes]) -> None:
        """An honest key with a seat's worth of work is left out only where its miner is suspended."""
        outcomes = [self._store.outcome(h) for h in range(1, height + 1)]
        suspended = {
            event.other
            for o in outcomes
            if o
            for event in o.opening
            if event.reason is Reason.MINER_SUSPENDED
        }
        for key in missing:
            if key not in suspended:
                self._fail(height, f"honest key {key.hex()} has credited work and no seat")

    def _check_state(self) -> None:
        height, state = self._store.head.height, self._store.state
        self._same(height, "state root", self._store.head.state_root, state.root)
        try:
            check_state(state, params=self._params)
        except StateError as error:
            self._fail(height, str(error))
        supply = queries.supply(state)
        self._same(height, "minted", supply.minted, self._minted)
        self._same(height, "burned", supply.burned, self._burned)
        for sender, nonce in self._nonces.items():
            self._same(height, "nonce in the state", queries.account(state, sender).nonce, nonce)

    def _same(self, height: int, what: str, got: object, expected: object) -> None:
        if got != expected:
            self._fail(height, f"{what} is {_shown(got)}, expected {_shown(expected)}")

    def _fail(self, height: int, what: str) -> None:
        self._watch.fail(f"audit of height {height}: {what}")


_COUNTED = {
    Reason.WORK_PROVEN,
    Reason.MINER_SLASHED,
    Reason.MINER_EQUIVOCATED,
    Reason.KEY_CONVICTED,
    Reason.PROOF_MISSING,
    Reason.TASK_ANSWERED,
    Reason.TRANSFERRED,
}
"""What the summary tells of the ledger's life."""


def _shown(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else repr(value)
