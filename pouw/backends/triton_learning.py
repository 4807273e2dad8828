"""What training does beside its products, on a GPU; the ops' `infer` shows that int32 has room for it."""

import triton.language as tl

from pouw.backends.triton_kernel import kernel


@kernel
def spread(noise: tl.tensor, shift: tl.tensor) -> tl.tensor:
    """See `pouw.arithmetic.stochastic.spread`, of int64."""
    u = noise + 128
    fine = u >> tl.maximum(8 - shift, 0)
    up = tl.maximum(shift - 8, 0)
    coarse = (u << up) + ((u * 0 + 1) << up >> 1)
    return tl.where(shift <= 8, fine, coarse)


@kernel
def stochastic(
    a: tl.tensor, noise: tl.tensor, shut: tl.tensor, out: tl.tensor, count: tl.tensor, cols: tl.tensor,
    stride: tl.tensor, start: tl.tensor, shift: tl.tensor,
    gated: tl.constexpr, block: tl.constexpr,
) -> None:  # fmt: skip
    """See `TrainingBackend.stochastic`.

    Args:
        a: int16 or int32 [m,cols].
        noise: int8 [m,stride].
        shut: int8 [m,cols], the gate.
        out: int8 [m,cols].
        count: values.
        cols: values of a row.
        stride: of the noise.
        start: column of the noise that goes with column 0.
        shift: 0..24.
        gated: whether there is a gate.
        block: values of a program.
    """
    place = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    inside = place < count
    grain = noise + place // cols * stride + start + place % cols
    added = spread(tl.load(grain, mask=inside, other=0).to(tl.int64), shift)
    value = (tl.load(a + place, mask=inside, other=0).to(tl.int64) + added) >> shift
    value = tl.minimum(tl.maximum(value, -127), 127)
    if gated:
        opened = tl.load(shut + place, mask=inside, other=0)
        value = tl.where((opened >= 1) & (opened <= 126), value, 0)
    tl.store(out + place, value.to(tl.int8), mask=inside)


@kernel
def narrow(
    a: tl.tensor,
    out: tl.tensor,
    count: tl.tensor,
    half: tl.tensor,
    shift: tl.tensor,
    low: tl.tensor,
    high: tl.tensor,
    block: tl.constexpr,
) -> None:
    """See `TrainingBackend.rounded`.

    Args:
        a: int32.
        out: int8 or int32.
        count: values.
        half: the rounding term.
        shift: 0..30.
        low: the least result.
        high: the greatest.
        block: values of a program.
    """
    place = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    inside = place < count
    value = (tl.load(a + place, mask=inside, other=0).to(tl.int64) + half) >> shift
    value = tl.minimum(tl.maximum(value, low), high)
    tl.store(out + place, value.to(out.dtype.element_ty), mask=inside)


@kernel
def velocity(
    speed: tl.tensor, gradient: tl.tensor, noise: tl.tensor, out: tl.tensor, count: tl.tensor,
    shift: tl.tensor, half: tl.tensor, friction: tl.tensor,
    limit: tl.tensor, block: tl.constexpr,
) -> None:  # fmt: skip
    """See `TrainingBackend.velocity`.

    Args:
        speed: int32.
        gradient: int32.
        noise: int8.
        out: int32.
        count: values.
        shift: 0..24.
        half: the rounding term of the friction.
        friction: 1..16.
        limit: results lie in -limit..limit.
        block: values of a program.
    """
    place = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    inside = place < count
    added = spread(tl.load(noise + place, mask=inside, other=0).to(tl.int64), shift)
    pushed = (tl.load(gradient + place, mask=inside, other=0).to(tl.int64) + added) >> shift
    before = tl.load(speed + place, mask=inside, other=0).to(tl.int64)
    value = before - ((before + half) >> friction) + pushed
    tl.store(out + place, tl.minimum(tl.maximum(value, -limit), limit).to(tl.int32), mask=inside)


@kernel
def descend(
    master: tl.tensor,
    speed: tl.tensor,
    out: tl.tensor,
    count: tl.tensor,
    limit: tl.tensor,
    block: tl.constexpr,
) -> None:
    """See `TrainingBackend.descend`.

    Args:
        master: int32.
        speed: int32.
        out: int32.
        count: values.
        limit: results lie in -limit..limit.
        block: values of a program.
    """
    place = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    inside = place < count
    value = tl.load(master + place, mask=inside, other=0).to(tl.int64)
    value -= tl.load(speed + place, mask=inside, other=0).to(tl.int64)
    tl.store(out + place, tl.minimum(tl.maximum(value, -limit), limit).to(tl.int32), mask=inside)


@kernel
def shares_of(
    logits: tl.tensor,
    whole: tl.tensor,
    part: tl.tensor,
    start: tl.tensor,
    col: tl.tensor,
    cols: tl.tensor,
    greatest: tl.tensor,
    drop: tl.tensor,
) -> tl.tensor:
    """Powers of e at scale 30 for some logits of a row; 0 beyond its end."""
    inside = col < cols
    value = tl.load(logits + start + col, mask=inside, other=0).to(tl.int64)
    below = tl.minimum((tl.where(inside, greatest - value, 0)) >> drop, (16 << 10) - 1)
    coarse = tl.load(whole + (below >> 10), mask=inside, other=0)
    return coarse * tl.load(part + (below & 1023), mask=inside, other=0) >> 30


@kernel
def loss(
    logits: tl.tensor, labels: tl.tensor, whole: tl.tensor, part: tl.tensor, out: tl.tensor,
    cols: tl.tensor, stride: tl.tensor, label: tl.tensor, drop: tl.tensor,
    block: tl.constexpr,
) -> None:  # fmt: skip
    """See `pouw.arithmetic.cross_entropy.loss_gradient`, a program a row; all that is divided is positive.

    Args:
        logits: int32 [m,cols].
        labels: int8 [m,stride].
        whole: WHOLE, int64.
        part: PART, int64.
        out: int16 [m,cols].
        cols: at most 2^17.
        stride: of the labels.
        label: their column.
        drop: the scale of the logits less LOGIT.
        block: logits at a time.
    """
    row = tl.program_id(0).to(tl.int64)
    start = row * cols
    most = tl.full((block,), -2147483648, tl.int64)
    for first in range(0, cols, block):
        col = first + tl.arange(0, block)
        value = tl.load(logits + start + col, mask=col < cols, other=-2147483648).to(tl.int64)
        most = tl.maximum(most, value)
    greatest = tl.max(most, axis=0)
    sums = tl.zeros((block,), tl.int64)
    for first in range(0, cols, block):
        col = first + tl.arange(0, block)
        sums += shares_of(logits, whole, part, start, col, cols, greatest, drop)
    total = tl.sum(sums, axis=0)
    right = tl.load(labels + row * stride + label).to(tl.int64)
    for first in range(0, cols, block):
        col = first + tl.arange(0, block)
        share = shares_of(logits, whole, part, start, col, cols, greatest, drop)
        value = ((share << 14) + (total >> 1)) // total
        value = tl.where(col == right, value - 16384, value)
        tl.store(out + start + col, value.to(tl.int16), mask=col < cols)
