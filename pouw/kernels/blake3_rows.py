"""BLAKE3 of many short pieces at once: sixteen lanes of a vector unit, one piece each.

The wheel of BLAKE3 is as fast within one long piece, but a tree over rows consists of short ones, and there a
call from Python costs more than the hash. Here a whole tensor, leaves and all levels above, is one call.

The compression function is written in LLVM's vector types, which every processor has in some width, so that
nothing depends on what an optimiser makes of a loop. Words of equal number from sixteen pieces lie in one
vector; a 16 x 16 transpose brings them there.

Source: O'Connor, Aumasson, Neves, Wilcox-O'Hearn, "BLAKE3", sections 2.2 to 2.4 and 5.3.
"""

from typing import Any, Final

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from pouw.kernels.compiled import compiled

LANES: Final = 16
BLOCK: Final = 64
DIGEST: Final = 32
CHUNK: Final = 1024
"""The longest piece: one chunk of BLAKE3, so that a piece needs no tree of its own."""

_WORD: Final = ir.IntType(32)
_VECTOR: Final = ir.VectorType(_WORD, LANES)
_START: Final = (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A)
_ORDER: Final = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
_COLUMNS: Final = ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15))
_DIAGONALS: Final = ((0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14))

_CHUNK_START: Final = 1
_CHUNK_END: Final = 2
_ROOT: Final = 8
_KEYED: Final = 16
_WHOLE: Final = _CHUNK_START | _CHUNK_END | _ROOT | _KEYED

_FULL, _FIRST, _LATER, _ONLY = 8, 9, 10, 11
"""Rows of `_fixed`: the length of a block; flags of a first block, of later ones, of one that is alone."""


def _all(value: int) -> Any:
    return ir.Constant(_VECTOR, [value] * LANES)


def _at(builder: Any, address: Any, offset: int, kind: Any) -> Any:
    moved = builder.add(address, ir.Constant(address.type, offset))
    return builder.inttoptr(moved, kind.as_pointer())


def _load(builder: Any, address: Any, offset: int = 0) -> Any:
    loaded = builder.load(_at(builder, address, offset, _VECTOR))
    loaded.align = 4
    return loaded


def _prefetch(builder: Any, address: Any) -> None:
    """Ask for the line at an address, which need not be good, before it is read."""
    number, byte = ir.IntType(32), ir.IntType(8).as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
    hint = builder.module.declare_intrinsic("llvm.prefetch", [byte], kind)
    # To read; to be kept in all caches; data.
    builder.call(hint, [builder.inttoptr(address, byte), *(ir.Constant(number, how) for how in (0, 3, 1))])


def _shuffled(builder: Any, pair: tuple[Any, Any], order: list[int]) -> Any:
    return builder.shuffle_vector(*pair, ir.Constant(ir.VectorType(_WORD, len(order)), order))


def _transposed(builder: Any, rows: list[Any]) -> list[Any]:
    """Sixteen vectors as a matrix, its columns for its rows: swap halves of ever larger squares."""
    rows = list(rows)
    for size in (1, 2, 4, 8):
        for i in range(LANES):
            if i & size:
                continue
            pair = rows[i], rows[i + size]
            upper = [j if not j & size else LANES + j - size for j in range(LANES)]
            lower = [j + size if not j & size else LANES + j for j in range(LANES)]
            rows[i] = _shuffled(builder, pair, upper)
            rows[i + size] = _shuffled(builder, pair, lower)
    return rows


def _rounds(builder: Any, v: list[Any], words: list[Any]) -> None:
    """The seven rounds."""
    for _ in range(7):
        _mix(builder, v, words[:8], _COLUMNS)
        _mix(builder, v, words[8:], _DIAGONALS)
        words = [words[place] for place in _ORDER]


