"""Trees opened at many leaves at once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pouw.trees import merkle


def join(left: str, right: str) -> str:
    return f"({left}{right})"


@st.composite
def openings(draw: st.DrawFn) -> tuple[int, list[int]]:
    count = draw(st.integers(1, 70))
    return count, sorted(draw(st.sets(st.integers(0, count - 1), min_size=1)))


def test_a_node_without_a_neighbour_moves_up() -> None:
    assert merkle.levels(list("abcde"), join) == [
        list("abcde"),
        ["(ab)", "(cd)", "e"],
        ["((ab)(cd))", "e"],
        ["(((ab)(cd))e)"],
    ]


def test_the_example_of_the_docstring() -> None:
    assert merkle.siblings(5, [1]) == [(0, 0), (1, 1), (2, 1)]


@given(openings())
def test_opened_leaves_and_siblings_give_the_root(case: tuple[int, list[int]]) -> None:
    count, opened = case
    tree = merkle.levels([f"{i}," for i in range(count)], join)
    nodes = [tree[level][index] for level, index in merkle.siblings(count, opened)]
    assert merkle.fold(count, [(i, tree[0][i]) for i in opened], nodes, join) == tree[-1][0]


@given(openings())
def test_opened_leaves_and_siblings_tile_the_tree(case: tuple[int, list[int]]) -> None:
    count, opened = case
    covered = [i for level, index in merkle.siblings(count, opened) for i in merkle.span(count, level, index)]
    assert sorted([*covered, *opened]) == list(range(count))


@given(openings())
def test_no_more_siblings_than_needed(case: tuple[int, list[int]]) -> None:
    count, opened = case
    assert len(merkle.siblings(count, opened)) <= len(opened) * (count - 1).bit_length()


@given(openings())
def test_too_few_nodes_are_noticed_and_no_more_are_taken(case: tuple[int, list[int]]) -> None:
    count, opened = case
    tree = merkle.levels([f"{i}," for i in range(count)], join)
    nodes = [tree[level][index] for level, index in merkle.siblings(count, opened)]
    leaves = [(i, tree[0][i]) for i in opened]
    if nodes:
        with pytest.raises(merkle.MissingNode):
            merkle.fold(count, leaves, nodes[:-1], join)
    supply = iter([*nodes, "more"])
    assert merkle.fold(count, leaves, supply, join) == tree[-1][0]
    assert next(supply) == "more"


def test_a_leaf_twice_is_another_tree() -> None:
    trees = {merkle.levels(list(leaves), join)[-1][0] for leaves in ("abc", "abcc", "abccc", "ab", "aab")}
    assert len(trees) == 5
