"""Tensors of a run that share a row tree: what one cell reads at one place then shares a path, too.

A product reads row i of its operand and gives row i of its output; an update reads the same place of what it
updates and of what that becomes. Where two such tensors have trees of their own, a cell opens two paths that
have all but nothing in common. In a *bundle* their rows lie side by side, line by line:

    tensor a  2 leaves a line     place   0  1  2   3  4  5   6  7  8
    tensor b  1 leaf a line       leaf   a0 a1 b0  a2 a3 b1  a4 a5 b2

A leaf's key still names its own tensor, and its place in the tree follows from shapes that the program fixes.
A tensor by itself is a bundle of one.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from pouw.tensors import TensorSpec


@dataclass(frozen=True, slots=True)
class Bundle:
    """Tensors of as many lines, a line being the leaves of one row, or of as many rows as share a leaf.

    Args:
        tensors: their numbers, ascending.
        parts: leaves of a line, of each.
        lines: how many.
    """

    tensors: tuple[int, ...]
    parts: tuple[int, ...]
    lines: int

    @property
    def leaves(self) -> int:
        """Of the tree."""
        return self.lines * sum(self.parts)

    def places(self, tensor: int, leaves: Iterable[int]) -> list[int]:
        """Where leaves of a tensor lie among those of the tree."""
        if len(self.tensors) == 1:
            return list(leaves)
        member = self.tensors.index(tensor)
        before, own, width = sum(self.parts[:member]), self.parts[member], sum(self.parts)
        return [leaf // own * width + before + leaf % own for leaf in leaves]


@dataclass(frozen=True, slots=True)
class Bundles:
    """All tensors of a run in bundles.

    Args:
        all: numbered by place.
        home: of each tensor, the number of its bundle.
    """

    all: tuple[Bundle, ...]
    home: tuple[int, ...]

    def of(self, tensor: int) -> Bundle:
        """The bundle that a tensor lies in."""
        return self.all[self.home[tensor]]

    def numbers(self, tensors: Iterable[int]) -> set[int]:
        """The bundles that tensors lie in."""
        return {self.home[tensor] for tensor in tensors}


def bundled(
    tensors: Sequence[TensorSpec], *, most: int, alone: Iterable[int], beside: Callable[[int], Iterable[int]]
) -> Bundles:
    """Lay each tensor beside the first that its op reads row by row, where there is room.

    Args:
        tensors: of a run.
        most: tensors of one bundle; 1 leaves each by itself.
        alone: numbers of those that must have a root of their own.
        beside: numbers of the tensors whose row i a tensor's row i is made of, in the op's order.
    """
    apart, home, members = frozenset(alone), list[int](), list[list[int]]()
    for number, spec in enumerate(tensors):
        open_to = () if number in apart or most == 1 else beside(number)
        chosen = next(
            (
                home[other]
                for other in open_to
                if other not in apart and _line_up(spec, tensors[other]) and len(members[home[other]]) < most
            ),
            len(members),
        )
        if chosen == len(members):
            members.append([])
        members[chosen].append(number)
        home.append(chosen)
    return Bundles(tuple(_bundle(tensors, numbers) for numbers in members), tuple(home))


def _line_up(one: TensorSpec, other: TensorSpec) -> bool:
    return (one.rows, one.rows_per_leaf) == (other.rows, other.rows_per_leaf)


def _bundle(tensors: Sequence[TensorSpec], numbers: Sequence[int]) -> Bundle:
    parts = tuple(tensors[number].leaves_per_row for number in numbers)
    return Bundle(tuple(numbers), parts, tensors[numbers[0]].leaves // parts[0])