def _mix(builder: Any, v: list[Any], words: list[Any], quads: tuple[tuple[int, ...], ...]) -> None:
    """Half a round. Its four mixings do not touch each other and are written in step, to run in step."""
    for part, (far, near) in enumerate(((16, 12), (8, 7))):
        for number, quad in enumerate(quads):
            v[quad[0]] = builder.add(v[quad[0]], words[2 * number + part])
        _add(builder, v, quads, onto=0, what=1)
        _turn(builder, v, quads, target=3, other=0, places=far)
        _add(builder, v, quads, onto=2, what=3)
        _turn(builder, v, quads, target=1, other=2, places=near)


def _add(builder: Any, v: list[Any], quads: tuple[tuple[int, ...], ...], *, onto: int, what: int) -> None:
    for quad in quads:
        v[quad[onto]] = builder.add(v[quad[onto]], v[quad[what]])


def _turn(
    builder: Any, v: list[Any], quads: tuple[tuple[int, ...], ...], *, target: int, other: int, places: int
) -> None:
    for quad in quads:
        v[quad[target]] = builder.xor(v[quad[target]], v[quad[other]])
    for quad in quads:
        value = v[quad[target]]
        low, high = builder.lshr(value, _all(places)), builder.shl(value, _all(32 - places))
        v[quad[target]] = builder.or_(low, high)


