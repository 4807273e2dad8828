import random
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.state.node import Branch
from chain.state.proof import MAX_VALUE_BYTES
from chain.state.tree import StateTree
from tests.chain.state.naive_root import naive_root

# Few distinct keys, so that batches often hit what is there; long values never matter to the shape.
KEYS = st.integers(0, 120).map(lambda number: bytes([number % 3]) + number.to_bytes(2, "big"))
VALUES = st.binary(max_size=3)
BATCHES = st.lists(st.dictionaries(KEYS, st.none() | VALUES, max_size=60), max_size=8)


def numbered(count: int) -> dict[bytes, bytes]:
    return {b"n" + number.to_bytes(4, "big"): bytes([number % 251]) for number in range(count)}


def keys_below(nibbles: str, count: int) -> list[bytes]:
    """Keys ground until their paths begin with the given hexadecimal digits."""
    found: list[bytes] = []
    number = 0
    while len(found) < count:
        key = b"g" + number.to_bytes(4, "big")
        if sha256(b"\x00" + key).hexdigest().startswith(nibbles):
            found.append(key)
        number += 1
    return found


def test_roots_are_pinned() -> None:
    # Consensus: a change here is a change of every state root ever signed.
    assert StateTree.empty().root.hex() == "47a44b84a806c81f65a8133f4846e96a55eea76bc3d4cb94599cc1b1de92e747"
    assert (
        StateTree.empty().updated({b"key": b"value"}).root.hex()
        == "38e719bd3e5392f802478f6050f7dce1dd1f6f5bb7e81620629fa6c3f351ab36"
    )
    assert (
        StateTree.empty().updated(dict(numbered(1000))).root.hex()
        == "35b26ef9bd6392b56129d654e652d9328c9e5ff91dd9868e15b01b402dc45998"
    )


@pytest.mark.parametrize("count", [0, 1, 16, 17, 18, 272, 273, 5000])
def test_root_is_what_the_definition_says(count: int) -> None:
    entries = numbered(count)
    tree = StateTree.empty().updated(dict(entries))
    assert tree.root == naive_root(entries)
    assert len(tree) == count


@settings(max_examples=150)
@given(BATCHES)
def test_behaves_as_a_map_and_its_root_follows_from_its_contents(
    batches: list[dict[bytes, bytes | None]],
) -> None:
    tree = StateTree.empty()
    model: dict[bytes, bytes] = {}
    for batch in batches:
        before, contents_before = tree, dict(model)
        tree = tree.updated(batch)
        for key, value in batch.items():
            if value is None:
                model.pop(key, None)
            else:
                model[key] = value
        assert tree.root == naive_root(model)
        assert list(tree.items(b"")) == sorted(model.items())
        assert list(tree.keys(b"\x01", start=b"\x01\x00\x20")) == sorted(
            key for key in model if key.startswith(b"\x01") and key >= b"\x01\x00\x20"
        )
        assert len(tree) == len(model)
        assert all(tree.get(key) == model.get(key) for key in batch)
        # The tree it came from is as it was.
        assert list(before.items(b"")) == sorted(contents_before.items())
        assert before.root == naive_root(contents_before)


def test_root_does_not_depend_on_the_order_or_on_what_was_deleted() -> None:
    entries = list(numbered(600).items())
    expected = StateTree.empty().updated(dict(entries)).root
    for seed in range(3):
        random.Random(seed).shuffle(entries)
        tree = StateTree.empty().updated({b"gone" + bytes([number]): b"" for number in range(200)})
        for low in range(0, 600, 37):
            tree = tree.updated(dict(entries[low : low + 37]))
        tree = tree.updated({b"gone" + bytes([number]): None for number in range(200)})
        assert tree.root == expected, f"seed {seed}"
        assert tree == StateTree.empty().updated(dict(entries)), f"seed {seed}"


def test_deleting_everything_leads_back_to_the_empty_tree() -> None:
    entries = numbered(400)
    tree = StateTree.empty().updated(dict(entries)).updated(dict.fromkeys(entries))
    assert tree.root == StateTree.empty().root
    assert list(tree.items(b"")) == []


