"""What is decided about a world before it starts: everything that a seed stands for."""

from dataclasses import dataclass, replace
from random import Random

PROFILES = ("ledger", "consensus")
"""Real execution and work, or blocks without transactions under committees that change faster."""

SIZES = (4, 7, 10)

CONSENSUS_HABITS = (
    "two_faced", "two_faced", "equivocating", "whispering", "amnesiac", "withholding", "silent", "late",
    "invalid_block", "lying_sync", "wrong_committee", "stale", "junk_ancestry",
)  # fmt: skip
"""Ways of traitors in both profiles; the strongest one twice."""

LEDGER_HABITS = (
    "invalid_work", "stolen_work", "replayed_work", "beacon_withholding", "proof_censoring",
)  # fmt: skip
"""Ways that need a ledger."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One world."""

    seed: int
    count: int = 4
    profile: str = "consensus"
    habits: tuple[str, ...] = ()
    """Of the traitors, who are the first of the nodes."""
    epoch_length: int = 4
    block_interval_ms: int = 500
    network_delay_ms: int = 400
    committees: str = "drawn"
    """One of `tests.simulation.abstract.COMMITTEES`; for the profile "consensus"."""
    rounds: int = 3
    """Times that trouble comes and goes."""
    is_control: bool = False
    """Traitors may betray whatever they hold: the run must fork."""


def plan_of(seed: int, *, count: int | None = None, profile: str | None = None) -> Plan:
    """The world of a seed; ``count`` and ``profile`` pin what the seed would draw."""
    rng = Random(f"plan/{seed}")
    drawn_count, drawn_profile = rng.choice(SIZES), rng.choice(PROFILES)
    plan = Plan(seed, count=count or drawn_count, profile=profile or drawn_profile)
    most = (plan.count - 1) // 3
    ways = CONSENSUS_HABITS + (LEDGER_HABITS if plan.profile == "ledger" else ())
    habits = tuple(rng.choice(ways) for _ in range(rng.choice([0, *range(most + 1), most, most])))
    if plan.profile == "ledger":
        return replace(plan, habits=habits, epoch_length=rng.choice([6, 8, 12]), block_interval_ms=1000)
    return replace(
        plan, habits=habits, epoch_length=rng.choice([1, 3, 4, 8]), block_interval_ms=rng.choice([500, 1000])
    )
