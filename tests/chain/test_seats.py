"""Seats: floor or ceiling of the quota always, the quota itself in expectation, the same for everybody."""

import random
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.hashing import digest
from chain.seats import apportion_seats


def beacon(number: int) -> bytes:
    return digest("test/seats", number.to_bytes(8, "big"))


weights_of_keys = st.dictionaries(
    st.binary(min_size=32, max_size=32), st.integers(0, 1 << 100), min_size=1, max_size=40
).filter(lambda weights: sum(weights.values()) > 0)


@given(weights_of_keys, st.integers(1, 200), st.binary(min_size=32, max_size=32))
def test_every_key_gets_floor_or_ceiling_of_its_quota(weights, seats, drawn):
    given_seats = apportion_seats(weights, seats=seats, beacon=drawn)
    total = sum(weights.values())
    assert sum(given_seats.values()) == seats
    assert list(given_seats) == sorted(given_seats)
    for key, weight in weights.items():
        quota = Fraction(weight * seats, total)
        assert given_seats.get(key, 0) in (quota.__floor__(), quota.__ceil__())
        assert weight > 0 or key not in given_seats


@given(weights_of_keys, st.integers(1, 64), st.binary(min_size=32, max_size=32), st.randoms())
def test_the_order_of_the_mapping_does_not_matter(weights, seats, drawn, shuffler):
    shuffled = list(weights.items())
    shuffler.shuffle(shuffled)
    expected = apportion_seats(weights, seats=seats, beacon=drawn)
    assert apportion_seats(dict(shuffled), seats=seats, beacon=drawn) == expected


@given(weights_of_keys, st.integers(1, 64), st.binary(min_size=32, max_size=32), st.integers(1, 1 << 20))
def test_only_proportions_matter(weights, seats, drawn, factor):
    """A factor on all weights moves the start by less than one unit of weight: at most a boundary is hit."""
    once = apportion_seats(weights, seats=seats, beacon=drawn)
    scaled = apportion_seats(
        {key: weight * factor for key, weight in weights.items()}, seats=seats, beacon=drawn
    )
    assert all(abs(once.get(key, 0) - scaled.get(key, 0)) <= 1 for key in weights)


def test_three_to_one_stays_within_one_seat():
    for number in range(500):
        seats = apportion_seats({b"a" * 32: 3_000_001, b"b" * 32: 1_000_000}, seats=64, beacon=beacon(number))
        assert seats[b"a" * 32] in (48, 49)
        assert seats[b"b" * 32] in (15, 16)


def test_tiny_miners_get_their_turn_in_proportion():
    """A miner with 1/1000 of the weight holds 64/1000 of a seat: about 128 seats in 2,000 epochs."""
    weights = {b"whale" + bytes(27): 900_000}
    weights |= {bytes([number]) * 32: 1_000 * (1 + number % 3) for number in range(50)}
    total = sum(weights.values())
    epochs = 2_000
    held = dict.fromkeys(weights, 0)
    for number in range(epochs):
        for key, seats in apportion_seats(weights, seats=64, beacon=beacon(number)).items():
            held[key] += seats
    for key, weight in weights.items():
        expected = epochs * 64 * weight / total
        # Each epoch is a coin with success below one seat: five standard deviations.
        assert abs(held[key] - expected) <= 5 * (expected**0.5) + 1, (key, held[key], expected)


def test_the_mean_over_all_starts_is_the_quota():
    """The starts are spread evenly, so the mean over many beacons comes close to the exact quota."""
    chance = random.Random(7)
    weights = {bytes([number]) * 32: chance.randrange(1, 100) for number in range(9)}
    total, runs = sum(weights.values()), 4_000
    held = dict.fromkeys(weights, 0)
    for number in range(runs):
        for key, seats in apportion_seats(weights, seats=7, beacon=beacon(number)).items():
            held[key] += seats
    for key, weight in weights.items():
        assert abs(held[key] / runs - 7 * weight / total) < 0.04


def test_keys_chosen_to_lie_a_seat_apart_win_no_committee():
    """Whoever makes keys can put them anywhere among those that are there, and knows what all of them weigh.

    Here 30 % of the weight are 64 keys, and between each two of them lie two honest ones that weigh 70 % of a
    seat together: in the order of the keys, one start in three would give a seat to each of the 64.
    """
    honest = {bytes([number, part]) + bytes(30): 35 for number in range(64) for part in (1, 2)}
    chosen = {bytes([number, 3]) + bytes(30): 30 for number in range(64)}
    most = 0
    for number in range(500):
        given_seats = apportion_seats(honest | chosen, seats=64, beacon=beacon(number))
        most = max(most, sum(given_seats.get(key, 0) for key in chosen))
    assert 3 * most <= 2 * 64


def test_no_weight_is_our_own_mistake():
    with pytest.raises(AssertionError, match="8 seats over a weight of 0"):
        apportion_seats({bytes(32): 0}, seats=8, beacon=bytes(32))


def test_pinned():
    weights = {bytes([number]) * 32: 10 + number for number in range(6)}
    assert apportion_seats(weights, seats=8, beacon=bytes(32)) == {
        bytes([0]) * 32: 1,
        bytes([1]) * 32: 1,
        bytes([2]) * 32: 1,
        bytes([3]) * 32: 2,
        bytes([4]) * 32: 1,
        bytes([5]) * 32: 2,
    }