def test_an_update_that_changes_nothing_returns_the_same_tree() -> None:
    entries = numbered(100)
    tree = StateTree.empty().updated(dict(entries))
    assert tree.updated({}) is tree
    assert tree.updated(dict(entries)) is tree
    assert tree.updated({b"absent": None}) is tree
    assert tree.updated({b"absent" + bytes([number]): None for number in range(100)}) is tree


def test_an_update_shares_what_it_does_not_touch() -> None:
    tree = StateTree.empty().updated(dict(numbered(2000)))
    changed = tree.updated({b"n\x00\x00\x00\x00": b"new"})
    assert isinstance(tree._top, Branch)
    assert isinstance(changed._top, Branch)
    shared = [old is new for old, new in zip(tree._top.children, changed._top.children, strict=True)]
    assert shared.count(False) == 1


def test_forks_of_one_tree_do_not_see_each_other() -> None:
    base = StateTree.empty().updated(dict(numbered(300)))
    left = base.updated({b"who": b"left"})
    right = base.updated({b"who": b"right", b"n\x00\x00\x00\x07": None})
    assert (base.get(b"who"), left.get(b"who"), right.get(b"who")) == (None, b"left", b"right")
    assert right.get(b"n\x00\x00\x00\x07") is None
    assert left.get(b"n\x00\x00\x00\x07") == bytes([7])


def test_keys_ground_into_one_place_only_deepen_that_place() -> None:
    ground = keys_below("a7", 60)
    tree = StateTree.empty().updated(dict.fromkeys(ground, b"x"))
    assert tree.root == naive_root(dict.fromkeys(ground, b"x"))
    assert len(tree.prove(ground[0]).siblings) >= 3
    assert len(tree.prove(keys_below("b", 1)[0]).siblings) == 1
    # Falling back under 17 entries joins all levels again.
    few = tree.updated(dict.fromkeys(ground[16:]))
    assert few.root == naive_root(dict.fromkeys(ground[:16], b"x"))
    assert few.prove(ground[0]).siblings == ()


def test_items_walks_one_prefix_in_order() -> None:
    tree = StateTree.empty().updated(
        {
            b"a\xff": b"1",
            b"b": b"2",
            b"b\x00": b"3",
            b"b\xff\xff": b"4",
            b"c": b"5",
            b"\xff": b"6",
            b"\xff\xff": b"7",
        }
    )
    assert list(tree.items(b"b")) == [(b"b", b"2"), (b"b\x00", b"3"), (b"b\xff\xff", b"4")]
    assert list(tree.items(b"b", start=b"b\x00")) == [(b"b\x00", b"3"), (b"b\xff\xff", b"4")]
    assert list(tree.items(b"b", start=b"a")) == list(tree.items(b"b"))
    assert list(tree.items(b"b", start=b"c")) == []
    assert list(tree.items(b"\xff")) == [(b"\xff", b"6"), (b"\xff\xff", b"7")]
    assert list(tree.items(b"absent")) == []


def test_trees_are_compared_and_shown_by_their_root() -> None:
    tree = StateTree.empty().updated({b"a": b"1"})
    assert tree == StateTree.empty().updated({b"b": b"2", b"a": b"1"}).updated({b"b": None})
    assert tree != StateTree.empty()
    assert tree != tree.root
    assert {tree, StateTree.empty().updated({b"a": b"1"})} == {tree}
    assert repr(tree) == f"StateTree(root={tree.root.hex()}, 1 entries)"


def test_empty_values_are_values() -> None:
    tree = StateTree.empty().updated({b"key": b""})
    assert tree.get(b"key") == b""
    assert tree.root != StateTree.empty().root


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({b"": b"x"}, "a state key has 1 to 255 bytes, got 0"),
        ({b"k" * 256: b"x"}, "a state key has 1 to 255 bytes, got 256"),
        ({b"": None}, "a state key has 1 to 255 bytes, got 0"),
        ({b"k": bytes(MAX_VALUE_BYTES + 1)}, "a state value has at most 1048576 bytes, got 1048577"),
    ],
)
def test_keys_and_values_are_bounded(changes: dict[bytes, bytes | None], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StateTree.empty().updated(changes)
