"""What we hold against peers: points, reasons and bans.

A peer starts at 0, loses points by report, wins them back with time, and is banned when it reaches
`BAN_SCORE`. Scores outlive connections, so that reconnecting does not wash anybody clean. Everything is
bounded: the oldest entries without a ban go first.
"""

import math
from collections import deque
from dataclasses import dataclass, field

from p2p.network import BAN_SCORE, Ban, PeerId, Report

RECOVERY_SECONDS = 6.0
"""Seconds for one point to come back: a clean slate ten minutes after the edge of a ban."""

BAN_SECONDS = 600.0
"""A first ban lasts ten minutes; each further ban of the same peer doubles it, up to `MAX_BAN_SECONDS`."""

MAX_BAN_SECONDS = 86400.0
KEPT_REPORTS = 16
KEPT_PEERS = 4096


@dataclass(slots=True)
class _Record:
    points: float = 0.0
    since: float = 0.0
    banned_until: float = float("-inf")
    bans: int = 0
    reports: deque[Report] = field(default_factory=lambda: deque(maxlen=KEPT_REPORTS))


class Scoreboard:
    """Scores of peers on a clock that the caller reads."""

    def __init__(self) -> None:
        self._records: dict[PeerId, _Record] = {}

    def report(self, peer: PeerId, reason: str, *, weight: int, now: float) -> bool:
        """Take `weight` points from `peer`.

        Returns:
            True if this report banned it.
        """
        record = self._records.pop(peer, None) or _Record(since=now)
        self._records[peer] = record
        self._make_room(now)
        record.points = _points(record, now) - weight
        record.since = now
        record.reports.append(Report(reason=reason, weight=weight, at=now))
        if math.floor(record.points) > BAN_SCORE or now < record.banned_until:
            return False
        record.banned_until = now + min(BAN_SECONDS * 2**record.bans, MAX_BAN_SECONDS)
        record.bans = min(record.bans + 1, 32)
        record.points = 0.0
        return True

    def score(self, peer: PeerId, now: float) -> int:
        """Current points of `peer`: 0 is clean, `BAN_SCORE` is banned."""
        record = self._records.get(peer)
        if record is None:
            return 0
        return BAN_SCORE if now < record.banned_until else math.floor(_points(record, now))

    def last_report(self, peer: PeerId) -> Report | None:
        """The latest complaint about `peer`."""
        record = self._records.get(peer)
        return record.reports[-1] if record is not None and record.reports else None

    def is_banned(self, peer: PeerId, now: float) -> bool:
        """Whether a ban of `peer` is in force."""
        record = self._records.get(peer)
        return record is not None and now < record.banned_until

    def count(self, peer: PeerId) -> int:
        """How many bans `peer` has had, as far as we remember."""
        record = self._records.get(peer)
        return record.bans if record is not None else 0

    def restore(self, peer: PeerId, *, reason: str, seconds: float, count: int, now: float) -> None:
        """Take up a ban of an earlier process that lasts `seconds` more; nothing if that is over.

        A clock that was set in between cannot make it longer than any ban.
        """
        if seconds <= 0:
            return
        record = _Record(since=now, bans=min(count, 32))
        record.banned_until = now + min(seconds, MAX_BAN_SECONDS)
        record.reports.append(Report(reason=reason, weight=-BAN_SCORE, at=now))
        self._records[peer] = record
        self._make_room(now)

    def lift(self, peer: PeerId) -> bool:
        """End a ban and forget what led to it; whether anything was held against `peer`."""
        return self._records.pop(peer, None) is not None

    def bans(self, now: float) -> tuple[Ban, ...]:
        """Bans in force, sorted by peer."""
        return tuple(
            Ban(peer=peer, until=record.banned_until, reports=tuple(record.reports))
            for peer, record in sorted(self._records.items())
            if now < record.banned_until
        )

    def _make_room(self, now: float) -> None:
        if len(self._records) <= KEPT_PEERS:
            return
        harmless = (peer for peer, record in self._records.items() if now >= record.banned_until)
        victim = next(harmless, None)
        del self._records[victim if victim is not None else next(iter(self._records))]


def _points(record: _Record, now: float) -> float:
    return min(0.0, record.points + (now - record.since) / RECOVERY_SECONDS)
