"""Row trees on a GPU: keyed BLAKE3 of the leaves of a tensor and of the nodes above them, one a lane.

`pouw.trees.rows` defines the tree, `pouw.trees.merkle` its shape. Words are uint32, whose sums wrap on every
GPU alike; a rotation is two shifts. A lane is a thread: it loads its leaf sixteen bytes at a time, and no
word moves to another thread. (Whole blocks, loaded as a matrix, are laid out for the memory's sake, four
threads to a leaf, and the compiler then lets each of the four hash it.)

Source: O'Connor, Aumasson, Neves, Wilcox-O'Hearn, "BLAKE3", sections 2.2 to 2.4.
"""

from typing import Final

import triton.language as tl

from pouw.backends.triton_kernel import counting_kernel, kernel

LANES: Final = 128
"""Leaves or nodes of a program, one per thread of its four warps."""

STEPS: Final = 8
"""Levels that a program can climb: from twice as many nodes as it has lanes to one."""


@kernel
def turned(x: tl.tensor, places: tl.constexpr) -> tl.tensor:
    """Rotated right."""
    return (x >> places) | (x << (32 - places))


@kernel
def mixed(a: tl.tensor, b: tl.tensor, c: tl.tensor, d: tl.tensor, x: tl.tensor, y: tl.tensor) -> tl.tuple:
    """A quarter of half a round."""
    a = a + b + x
    d = turned(d ^ a, 16)
    c = c + d
    b = turned(b ^ c, 12)
    a = a + b + y
    d = turned(d ^ a, 8)
    c = c + d
    b = turned(b ^ c, 7)
    return a, b, c, d


@kernel
def after_round(v: tl.tuple, m: tl.tuple) -> tl.tuple:
    """One of the seven rounds: columns, then diagonals."""
    v0, v4, v8, v12 = mixed(v[0], v[4], v[8], v[12], m[0], m[1])
    v1, v5, v9, v13 = mixed(v[1], v[5], v[9], v[13], m[2], m[3])
    v2, v6, v10, v14 = mixed(v[2], v[6], v[10], v[14], m[4], m[5])
    v3, v7, v11, v15 = mixed(v[3], v[7], v[11], v[15], m[6], m[7])
    v0, v5, v10, v15 = mixed(v0, v5, v10, v15, m[8], m[9])
    v1, v6, v11, v12 = mixed(v1, v6, v11, v12, m[10], m[11])
    v2, v7, v8, v13 = mixed(v2, v7, v8, v13, m[12], m[13])
    v3, v4, v9, v14 = mixed(v3, v4, v9, v14, m[14], m[15])
    return v0, v1, v2, v3, v4, v5, v6, v7, v8, v9, v10, v11, v12, v13, v14, v15


@kernel
def permuted(m: tl.tuple) -> tl.tuple:
    """The words of a block in the order of the next round."""
    return (
        m[2], m[6], m[3], m[10], m[7], m[0], m[4], m[13], m[1], m[11], m[12], m[5], m[9], m[14], m[15], m[8],
    )  # fmt: skip


@kernel
def compressed(chain: tl.tuple, m: tl.tuple, lengths: tl.tensor, flags: tl.tensor) -> tl.tuple:
    """The chaining values after a block.

    Args:
        chain: 8 x uint32 [lanes].
        m: 16 x uint32 [lanes], the block's words.
        lengths: uint32 [lanes], its bytes.
        flags: uint32 [lanes].
    """
    zero = lengths ^ lengths
    v = (
        chain[0], chain[1], chain[2], chain[3], chain[4], chain[5], chain[6], chain[7],
        zero + 0x6A09E667, zero + 0xBB67AE85, zero + 0x3C6EF372, zero + 0xA54FF53A,
        zero, zero, lengths, flags,
    )  # fmt: skip
    for _ in tl.static_range(7):
        v = after_round(v, m)
        m = permuted(m)
    return (
        v[0] ^ v[8], v[1] ^ v[9], v[2] ^ v[10], v[3] ^ v[11],
        v[4] ^ v[12], v[5] ^ v[13], v[6] ^ v[14], v[7] ^ v[15],
    )  # fmt: skip


