"""Ops of transformers that treat each row by itself, on a GPU; `arithmetic.transformer_rows` defines them."""

import triton.language as tl

from pouw.backends.triton_kernel import kernel


@kernel
def headroom(value: tl.tensor) -> tl.tensor:
    """See `pouw.arithmetic.fixed.even_headroom`, of a positive scalar."""
    lift = value * 0
    for _ in range(31):
        small = value < 1152921504606846976
        value = tl.where(small, value << 2, value)
        lift = tl.where(small, lift + 1, lift)
    return lift


@kernel
def root(value: tl.tensor) -> tl.tensor:
    """The integer square root of a scalar below 2^62, digit by digit."""
    found, bit = value * 0, value * 0 + 1152921504606846976
    for _ in range(31):
        fits = value >= found + bit
        value = tl.where(fits, value - found - bit, value)
        found = tl.where(fits, (found >> 1) + bit, found >> 1)
        bit = bit >> 2
    return found


@kernel
def norm(
    x: tl.tensor, gain: tl.tensor, out: tl.tensor, cols: tl.tensor, epsilon: tl.tensor, most: tl.tensor,
    half: tl.tensor, shift: tl.tensor,
    bits: tl.constexpr, block: tl.constexpr,
) -> None:  # fmt: skip
    """See `norm_rows`, a program a row; `RowNorm.infer` shows that squares and products fit int64.

    Args:
        x: int16 or int32 [m,cols].
        gain: int16 or int32 [cols].
        out: int8 [m,cols].
        cols: values of a row.
        epsilon: 1..2^60.
        most: ROOT_SUM_MAX.
        half: the rounding term of the shift.
        shift: 0..62.
        bits: NORM_BITS.
        block: values at a time.
    """
    start = tl.program_id(0).to(tl.int64) * cols
    squares = tl.zeros((block,), tl.int64)
    for first in range(0, cols, block):
        col = first + tl.arange(0, block)
        value = tl.load(x + start + col, mask=col < cols, other=0).to(tl.int64)
        squares += value * value
    total = tl.minimum(tl.sum(squares, axis=0), most) + epsilon
    lift = headroom(total)
    mean = (total << (2 * lift)) // cols
    turn = headroom(mean)
    inverse = (mean * 0 + 2305843009213693952) // root(mean << (2 * turn))
    places = 61 - bits - lift - turn
    rounding = ((places * 0 + 1) << places) >> 1
    for first in range(0, cols, block):
        col = first + tl.arange(0, block)
        inside = col < cols
        value = tl.load(x + start + col, mask=inside, other=0).to(tl.int64)
        value = (value * inverse + rounding) >> places
        value = (value * tl.load(gain + col, mask=inside, other=0).to(tl.int64) + half) >> shift
        value = tl.minimum(tl.maximum(value, -127), 127)
        tl.store(out + start + col, value.to(tl.int8), mask=inside)


@kernel
def turn(
    x: tl.tensor, turns: tl.tensor, out: tl.tensor, count: tl.tensor, past: tl.tensor, tokens: tl.tensor,
    heads: tl.tensor, dim: tl.tensor, half: tl.tensor,
    shift: tl.tensor, by_head: tl.constexpr, block: tl.constexpr,
) -> None:  # fmt: skip
    """See `rotary_rows`: int16 times 2^14, twice, stays below 2^31.

    Args:
        x: int16 [sequences * tokens, heads * dim].
        turns: int16 [positions, dim], cosines then sines.
        out: int8, as x or [sequences * heads * tokens, dim].
        count: values.
        past: tokens before the first.
        tokens: of a sequence.
        heads: of x.
        dim: values of a head.
        half: the rounding term.
        shift: 0..62.
        by_head: how out lies.
        block: values of a program.
    """
    place = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    inside = place < count
    col, rest = place % dim, place // dim
    head, token, sequence = rest % heads, rest // heads % tokens, rest // heads // tokens
    middle = dim // 2
    upper = col >= middle
    low = tl.where(upper, col - middle, col)
    first = tl.load(x + place - col + low, mask=inside, other=0).to(tl.int64)
    second = tl.load(x + place - col + low + middle, mask=inside, other=0).to(tl.int64)
    angle = turns + (past + token) * dim + low
    cos = tl.load(angle, mask=inside, other=0).to(tl.int64)
    sin = tl.load(angle + middle, mask=inside, other=0).to(tl.int64)
    value = tl.where(upper, first * sin + second * cos, first * cos - second * sin)
    value = tl.minimum(tl.maximum((value + half) >> shift, -127), 127)
    if by_head:
        place = ((sequence * heads + head) * tokens + token) * dim + col
    tl.store(out + place, value.to(tl.int8), mask=inside)


@kernel
def gate(
    shut: tl.tensor,
    up: tl.tensor,
    table: tl.tensor,
    out: tl.tensor,
    count: tl.tensor,
    half: tl.tensor,
    shift: tl.tensor,
    block: tl.constexpr,
) -> None:
    """See `gate_rows`.

    Args:
        shut: int8, the rows that the table is asked for.
        up: int8.
        table: int16 [256].
        out: int8.
        count: values.
        half: the rounding term.
        shift: 0..62.
        block: values of a program.
    """
    place = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    inside = place < count
    index = tl.load(shut + place, mask=inside, other=0).to(tl.int64) + 128
    opened = tl.load(table + index, mask=inside, other=0).to(tl.int64)
    value = opened * tl.load(up + place, mask=inside, other=0).to(tl.int64)
    value = tl.minimum(tl.maximum((value + half) >> shift, -127), 127)
    tl.store(out + place, value.to(tl.int8), mask=inside)
