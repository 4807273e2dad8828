"""Attention on a GPU: products and what follows them in one kernel; scores never reach memory."""

import triton.language as tl

from pouw.backends.triton_kernel import kernel


@kernel
def scores_of(
    q: tl.tensor, keys: tl.tensor, first_key: tl.tensor, first: tl.tensor, visible: tl.tensor,
    dim: tl.tensor, width: tl.tensor,
    deep: tl.constexpr, some: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """Scores of a block of queries with the keys from `first` on; hidden ones lie below all others.

    A score is at most 2^14 * 1024 = 2^24 in size, so int32 holds it and -2^27 is less than any.
    """
    key = first + tl.arange(0, some)
    col = tl.arange(0, deep)
    place = keys + (first_key + key)[None, :] * dim + col[:, None]
    k = tl.load(place, mask=(key[None, :] < width) & (col[:, None] < dim), other=0)
    scores = tl.dot(q, k, out_dtype=tl.int32)
    return tl.where(key[None, :] < visible[:, None], scores, -134217728)


@kernel
def weigh(
    queries: tl.tensor, keys: tl.tensor, table: tl.tensor, out: tl.tensor, past: tl.tensor,
    tokens: tl.tensor, heads: tl.tensor, group: tl.tensor, dim: tl.tensor,
    multiplier: tl.tensor, half: tl.tensor, shift: tl.tensor, last: tl.tensor,
    deep: tl.constexpr, rows: tl.constexpr, some: tl.constexpr,
) -> None:  # fmt: skip
    """See `weight_row`; a program is some queries of one head.

    Scores are computed twice, once for the greatest and once to be looked up: a product of 64 costs less
    than writing and reading four bytes. Differences of 2^25 at most, times 2^30, fit int64.

    Args:
        queries: int8 [sequences * tokens, heads * dim].
        keys: int8 [sequences * heads / group * span, dim].
        table: int8, weights by steps.
        out: int8 [sequences * heads * tokens, span].
        past: tokens before the first.
        tokens: of a sequence.
        heads: of the queries.
        group: heads that share keys.
        dim: of a head.
        multiplier: of a difference of scores.
        half: the rounding term.
        shift: 0..62.
        last: the last step of the table.
        deep: dim, up to a power of two.
        rows: queries of a program.
        some: keys at a time.
    """
    blocks = (tokens + rows - 1) // rows
    number = tl.program_id(0).to(tl.int64)
    block, place = number % blocks, number // blocks
    sequence, head = place // heads, place % heads
    span = past + tokens
    first_key = (sequence * (heads // group) + head // group) * span
    token, col = block * rows + tl.arange(0, rows), tl.arange(0, deep)
    here = queries + ((sequence * tokens + token) * heads + head)[:, None] * dim + col[None, :]
    q = tl.load(here, mask=(token[:, None] < tokens) & (col[None, :] < dim), other=0)
    visible = past + token + 1
    end = tl.minimum(past + (block + 1) * rows, span)
    greatest = tl.full((rows,), -134217728, tl.int32)
    for first in range(0, end, some):
        scores = scores_of(q, keys, first_key, first, visible, dim, span, deep, some)
        greatest = tl.maximum(greatest, tl.max(scores, axis=1))
    for first in range(0, span, some):
        key = first + tl.arange(0, some)
        scores = scores_of(q, keys, first_key, first, visible, dim, span, deep, some)
        away = greatest.to(tl.int64)[:, None] - scores.to(tl.int64)
        seen = (key[None, :] < visible[:, None]) & (token[:, None] < tokens)
        steps = tl.minimum((tl.where(seen, away, 0) * multiplier + half) >> shift, last)
        weight = tl.load(table + steps, mask=seen, other=0)
        there = out + (place * tokens + token)[:, None] * span + key[None, :]
        tl.store(there, weight, mask=(token[:, None] < tokens) & (key[None, :] < span))


@kernel
def mix(
    weights: tl.tensor, values: tl.tensor, out: tl.tensor, sequences: tl.tensor, tokens: tl.tensor,
    span: tl.tensor, heads: tl.tensor, group: tl.tensor,
    dim: tl.tensor, gain: tl.tensor, deep: tl.constexpr, rows: tl.constexpr, some: tl.constexpr,
) -> None:  # fmt: skip
    """See `mix_values`; a program is some queries of one head.

    Sums of 131,071 products of 127 and -128 fit int32.

    Args:
        weights: int8 [sequences * heads * tokens, span], from 0 on.
        values: int8 [heads / group * dim, sequences * span].
        out: int8 [sequences * tokens, heads * dim].
        sequences: how many.
        tokens: new ones of each.
        span: keys of each.
        heads: of the queries.
        group: heads that share values.
        dim: of a head.
        gain: 1..65535.
        deep: dim, up to a power of two.
        rows: queries of a program.
        some: keys at a time.
    """
    blocks = (tokens + rows - 1) // rows
    number = tl.program_id(0).to(tl.int64)
    block, place = number % blocks, number // blocks
    sequence, head = place // heads, place % heads
    token, col = block * rows + tl.arange(0, rows), tl.arange(0, deep)
    total = tl.zeros((rows, deep), tl.int32)
    weight = tl.zeros((rows,), tl.int32)
    for first in range(0, span, some):
        key = first + tl.arange(0, some)
        here = weights + (place * tokens + token)[:, None] * span + key[None, :]
        w = tl.load(here, mask=(token[:, None] < tokens) & (key[None, :] < span), other=0)
        line = (head // group * dim + col)[None, :] * (sequences * span) + sequence * span + key[:, None]
        v = tl.load(values + line, mask=(col[None, :] < dim) & (key[:, None] < span), other=0)
        total += tl.dot(w, v, out_dtype=tl.int32)
        weight += tl.sum(w.to(tl.int32), axis=1)
    wide = tl.maximum(weight, 1).to(tl.int64)[:, None]
    dividend = 2 * total.to(tl.int64) * gain + (wide << 8)
    divisor = wide << 9
    quotient = dividend // divisor
    # Towards zero or downwards, as the machine does it; downwards it must be.
    quotient = tl.where(dividend - quotient * divisor < 0, quotient - 1, quotient)
    quotient = tl.minimum(tl.maximum(quotient, -127), 127)
    there = out + ((sequence * tokens + token) * heads + head)[:, None] * dim + col[None, :]
    tl.store(there, quotient.to(tl.int8), mask=(token[:, None] < tokens) & (col[None, :] < dim))
