"""What a miner says: one line an event, key=value, and a summary at the end."""

from collections import Counter
from dataclasses import dataclass, field


def line(event: str, **values: object) -> str:
    """An event and its values in one line; values with spaces are quoted."""
    return " ".join([event, *(f"{name}={_shown(value)}" for name, value in values.items())])


@dataclass(slots=True)
class Tally:
    """Counts since the miner started."""

    commits: int = 0
    proofs: int = 0
    units: int = 0
    """Of commits whose proof is final and right."""
    tasks: int = 0
    late: int = 0
    """Commits that were not sent, as their round was over."""
    busy_seconds: float = 0.0
    refusals: Counter[str] = field(default_factory=Counter)
    """By reason, of transactions refused by the node or on the ledger."""

    def summary(self, *, elapsed: float) -> str:
        """All of it in one line."""
        refused = ",".join(f"{code}:{count}" for code, count in sorted(self.refusals.items())) or "none"
        share = 100 * self.busy_seconds / elapsed if elapsed > 0 else 0.0
        return line(
            "summary", commits=self.commits, proofs=self.proofs, units=self.units, tasks=self.tasks,
            late=self.late, busy=f"{share:.0f}%", seconds=f"{elapsed:.0f}", refused=refused,
        )  # fmt: skip


def _shown(value: object) -> str:
    text = value.hex() if isinstance(value, bytes) else str(value)
    return f'"{text}"' if " " in text or not text else text
