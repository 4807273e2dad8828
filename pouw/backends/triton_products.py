"""What follows a product of matrices on a GPU: `requant` and `transformer_rows.linear_rows`, fused."""

import triton.language as tl

from pouw.backends.triton_kernel import kernel


@kernel
def requant(
    total: tl.tensor, bias: tl.tensor, table: tl.tensor, out: tl.tensor, count: tl.tensor, cols: tl.tensor,
    stride: tl.tensor, multiplier: tl.tensor,
    half: tl.tensor, shift: tl.tensor, low: tl.tensor, high: tl.tensor,
    with_bias: tl.constexpr, with_table: tl.constexpr, block: tl.constexpr,
) -> None:  # fmt: skip
    """See `Requant`: sums with bias fit int32, times a multiplier below 2^30 they fit int64.

    Args:
        total: int32, rows `stride` apart.
        bias: int32, one per column.
        table: int8 [256].
        out: int8 [count / cols, cols].
        count: values.
        cols: values of a row.
        stride: of total.
        multiplier: see `Requant`.
        half: the rounding term.
        shift: see `Requant`.
        low: see `Requant`.
        high: see `Requant`.
        with_bias: whether there is one.
        with_table: whether there is one.
        block: values of a program.
    """
    place = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    inside = place < count
    row, col = place // cols, place % cols
    value = tl.load(total + row * stride + col, mask=inside, other=0).to(tl.int64)
    if with_bias:
        value += tl.load(bias + col, mask=inside, other=0).to(tl.int64)
    value = (value * multiplier + half) >> shift
    value = tl.minimum(tl.maximum(value, low), high)
    if with_table:
        value = tl.load(table + value + 128, mask=inside, other=0).to(tl.int64)
    tl.store(out + place, value.to(out.dtype.element_ty), mask=inside)


@kernel
def scale(
    total: tl.tensor, factors: tl.tensor, residual: tl.tensor, out: tl.tensor, count: tl.tensor,
    cols: tl.tensor, stride: tl.tensor,
    half: tl.tensor, shift: tl.tensor, limit: tl.tensor,
    by_row: tl.constexpr, with_residual: tl.constexpr, block: tl.constexpr,
) -> None:  # fmt: skip
    """See `linear_rows`; `Linear.infer` shows that the scaled sums fit int64.

    Args:
        total: int32, rows `stride` apart.
        factors: int32, one per column, or per row.
        residual: of out's shape and type.
        out: int8, int16 or int32 [count / cols, cols].
        count: values.
        cols: values of a row.
        stride: of total.
        half: the rounding term.
        shift: 0..62.
        limit: results lie in -limit..limit.
        by_row: whether factors are the rows'.
        with_residual: whether there is one.
        block: values of a program.
    """
    place = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    inside = place < count
    row, col = place // cols, place % cols
    factor = tl.load(factors + (row if by_row else col), mask=inside, other=0).to(tl.int64)
    value = tl.load(total + row * stride + col, mask=inside, other=0).to(tl.int64)
    value = (value * factor + half) >> shift
    if with_residual:
        value += tl.load(residual + place, mask=inside, other=0).to(tl.int64)
    value = tl.minimum(tl.maximum(value, -limit), limit)
    tl.store(out + place, value.to(out.dtype.element_ty), mask=inside)