@intrinsic
def _compress(_context, before, chain, lanes, offset, ahead, lengths, flags):  # type: ignore[no-untyped-def] # noqa: ARG001
    """Compress a block of each lane. All arguments are addresses, but for the offset and the distance.

    Args:
        before: 8 x 16 words, chaining values by word and lane.
        chain: the same after the block; lanes whose flags are 0 keep theirs.
        lanes: 16 addresses of pieces.
        offset: of the block in its piece, bytes.
        ahead: how far behind the block lies what will be read in the same place later, bytes.
        lengths: 16 words, bytes of the block.
        flags: 16 words.
    """

    def code(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        before, chain, lanes, offset, ahead, lengths, flags = arguments
        starts = [builder.load(_at(builder, lanes, 8 * lane, offset.type)) for lane in range(LANES)]
        blocks = [builder.add(start, offset) for start in starts]
        words = _transposed(builder, [_load(builder, block) for block in blocks])
        for block in blocks:
            _prefetch(builder, builder.add(block, ahead))
        values = [_load(builder, before, BLOCK * word) for word in range(8)]
        flag = _load(builder, flags)
        v = [*values, *map(_all, _START), _all(0), _all(0), _load(builder, lengths), flag]
        _rounds(builder, v, words)
        busy = builder.icmp_unsigned("!=", flag, _all(0))
        for word in range(8):
            after = builder.select(busy, builder.xor(v[word], v[word + 8]), values[word])
            builder.store(after, _at(builder, chain, BLOCK * word, _VECTOR)).align = 4
        return context.get_dummy_value()

    return types.void(*[types.intp] * 7), code


@intrinsic
def _store(_context, chain, target):  # type: ignore[no-untyped-def] # noqa: ARG001 - types, not values
    """Write sixteen digests side by side from chaining values by word and lane. Both are addresses."""

    def code(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        chain, target = arguments
        half = ir.VectorType(_WORD, 8)
        words = [_load(builder, chain, BLOCK * word) for word in range(8)]
        for lane, row in enumerate(_transposed(builder, [*words, *[_all(0)] * 8])):
            digest = _shuffled(builder, (row, row), list(range(8)))
            builder.store(digest, _at(builder, target, 32 * lane, half)).align = 4
        return context.get_dummy_value()

    return types.void(types.intp, types.intp), code


@intrinsic
def _used(_context, address):  # type: ignore[no-untyped-def] # noqa: ARG001 - types, not values
    """How many of the 64 bytes at an address are left when the zeros at their end are taken away."""

    def code(_: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        kind, mask = ir.VectorType(ir.IntType(8), BLOCK), ir.IntType(BLOCK)
        block = builder.load(_at(builder, arguments[0], 0, kind))
        block.align = 1
        used = builder.icmp_unsigned("!=", block, ir.Constant(kind, [0] * BLOCK))
        unused = builder.ctlz(builder.bitcast(used, mask), ir.Constant(ir.IntType(1), 0))
        return builder.sub(ir.Constant(mask, BLOCK), unused)

    return types.int64(types.intp), code


@compiled
def hash_leaves(
    data: NDArray[np.uint8], line: int, part: int, key: NDArray[np.uint32], out: NDArray[np.uint32],
    start: int, stop: int,
) -> None:  # fmt: skip
    """Keyed BLAKE3 of leaves of a tensor, without the zeros that each ends in; see `pouw.trees.rows`.

    Args:
        data: the tensor, 1-D, at least one byte.
        line: bytes after which leaves start anew: a row, or as many short rows as share a leaf.
        part: the most that a leaf holds of a line, 1..CHUNK.
        key: 8 words.
        out: [leaves, 8], the digests.
        start: the first leaf to hash.
        stop: one more than the last.
    """
    fixed, chain, digests = _fixed(key), np.empty((8, LANES), np.uint32), np.empty((LANES, 8), np.uint32)
    lengths, flags = np.empty(LANES, np.uint32), np.empty(LANES, np.uint32)
    lanes, ends, sizes = np.empty(LANES, np.int64), np.empty(LANES, np.int64), np.empty(LANES, np.int64)
    padded = np.zeros((LANES, BLOCK), np.uint8)
    # Addresses once: each `ctypes` counts a reference.
    chain_at, lanes_at, lengths_at = chain.ctypes.data, lanes.ctypes.data, lengths.ctypes.data
    flags_at, digests_at, out_at = flags.ctypes.data, digests.ctypes.data, out.ctypes.data
    data_at, padded_at, fixed_at = data.ctypes.data, padded.ctypes.data, fixed.ctypes.data
    for first in range(start, stop, LANES):
        count = min(LANES, stop - first)
        fewest, most = _begin(first, count, data, data_at, line, part, lanes, ends, sizes, padded, padded_at)
        for block in range(most):
            before, full = chain_at if block else fixed_at, fixed_at + _FULL * BLOCK
            how = fixed_at + (_LATER if block else _FIRST) * BLOCK
            if block >= fewest - 1:
                _end(block, sizes, lanes, ends, lengths, flags)
                full, how = lengths_at, flags_at
            _compress(before, chain_at, lanes_at, block * BLOCK, LANES * part, full, how)
        if count == LANES:
            _store(chain_at, out_at + first * DIGEST)
        else:
            _store(chain_at, digests_at)
            _copy(digests, out, first, count)
    _keep(fixed, chain)


@compiled
def _begin(
    first: int, count: int, data: NDArray[np.uint8], data_at: int, line: int, part: int,
    lanes: NDArray[np.int64], ends: NDArray[np.int64], sizes: NDArray[np.int64],
    padded: NDArray[np.uint8], padded_at: int,
) -> tuple[int, int]:  # fmt: skip
    """Give leaves to lanes: their sizes, where they start, and where to read their last blocks from.

    Lanes without a leaf repeat the last one. Returns the least and the greatest number of blocks.
    """
    per_line = (line + part - 1) // part
    row, place = first // per_line, first % per_line
    fewest, most = CHUNK, 1
    for lane in range(LANES):
        offset = row * line + place * part
        room = min(part, line - place * part, data.size - offset)
        size = _size(data, data_at, offset, room)
        blocks = _blocks(size)
        fewest, most = min(fewest, blocks), max(most, blocks)
        sizes[lane], lanes[lane], ends[lane] = size, data_at + offset, data_at + offset
        last = (blocks - 1) * BLOCK
        if last + BLOCK > room:
            # What follows in memory is not the leaf's: read a copy instead, padded with zeros.
            for i in range(BLOCK):
                padded[lane, i] = data[offset + last + i] if last + i < size else 0
            ends[lane] = padded_at + lane * BLOCK - last
        if lane + 1 < count:
            place += 1
            if place == per_line:
                row, place = row + 1, 0
    return fewest, most


@compiled
def _fixed(key: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """[12, LANES]: what most blocks are hashed with, written once.

    A vector that was just put together of smaller ones can be read only when these have left for the cache.

    Args:
        key: 8 words, the chaining values that lanes start from: rows 0 to 7.
    """
    fixed = np.empty((12, LANES), np.uint32)
    for lane in range(LANES):
        for word in range(8):
            fixed[word, lane] = key[word]
        fixed[_FULL, lane], fixed[_FIRST, lane] = BLOCK, _KEYED | _CHUNK_START
        fixed[_LATER, lane], fixed[_ONLY, lane] = _KEYED, _WHOLE
    return fixed


@compiled
def _keep(first: NDArray[np.uint32], second: NDArray[np.uint32]) -> None:
    """Name arrays once more: behind its last name an array is freed, whatever its address is used for."""
    first[0, 0] = second[0, 0] = 0


@compiled
def _copy(digests: NDArray[np.uint32], out: NDArray[np.uint32], first: int, count: int) -> None:
    for lane in range(count):
        for word in range(8):
            out[first + lane, word] = digests[lane, word]


@compiled
def _blocks(size: int) -> int:
    return max(1, (size + BLOCK - 1) >> 6)


@compiled
def _size(data: NDArray[np.uint8], data_at: int, offset: int, room: int) -> int:
    """Bytes of a leaf without the zeros that it ends in."""
    size = room
    if data[offset + size - 1] != 0:
        return size
    while size >= BLOCK:
        used: int = _used(data_at + offset + size - BLOCK)
        size -= BLOCK
        if used:
            return size + used
    while size > 0 and data[offset + size - 1] == 0:
        size -= 1
    return size


@compiled
def _end(
    block: int, sizes: NDArray[np.int64], lanes: NDArray[np.int64], ends: NDArray[np.int64],
    lengths: NDArray[np.uint32], flags: NDArray[np.uint32],
) -> None:  # fmt: skip
    """Lengths and flags where some lanes have their last block, or have had it."""
    usual = _KEYED if block else _KEYED | _CHUNK_START
    for lane in range(LANES):
        lengths[lane], flags[lane] = BLOCK, usual
        last = _blocks(sizes[lane]) - 1
        if block == last:
            lengths[lane] = sizes[lane] - block * BLOCK
            flags[lane] = usual | _CHUNK_END | _ROOT
            lanes[lane] = ends[lane]
        elif block > last:
            flags[lane] = 0
            # Whatever is read is thrown away; only the address must be good.
            lanes[lane] = ends[lane] + (last - block) * BLOCK


@compiled
def hash_levels(nodes: NDArray[np.uint32], leaves: int, key: NDArray[np.uint32]) -> None:
    """All levels of a tree above its leaves, each after the one below; see `pouw.trees.merkle.levels`.

    Args:
        nodes: [nodes of all levels, 8]; the leaves are there.
        leaves: how many; at least 1.
        key: 8 words.
    """
    fixed, chain, digests = _fixed(key), np.empty((8, LANES), np.uint32), np.empty((LANES, 8), np.uint32)
    lanes = np.empty(LANES, np.int64)
    chain_at, lanes_at, fixed_at = chain.ctypes.data, lanes.ctypes.data, fixed.ctypes.data
    nodes_at, digests_at = nodes.ctypes.data, digests.ctypes.data
    lengths_at, flags_at = fixed_at + _FULL * BLOCK, fixed_at + _ONLY * BLOCK
    below, count = 0, leaves
    while count > 1:
        above, pairs = below + count, count >> 1
        for first in range(0, pairs, LANES):
            many = min(LANES, pairs - first)
            for lane in range(LANES):
                lanes[lane] = nodes_at + (below + 2 * (first + min(lane, many - 1))) * DIGEST
            _compress(fixed_at, chain_at, lanes_at, 0, LANES * BLOCK, lengths_at, flags_at)
            if many == LANES:
                _store(chain_at, nodes_at + (above + first) * DIGEST)
            else:
                _store(chain_at, digests_at)
                _copy(digests, nodes, above + first, many)
        if count & 1:
            for word in range(8):
                nodes[above + pairs, word] = nodes[above - 1, word]
        below, count = above, count - pairs
    _keep(fixed, chain)
