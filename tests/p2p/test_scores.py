"""Points, bans and their end."""

from p2p.network import PeerId
from p2p.peers.scores import BAN_SECONDS, KEPT_PEERS, KEPT_REPORTS, RECOVERY_SECONDS, Scoreboard

A = PeerId("a")


def test_points_come_back_with_time() -> None:
    scores = Scoreboard()
    assert scores.score(A, 0) == 0
    assert not scores.report(A, "late", weight=50, now=0)
    assert scores.score(A, 0) == -50
    assert scores.score(A, 10 * RECOVERY_SECONDS) == -40
    assert scores.score(A, 1e6) == 0
    # Recovered points count: four times fifty over a day is no ban.
    assert not any(scores.report(A, "late", weight=50, now=n * 100_000) for n in range(1, 5))


def test_a_ban_at_the_threshold_which_ends_and_then_lasts_twice_as_long() -> None:
    scores = Scoreboard()
    assert not scores.report(A, "one", weight=99, now=0)
    assert scores.report(A, "two", weight=1, now=0)
    assert (scores.is_banned(A, BAN_SECONDS - 1), scores.score(A, 1)) == (True, -100)
    (ban,) = scores.bans(1)
    assert [report.reason for report in ban.reports] == ["one", "two"]
    assert not scores.is_banned(A, BAN_SECONDS)
    assert scores.report(A, "again", weight=100, now=BAN_SECONDS)
    assert scores.bans(BAN_SECONDS)[0].until == 3 * BAN_SECONDS


def test_memory_is_bounded_and_bans_are_kept_longest() -> None:
    scores = Scoreboard()
    scores.report(A, "bad", weight=100, now=0)
    for n in range(2 * KEPT_PEERS):
        scores.report(PeerId(f"p{n}"), "meh", weight=1, now=0)
    assert len(scores._records) == KEPT_PEERS
    assert scores.is_banned(A, 1)
    for _ in range(100):
        scores.report(A, "more", weight=1, now=1)
    assert len(scores.bans(2)[0].reports) == KEPT_REPORTS
