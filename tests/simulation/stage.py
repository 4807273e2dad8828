"""What all nodes of a world share from the start: rules, genesis, committees; and how each of them begins."""

from typing import TYPE_CHECKING

from chain.types.params import ChainParams
from tests.consensus.fakes import params as small_params
from tests.simulation.abstract import AbstractLedger, drawn_committees, whole_committee
from tests.simulation.keys import consensus_key
from tests.simulation.plan import Plan

if TYPE_CHECKING:
    from tests.simulation.node import Node


class Stage:
    """One plan's chain at height 0."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        keys = [consensus_key(number).public_key for number in range(plan.count)]
        self.params: ChainParams = small_params(
            epoch_length=plan.epoch_length, block_interval_ms=plan.block_interval_ms,
            network_delay_ms=plan.network_delay_ms,
        )  # fmt: skip
        self.committees = (
            whole_committee(keys) if plan.steady else drawn_committees(plan.seed, keys, len(plan.habits))
        )

    def ledger(self) -> AbstractLedger:
        return AbstractLedger(self.params, self.committees)

    def worker(self, node: "Node") -> None:
        return None