@kernel
def chosen(condition: tl.tensor, a: tl.tuple, b: tl.tuple) -> tl.tuple:
    """Eight words of one or of the other."""
    return (
        tl.where(condition, a[0], b[0]), tl.where(condition, a[1], b[1]), tl.where(condition, a[2], b[2]),
        tl.where(condition, a[3], b[3]), tl.where(condition, a[4], b[4]), tl.where(condition, a[5], b[5]),
        tl.where(condition, a[6], b[6]), tl.where(condition, a[7], b[7]),
    )  # fmt: skip


@kernel
def spread(
    k0: tl.tensor, k1: tl.tensor, k2: tl.tensor, k3: tl.tensor, k4: tl.tensor, k5: tl.tensor, k6: tl.tensor,
    k7: tl.tensor, lanes: tl.constexpr,
) -> tl.tuple:  # fmt: skip
    """The words of a key, 8 x uint32 [lanes]; signed, all of them are int32 when a kernel is called."""
    zero = tl.zeros((lanes,), tl.uint32)
    return (
        zero + k0.to(tl.uint32), zero + k1.to(tl.uint32), zero + k2.to(tl.uint32), zero + k3.to(tl.uint32),
        zero + k4.to(tl.uint32), zero + k5.to(tl.uint32), zero + k6.to(tl.uint32), zero + k7.to(tl.uint32),
    )  # fmt: skip


@kernel
def quarter_of(data: tl.tensor, start: tl.tensor, room: tl.tensor, number: tl.tensor) -> tl.tuple:
    """Sixteen bytes of each lane, 4 x uint32 [lanes], by one load a thread."""
    place = tl.multiple_of(start >> 2, 4) + number * 4
    inside = (number * 16 < room)[:, None]
    four = tl.load(data + place[:, None] + tl.arange(0, 4)[None, :], mask=inside, other=0)
    even, odd = tl.split(tl.reshape(four.to(tl.uint32, bitcast=True), (four.shape[0], 2, 2)))
    first, third = tl.split(even)
    second, fourth = tl.split(odd)
    return first, second, third, fourth


@kernel
def block_of(data: tl.tensor, start: tl.tensor, room: tl.tensor, number: tl.tensor) -> tl.tuple:
    """A block of each lane, 16 x uint32 [lanes]; what lies beyond the leaf is 0.

    Args:
        data: the tensor, as int32.
        start: int64 [lanes], where leaves start, bytes; a multiple of 16.
        room: int64 [lanes], their bytes; a multiple of 16.
        number: of the block in its leaf.
    """
    a = quarter_of(data, start, room, number * 4)
    b = quarter_of(data, start, room, number * 4 + 1)
    c = quarter_of(data, start, room, number * 4 + 2)
    d = quarter_of(data, start, room, number * 4 + 3)
    return (
        a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3], c[0], c[1], c[2], c[3], d[0], d[1], d[2], d[3],
    )  # fmt: skip


@kernel
def any_of(m: tl.tuple) -> tl.tensor:
    """0 where all sixteen words are."""
    some = m[0]
    for word in tl.static_range(1, 16):
        some = some | m[word]
    return some


@kernel
def filled_bytes(m: tl.tuple) -> tl.tensor:
    """int32 [lanes]: the bytes of sixteen words up to the last that is not 0."""
    filled = (m[0] ^ m[0]).to(tl.int32)
    for word in tl.static_range(16):
        here = tl.where(m[word] > 0xFFFFFF, 4, tl.where(m[word] > 0xFFFF, 3, tl.where(m[word] > 0xFF, 2, 1)))
        filled = tl.where(m[word] == 0, filled, here + 4 * word)
    return filled


