"""What the campaign calls a failure."""

from dataclasses import replace

import pytest

from tests.overload.measure import Gap, Links, gaps, last_long, quantile_ms
from tests.overload.report import GROWTH_MIB, Memory, Phase, Report, described, shortcomings
from tests.overload.samples import Rates, Sample, rates


def report() -> Report:
    names = ("baseline", "saturation", "overload", "recovery", "afterwards")
    return Report(
        phases=tuple(Phase(name, 60.0, 120, 300.0, 1.0, 500, 600, 700) for name in names),
        saturation=Rates(320.0, 300.0, 1.0, fresh=1.0, refused=0.0, short=0.0, connected=4),
        flood=Rates(1500.0, 300.0, 1.0, fresh=0.5, refused=0.1, short=0.0, connected=4),
        voters=4,
        memory=Memory(begin=150, first_half=200, second_half=205, end=190),
        links=Links(lost_frames=0, broken=0),
        normal_after_s=2.5,
    )


def with_p99(name: str, p99_ms: int) -> Report:
    phases = report().phases
    return replace(
        report(),
        phases=tuple(replace(phase, p99_ms=p99_ms) if phase.name == name else phase for phase in phases),
    )


def test_a_good_run_has_no_shortcomings():
    assert shortcomings(report()) == []
    assert shortcomings(with_p99("overload", 1200)) == []
    assert "300 transactions a second" in described(report())


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (with_p99("overload", 1201), "overload: finality p99 1201 ms, 600 ms without load"),
        (with_p99("afterwards", 1201), "afterwards: finality p99 1201 ms"),
        (replace(report(), voters=3), "3 of 4 validators had seats"),
        (replace(report(), links=Links(1, 0)), "1 consensus frames lost"),
        (replace(report(), links=Links(0, 2)), "2 links broken"),
        (replace(report(), normal_after_s=31.0), "normal again after 31.0 s"),
        (replace(report(), memory=Memory(150, 151 + GROWTH_MIB, 150, 150)), "memory rose from 150"),
        (replace(report(), memory=Memory(150, 180, 240, 150)), "memory goes on rising: 180, then 240"),
    ],
)
def test_what_is_not_as_promised_is_said(bad: Report, said: str):
    (found,) = shortcomings(bad)
    assert said in found


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"saturation": replace(report().saturation, short=0.2)}, "saturation not found: 20%"),
        ({"saturation": replace(report().saturation, landed_per_s=0.0)}, "saturation not found: hardly"),
        ({"flood": replace(report().flood, offered_per_s=1400.0)}, "offered 1400 a second, 1500 was asked"),
        ({"flood": replace(report().flood, connected=3)}, "connected to 3 of 4 nodes"),
    ],
)
def test_a_run_that_tried_less_than_asked_fails(changes: dict[str, object], said: str):
    (found,) = shortcomings(replace(report(), **changes))
    assert said in found


def test_a_chain_that_stands_still_has_one_long_gap():
    assert [gap.ms for gap in gaps([1.0, 2.0], began=1.5, ended=9.0)] == [1000, 7000]
    assert [gap.ms for gap in gaps([], began=1.5, ended=9.0)] == [7500]


def test_a_gap_belongs_to_the_phase_in_which_it_ends():
    times = [0.0, 1.0, 4.0, 5.0]
    assert [gap.ms for gap in gaps(times, began=0.0, ended=2.0)] == [1000, 1000]
    assert [gap.ms for gap in gaps(times, began=2.0, ended=5.5)] == [3000, 1000, 500]


def test_quantiles_are_of_the_gaps_in_order_of_length():
    found = [Gap(0.0, second) for second in range(100, 0, -1)]
    assert [quantile_ms(found, percent) for percent in (50, 99, 100)] == [51_000, 100_000, 100_000]


def test_a_chain_is_normal_after_its_last_long_gap():
    found = [Gap(9.0, 11.0), Gap(12.0, 12.5), Gap(20.0, 23.0), Gap(45.0, 49.0)]
    assert last_long(found, since=10.0, within_s=30.0, limit_ms=1000) == 13.0
    assert last_long(found, since=10.0, within_s=30.0, limit_ms=9000) == 0.0
    assert last_long([Gap(12.0, 99.0)], since=10.0, within_s=30.0, limit_ms=1000) == 89.0


def sample(at: float, total: int, *, connected: int = 4) -> Sample:
    sums = dict.fromkeys(("offered", "fresh", "refused", "landed", "proofs", "blocks", "short"), total)
    return Sample(at=at, waiting=0, width=4, connected=connected, **sums)


def test_rates_are_of_what_happened_within_a_stretch():
    samples = [sample(0, 0), sample(1, 100), sample(2, 150, connected=3), sample(3, 200), sample(4, 999)]
    found = rates(samples, 1.0, 3.0)
    assert (found.offered_per_s, found.landed_per_s, found.connected) == (50.0, 50.0, 3)


def test_a_stretch_without_samples_has_no_rates():
    with pytest.raises(ValueError, match="1 samples in 1 s"):
        rates([sample(0, 0), sample(1, 100)], 0.5, 1.5)
