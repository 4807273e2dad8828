"""What ties a trace to one chain, miner, task and program, and a commit to one chain and miner.

    commit root - sum tree over items - item leaf - tree over tensors - tensor root - row tree

The tree over an item's tensors carries no sums of its own: the program, whose digest its leaf is keyed by,
fixes the units of each tensor, so a sum in a node could only repeat it.
"""

from typing import Final, NamedTuple

from blake3 import blake3

from pouw.hashing import domain, framed, keyed, u64
from pouw.program import Program
from pouw.trees.rows import WEIGHTS

_CONTEXT: Final = domain("context")
_TENSOR_NODE: Final = domain("tensor node")
_ITEM: Final = domain("item")
_SUM_NODE: Final = domain("sum node")
_COMMIT: Final = domain("commit")

MAX_ITEMS: Final = 1 << 20
"""Items of one commit; the sum tree has at most 20 levels."""

MAX_SUM: Final = (1 << 63) - 1
"""Largest total of units."""


class SumNode(NamedTuple):
    """A node of the tree over items: its hash, and the units of all items below it."""

    hash: bytes
    units: int


def item_context(chain_id: bytes, miner: bytes, *, item_id: bytes, program: Program) -> bytes:
    """The 32 bytes that enter the key of every row of an item's trace.

    Args:
        chain_id: names the chain.
        miner: names who did the work.
        item_id: names the task or commons unit.
        program: what was to be run.
    """
    return keyed(_CONTEXT, framed(chain_id, miner, item_id, program.digest))


def tensor_place(program: Program, context: bytes, *, tensor: int) -> tuple[bytes, int]:
    """The context and the number that enter the key of a tensor's rows, see `pouw.trees.rows.tensor_key`.

    A kept tensor is committed as the weight that it will be, so that the next program can name its root. The
    trees above it still bind it to its place, item and miner.

    Args:
        program: what was run.
        context: from `item_context`.
        tensor: its number in the run.
    """
    return (WEIGHTS, 0) if tensor in program.kept else (context, tensor)


def join_tensors(left: bytes, right: bytes) -> bytes:
    """The parent of two nodes of the tree over an item's tensors."""
    return blake3(left + right, key=_TENSOR_NODE).digest()


def item_leaf(context: bytes, tensors_root: bytes, program: Program) -> SumNode:
    """The leaf of the sum tree that stands for an item.

    Args:
        context: from `item_context`.
        tensors_root: root of the tree over the item's tensor roots.
        program: gives the units.
    """
    return SumNode(keyed(_ITEM, context + tensors_root + u64(program.units)), program.units)


def join_sums(left: SumNode, right: SumNode) -> SumNode:
    """The parent of two nodes of a sum tree."""
    data = left.hash + u64(left.units) + right.hash + u64(right.units)
    return SumNode(keyed(_SUM_NODE, data), left.units + right.units)


def commit_root(chain_id: bytes, miner: bytes, *, count: int, top: SumNode) -> bytes:
    """The 32 bytes that a miner puts on the chain.

    Args:
        chain_id: names the chain.
        miner: names who did the work.
        count: items in the commit.
        top: root of the sum tree.
    """
    return keyed(_COMMIT, framed(chain_id, miner) + u64(count) + u64(top.units) + top.hash)
