r"""Binary hash trees with many leaves opened at once.

A node without a right neighbour moves up unchanged, so the shape of a tree follows from the number of its
leaves alone, no leaf is ever counted twice, and a proof has exactly one valid form. What a node is, a hash
or a hash with sums, is up to the `join` that every function here takes.

    level 2        r            count = 5, opened = {1}
                  / \           siblings = (0,0) (1,1) (2,1)
    level 1..   /     \
              n01 n23  4        a sibling is named by its level (leaves are 0) and its index there
             / \ / \  |
            0  1 2  3 4
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar


class MissingNode(Exception):  # noqa: N818 - what is missing is the caller's to judge
    """A root needs more nodes than there are."""


Node = TypeVar("Node")
Join = Callable[[Node, Node], Node]


def levels(leaves: Sequence[Node], join: Join[Node]) -> list[list[Node]]:
    """All nodes of a tree, leaves first, root last.

    Args:
        leaves: at least one.
        join: the parent of two neighbours.
    """
    tree = [list(leaves)]
    while len(tree[-1]) > 1:
        below = tree[-1]
        above = [join(below[i], below[i + 1]) for i in range(0, len(below) - 1, 2)]
        if len(below) & 1:
            above.append(below[-1])
        tree.append(above)
    return tree


def siblings(count: int, opened: Sequence[int]) -> list[tuple[int, int]]:
    """The nodes that the root needs besides the opened leaves, in the order in which `fold` takes them.

    Args:
        count: leaves of the tree.
        opened: indices of the opened leaves, ascending, distinct, below count.

    Returns:
        (level, index) pairs, at most len(opened) a level.
    """
    missing = []
    level = 0
    indices = list(opened)
    while count > 1:
        present = set(indices)
        missing += [(level, i ^ 1) for i in indices if i ^ 1 not in present and i ^ 1 < count]
        indices = sorted({i >> 1 for i in indices})
        count = (count + 1) >> 1
        level += 1
    return missing


def span(count: int, level: int, index: int) -> range:
    """The leaves below a node."""
    first = index << level
    return range(first, min(first + (1 << level), count))


def fold(count: int, opened: Iterable[tuple[int, Node]], nodes: Iterable[Node], join: Join[Node]) -> Node:
    """The root that opened leaves and their siblings lead to.

    Args:
        count: leaves of the tree.
        opened: (index, leaf) pairs, ascending, distinct, below count; at least one.
        nodes: the nodes that `siblings` names, in its order; of an iterator no more are taken.
        join: the parent of two neighbours.

    Raises:
        MissingNode: if there are fewer.
    """
    supply = iter(nodes)
    level = list(opened)
    try:
        while count > 1:
            level = _fold_level(count, level, supply, join)
            count = (count + 1) >> 1
    except StopIteration:
        raise MissingNode from None
    return level[0][1]


def _fold_level(
    count: int, level: list[tuple[int, Node]], supply: Iterator[Node], join: Join[Node]
) -> list[tuple[int, Node]]:
    """The parents of some nodes of a level that has so many."""
    above: list[tuple[int, Node]] = []
    waiting = iter(level)
    ahead = next(waiting, None)
    while ahead is not None:
        index, node = ahead
        ahead = next(waiting, None)
        if index & 1:
            node = join(next(supply), node)
        elif ahead is not None and ahead[0] == index + 1:
            node = join(node, ahead[1])
            ahead = next(waiting, None)
        elif index + 1 < count:
            node = join(node, next(supply))
        above.append((index >> 1, node))
    return above
