"""Ops of transformers that treat each row by itself; `arithmetic.transformer_rows` says what they compute."""

from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pouw.kernels.compiled import compiled


@compiled
def norm_rows(
    x: NDArray[Any], gain: NDArray[Any], epsilon: int, shift: int, most: int, bits: int, out: NDArray[Any],
    start: int, stop: int,
) -> None:  # fmt: skip
    """See `pouw.arithmetic.transformer_rows.norm_rows`.

    Relies on what `RowNorm.infer` shows: squares add up to 2^61 at most, normed values times gains fit int64.

    Args:
        x: int16 or int32 [m,d].
        gain: int16 or int32 [d].
        epsilon: 1..2^60.
        shift: 0..62.
        most: ROOT_SUM_MAX.
        bits: NORM_BITS.
        out: int8 [m,d].
        start: the first row.
        stop: one more than the last.
    """
    half = (1 << shift) >> 1
    count = x.shape[1]
    for i in range(start, stop):
        values, here = x[i], out[i]
        total: Any = np.int64(0)
        for j in range(count):
            total += np.int64(values[j]) * np.int64(values[j])
        inverse, places = norm_factor(min(total, most) + epsilon, count, bits)
        rounding = (1 << places) >> 1
        for j in range(count):
            normed = (np.int64(values[j]) * inverse + rounding) >> places
            value = (normed * np.int64(gain[j]) + half) >> shift
            here[j] = min(max(value, -127), 127)


@compiled
def norm_factor(total: Any, count: int, bits: int) -> tuple[int, int]:
    """See `pouw.arithmetic.transformer_rows.norm_factor`; bits: NORM_BITS."""
    lift = _headroom(total)
    mean = (total << (2 * lift)) // count
    turn = _headroom(mean)
    return (1 << 61) // _root(mean << (2 * turn)), 61 - bits - lift - turn


@compiled
def _headroom(value: Any) -> int:
    """See `pouw.arithmetic.fixed.even_headroom`."""
    lift = 0
    while value < 1 << 60:
        value <<= 2
        lift += 1
    return lift


@compiled
def _root(value: Any) -> int:
    """The integer square root of 2^60..2^62-1: float64 is off by one at the most, and is put right."""
    root = int(sqrt(value))
    while root * root > value:
        root -= 1
    while (root + 1) * (root + 1) <= value:
        root += 1
    return root


@compiled
def turn_rows(
    x: NDArray[Any], turns: NDArray[Any], past: int, tokens: int, heads: int, shift: int, by_head: bool,
    out: NDArray[Any], start: int, stop: int,
) -> None:  # fmt: skip
    """See `pouw.arithmetic.transformer_rows.rotary_rows`; rows are those of x.

    Relies on int16 times 2^14, twice, which stays below 2^31.

    Args:
        x: int16 [sequences * tokens, heads * dim].
        turns: int16 [positions, dim], cosines then sines.
        past: tokens before the first.
        tokens: of a sequence.
        heads: of x.
        shift: 0..62.
        by_head: whether out is [sequences * heads * tokens, dim] rather than as x.
        out: int8.
        start: the first row.
        stop: one more than the last.
    """
    half = (1 << shift) >> 1
    dim = turns.shape[1]
    middle = dim >> 1
    for i in range(start, stop):
        sequence, token = i // tokens, i % tokens
        cos, sin = turns[past + token], turns[past + token, middle:]
        for head in range(heads):
            here = x[i, head * dim :]
            there = out[(sequence * heads + head) * tokens + token] if by_head else out[i, head * dim :]
            second, below = here[middle:], there[middle:]
            for j in range(middle):
                value = np.int64(here[j]) * np.int64(cos[j]) - np.int64(second[j]) * np.int64(sin[j])
                there[j] = min(max((value + half) >> shift, -127), 127)
            for j in range(middle):
                value = np.int64(here[j]) * np.int64(sin[j]) + np.int64(second[j]) * np.int64(cos[j])
                below[j] = min(max((value + half) >> shift, -127), 127)


@compiled
def gate_rows(
    gate: NDArray[Any], up: NDArray[Any], table: NDArray[Any], shift: int, out: NDArray[Any],
    start: int, stop: int,
) -> None:  # fmt: skip
    """See `pouw.arithmetic.transformer_rows.gate_rows`.

    Args:
        gate: int8 [m,n].
        up: int8 [m,n].
        table: int32 [256], of int16 values.
        shift: 0..62.
        out: int8 [m,n].
        start: the first row.
        stop: one more than the last.
    """
    half = (1 << shift) >> 1
    opened = np.empty(gate.shape[1], np.int32)
    for i in range(start, stop):
        shut, values, here = gate[i], up[i], out[i]
        for j in range(opened.size):
            opened[j] = table[np.uint64(np.int64(shut[j]) + 128)]
        for j in range(opened.size):
            value = (np.int64(opened[j]) * np.int64(values[j]) + half) >> shift
            here[j] = min(max(value, -127), 127)
