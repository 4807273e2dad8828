"""What an event's subject, other party and amount are: the ledger stores plain bytes and numbers."""

from dataclasses import dataclass
from typing import Final

from chain.reasons import Reason


@dataclass(frozen=True, slots=True)
class Meaning:
    """How one kind of event reads. An empty word: there is none."""

    subject: str
    other: str
    amount: str
    """coins, units, height, seats, attempts, epoch, steps or shards."""


REFUSAL: Final = Meaning("transaction", "account", "")
"""A transaction that took its fee and nothing else."""

_PROOF_REFUSED: Final = Meaning("commit", "miner", "units")

_MEANINGS: Final[dict[Reason, Meaning]] = {
    Reason.OK: Meaning("transaction", "account", "coins"),
    Reason.TRANSFERRED: Meaning("account", "account", "coins"),
    Reason.FEE_BURNED: Meaning("consensus key", "", "coins"),
    Reason.TIP_PAID: Meaning("account", "consensus key", "coins"),
    Reason.MINER_REGISTERED: Meaning("miner", "consensus key", "coins"),
    Reason.UNBONDING_STARTED: Meaning("miner", "consensus key", "height"),
    Reason.BOND_RETURNED: Meaning("miner", "consensus key", "coins"),
    Reason.MINER_SLASHED: Meaning("miner", "commit", "coins"),
    Reason.MINER_EQUIVOCATED: Meaning("miner", "consensus key", "coins"),
    Reason.KEY_CONVICTED: Meaning("consensus key", "report", "epoch"),
    Reason.MINER_SUSPENDED: Meaning("miner", "consensus key", "coins"),
    Reason.TASK_SUBMITTED: Meaning("task", "account", "coins"),
    Reason.TASK_ASSIGNED: Meaning("task", "miner", "height"),
    Reason.TASK_COMMITTED: Meaning("task", "commit", ""),
    Reason.TASK_ANSWERED: Meaning("task", "commit", ""),
    Reason.TASK_PAID: Meaning("task", "miner", "coins"),
    Reason.TASK_DEADLINE_MISSED: Meaning("task", "miner", "attempts"),
    Reason.TASK_REASSIGNED: Meaning("task", "miner", "attempts"),
    Reason.TASK_REFUNDED: Meaning("task", "account", "coins"),
    Reason.TASK_NO_MINER: Meaning("task", "model", "height"),
    Reason.TASK_FORGOTTEN: Meaning("task", "account", ""),
    Reason.WORK_COMMITTED: Meaning("commit", "miner", "units"),
    Reason.PROOF_MISSING: Meaning("commit", "miner", "coins"),
    Reason.WORK_PROVEN: Meaning("commit", "miner", "units"),
    Reason.WORK_CREDITED: Meaning("consensus key", "commit", "units"),
    Reason.WORK_REWARDED: Meaning("commit", "miner", "coins"),
    Reason.COMMIT_VOID: Meaning("commit", "miner", "units"),
    Reason.SEATS_APPORTIONED: Meaning("consensus key", "miner", "seats"),
    Reason.SEATS_FORFEITED: Meaning("consensus key", "miner", "seats"),
    Reason.MODEL_TRAINED: Meaning("model", "", "steps"),
    Reason.VOTE_COUNTED: Meaning("commit", "miner", "shards"),
    Reason.VOTE_TOO_OLD: Meaning("commit", "miner", "shards"),
    Reason.COMMITTEE_KEPT: Meaning("", "", "epoch"),
    Reason.COMMITTEE_FROM_GENESIS: Meaning("", "", "epoch"),
}


def meaning_of(reason: Reason) -> Meaning:
    """How events of a reason read."""
    if reason.name.startswith("PROOF_") and reason >= Reason.PROOF_MALFORMED:
        return _PROOF_REFUSED
    return _MEANINGS.get(reason, REFUSAL)
