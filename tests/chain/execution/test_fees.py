"""The base fee: where it rests, how it moves, and that nothing small is a trap."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.execution.fees import MAX_BASE_FEE, next_base_fee, weight_of
from chain.types.transaction import ProveWork, Transfer
from tests.chain.execution.world import PARAMS

TARGET = PARAMS.target_block_weight
FULL = PARAMS.max_block_weight

fee = st.integers(1, MAX_BASE_FEE)
used = st.integers(0, FULL)


def after(base_fee: int, weight: int, *, floor: int = 1) -> int:
    return next_base_fee(base_fee, weight, params=replace(PARAMS, base_fee_floor=floor))


@pytest.mark.parametrize("base_fee", range(1, 100))
def test_small_fees_are_no_trap(base_fee: int):
    assert after(base_fee, TARGET + 1) > base_fee
    assert after(base_fee, TARGET) == base_fee
    assert after(base_fee, TARGET - 1) == max(1, base_fee - 1)


def test_an_empty_chain_falls_to_the_floor_and_stays():
    base_fee = 10**6
    for _ in range(200):
        base_fee = after(base_fee, 0, floor=7)
    assert base_fee == 7


def test_full_blocks_double_the_fee_in_six():
    base_fee, blocks = 1000, 0
    while base_fee < 2000:
        base_fee, blocks = after(base_fee, FULL), blocks + 1
    assert blocks == 6


def test_full_blocks_leave_the_floor():
    base_fee, seen = 1, []
    for _ in range(12):
        base_fee = after(base_fee, FULL)
        seen.append(base_fee)
    assert seen == [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]


@given(fee, used)
def test_a_step_is_an_eighth_at_most(base_fee: int, weight: int):
    assert abs(after(base_fee, weight) - base_fee) <= max(1, base_fee // 8)


@given(fee, used, used)
def test_more_demand_never_means_a_lower_fee(base_fee: int, one: int, other: int):
    low, high = sorted((one, other))
    assert after(base_fee, low) <= after(base_fee, high)


@given(fee, st.integers(1, 1 << 40), used)
def test_it_stays_between_floor_and_the_end_of_the_integers(base_fee: int, floor: int, weight: int):
    assert floor <= after(max(base_fee, floor), weight, floor=floor) <= MAX_BASE_FEE


def test_only_a_fee_on_target_rests_above_the_floor():
    for base_fee in (2, 9, 10**9):
        resting = [
            weight
            for weight in (0, TARGET - 1, TARGET, TARGET + 1, FULL)
            if after(base_fee, weight) == base_fee
        ]
        assert resting == [TARGET]


def test_a_proof_weighs_its_bytes_and_its_cells():
    assert weight_of(Transfer(bytes(32), 1), 150, params=PARAMS) == 150
    assert (
        weight_of(ProveWork(bytes(32), b""), 150, params=PARAMS) == 150 + PARAMS.samples * PARAMS.cell_weight
    )