@counting_kernel("size", "line", "part", "per_line", "count", "k0", "k1", "k2", "k3", "k4", "k5", "k6", "k7")
def leaves(
    data: tl.tensor, nodes: tl.tensor, size: tl.tensor, line: tl.tensor, part: tl.tensor,
    per_line: tl.tensor, count: tl.tensor, k0: tl.tensor, k1: tl.tensor, k2: tl.tensor, k3: tl.tensor,
    k4: tl.tensor, k5: tl.tensor, k6: tl.tensor, k7: tl.tensor, lanes: tl.constexpr,
) -> None:  # fmt: skip
    """The hashes of leaves, without the zeros that each ends in, which are looked for first.

    Args:
        data: the tensor, as int32.
        nodes: int32 [count or more, 8], the digests.
        size: bytes of the tensor, a multiple of 16.
        line: bytes after which leaves start anew, a multiple of 16.
        part: the most that a leaf holds of a line: 64, 128, .. 1024 bytes.
        per_line: leaves of a line.
        count: leaves.
        k0: the first word of the key, as a signed number.
        k1: the next.
        k2: the next.
        k3: the next.
        k4: the next.
        k5: the next.
        k6: the next.
        k7: the next.
        lanes: LANES.
    """
    leaf = tl.program_id(0).to(tl.int64) * lanes + tl.arange(0, lanes)
    inside = leaf < count
    behind = leaf % per_line * part
    start = leaf // per_line * line + behind
    room = tl.where(inside, tl.minimum(tl.minimum(line - behind, part), size - start), 0)
    last = tl.zeros((lanes,), tl.int32)
    for number in range(part // 64):
        last = tl.where(any_of(block_of(data, start, room, number)) > 0, number, last).to(tl.int32)
    ends = filled_bytes(block_of(data, start, room, last))
    chain = spread(k0, k1, k2, k3, k4, k5, k6, k7, lanes)
    for number in range(tl.max(last, axis=0) + 1):
        lengths = tl.where(last == number, ends, 64).to(tl.uint32)
        # Keyed; the chunk's first block; its last one, which is the root of its own tree.
        flags = 16 + tl.where(last * 0 == number, 1, 0) + tl.where(last == number, 10, 0)
        after = compressed(chain, block_of(data, start, room, number), lengths, flags.to(tl.uint32))
        chain = chosen(last >= number, after, chain)
    for word in tl.static_range(8):
        tl.store(nodes + leaf * 8 + word, chain[word].to(tl.int32, bitcast=True), mask=inside)


@counting_kernel("below", "count", "steps", "k0", "k1", "k2", "k3", "k4", "k5", "k6", "k7")
def climb(
    nodes: tl.tensor, below: tl.tensor, count: tl.tensor, steps: tl.tensor, k0: tl.tensor, k1: tl.tensor,
    k2: tl.tensor, k3: tl.tensor, k4: tl.tensor, k5: tl.tensor, k6: tl.tensor, k7: tl.tensor,
    lanes: tl.constexpr,
) -> None:  # fmt: skip
    """Some levels of a tree; a program makes what lies above its 2 * lanes nodes, and reads no other's.

    Args:
        nodes: int32 [nodes of all levels, 8].
        below: where the lowest level starts, nodes.
        count: its nodes.
        steps: levels to make, 1..STEPS.
        k0: the first word of the key, as a signed number.
        k1: the next.
        k2: the next.
        k3: the next.
        k4: the next.
        k5: the next.
        k6: the next.
        k7: the next.
        lanes: LANES.
    """
    program, lane = tl.program_id(0).to(tl.int64), tl.arange(0, lanes)
    key = spread(k0, k1, k2, k3, k4, k5, k6, k7, lanes)
    zero = tl.zeros((lanes,), tl.uint32)
    below, count = below.to(tl.int64), count.to(tl.int64)
    for step in range(steps):
        width = lanes >> step
        node = program * width + lane
        room = tl.where(lane < width, tl.minimum(count - 2 * node, 2) * 32, 0)
        m = block_of(nodes, (below + 2 * node) * 32, room, 0)
        # Keyed, and a chunk of one block, which is a root.
        after = compressed(key, m, zero + 64, zero + 27)
        # A node without a neighbour moves up unchanged.
        after = chosen(room > 32, after, m)
        for word in tl.static_range(8):
            place = nodes + (below + count + node) * 8 + word
            tl.store(place, after[word].to(tl.int32, bitcast=True), mask=room > 0)
        below, count = below + count, (count + 1) >> 1
        # What this program wrote, its other threads read.
        tl.debug_barrier()
