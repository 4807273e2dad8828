"""What all nodes of a world share from the start: rules, genesis, committees; and how each of them begins."""

from typing import TYPE_CHECKING

from chain.types.committee import Committee, Validator
from chain.types.params import MIN_SAMPLES, ChainParams
from tests.consensus.fakes import params as small_params
from tests.simulation.abstract import COMMITTEES, AbstractLedger
from tests.simulation.cheats import worker_of
from tests.simulation.customers import CUSTOMERS
from tests.simulation.keys import consensus_key, customer_key, miner_key
from tests.simulation.plan import Plan
from tests.simulation.real_ledger import RealLedger, begin
from tests.simulation.tiny_work import BATCH, models
from tests.simulation.worker import BOND, Worker

if TYPE_CHECKING:
    from tests.simulation.node import Node

SEATS_EACH = 4
"""Seats of the whole committee, by node: enough for shares to move."""


def ledger_params(plan: Plan) -> ChainParams:
    """Rules under which a commit is proven within an epoch, and nothing is far away."""
    return ChainParams(
        chain_id="simulation", address_prefix="sim",
        epoch_length=plan.epoch_length, committee_size=SEATS_EACH * plan.count, averaging_window=2,
        genesis_epochs=1, block_interval_ms=plan.block_interval_ms, network_delay_ms=plan.network_delay_ms,
        max_block_bytes=60_000, max_transaction_bytes=5_000, base_fee_floor=1,
        target_block_weight=2_600, cell_weight=10,
        min_bond=BOND // 2, unbonding_blocks=24, missed_proof_penalty=100,
        commons_batch=BATCH, max_commons_units=50, round_length=4, max_open_commits=2,
        reward_per_million_units=500_000_000,
        samples=MIN_SAMPLES, beacon_delay=2, proof_window=12,
        task_deadline=6, max_task_attempts=3, max_task_rows=32, price_per_million_units=20_000,
        task_retention=20,
    )  # fmt: skip


class Stage:
    """One plan's chain at height 0."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        keys = [consensus_key(number).public_key for number in range(plan.count)]
        if plan.profile == "ledger":
            self.params = ledger_params(plan)
            self._beginning = self._begin(keys)
            self.first_committee = self._beginning.committee
            return
        self.params = small_params(
            epoch_length=plan.epoch_length, block_interval_ms=plan.block_interval_ms,
            network_delay_ms=plan.network_delay_ms,
        )  # fmt: skip
        self.committees = COMMITTEES[plan.committees](plan, keys)
        self.first_committee = self.committees(0)

    def ledger(self) -> AbstractLedger | RealLedger:
        if self.plan.profile == "ledger":
            return RealLedger(self._beginning)
        return AbstractLedger(self.params, self.committees)

    def worker(self, node: "Node") -> Worker | None:
        return worker_of(node) if self.plan.profile == "ledger" and not node.face else None

    def _begin(self, keys: list[bytes]) -> "object":
        validators = [
            Validator(key, miner_key(number).public_key, SEATS_EACH) for number, key in enumerate(keys)
        ]
        balances = {miner_key(number).public_key: 10 * BOND for number in range(len(keys))}
        balances |= {customer_key(number).public_key: 10_000_000 for number in range(CUSTOMERS)}
        return begin(
            self.params, models=models(), balances=balances, seed=self.plan.seed,
            committee=Committee(tuple(sorted(validators, key=lambda v: v.consensus_key))),
        )  # fmt: skip
