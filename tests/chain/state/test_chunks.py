"""A state in pieces: they give the whole, from whatever was here before, and a lie is found in its piece."""

import dataclasses
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.state.chunks import (
    MAX_CHUNK_ENTRIES,
    ChunkError,
    ChunkFault,
    Entries,
    Entry,
    Inner,
    Records,
    Wanted,
    check_piece,
    make_piece,
    missing,
)
from chain.state.tree import StateTree


def fill(count: int, *, seed: int = 1, size: int = 20) -> StateTree:
    rng = Random(seed)
    return StateTree.empty().updated({rng.randbytes(12): rng.randbytes(size) for _ in range(count)})


def copy(source: StateTree, here: StateTree) -> tuple[StateTree, int]:
    """Turn one state into another piece by piece; how many pieces that took."""
    wanted, pieces = list(missing(source.root, here)), 0
    while wanted:
        want = wanted.pop()
        piece = make_piece(source, want.place)
        assert piece is not None
        checked = check_piece(piece, want, here)
        here = here.updated(checked.changes)
        wanted += checked.wanted
        pieces += 1
    return here, pieces


@pytest.mark.parametrize("count", [0, 1, 16, 17, 300, 3 * MAX_CHUNK_ENTRIES])
def test_the_pieces_make_the_whole(count: int) -> None:
    source = fill(count)
    made, pieces = copy(source, StateTree.empty())
    assert made.root == source.root
    assert dict(made.items(b"")) == dict(source.items(b""))
    assert pieces == (0 if count == 0 else 1 if count <= MAX_CHUNK_ENTRIES else 17)


def test_values_too_large_for_a_piece_come_one_by_one() -> None:
    source = fill(10, size=1 << 18)
    made, pieces = copy(source, StateTree.empty())
    assert made.root == source.root
    assert pieces == 11


def test_only_what_differs_is_asked_for() -> None:
    source = fill(3 * MAX_CHUNK_ENTRIES)
    old = source.updated({b"one": b"1"})
    made, pieces = copy(source, old)
    assert made.root == source.root
    assert pieces == 2


keys = st.binary(min_size=1, max_size=2)
contents = st.dictionaries(keys, st.binary(max_size=3), max_size=60)


@settings(max_examples=60, deadline=None)
@given(contents, contents)
def test_any_state_becomes_any_other(monkeypatch_entries, before, after) -> None:
    here, source = StateTree.empty().updated(before), StateTree.empty().updated(after)
    made, _ = copy(source, here)
    assert made.root == source.root
    assert dict(made.items(b"")) == after


@pytest.fixture(scope="module")
def monkeypatch_entries():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("chain.state.chunks.MAX_CHUNK_ENTRIES", 4)
        yield


SMALL = fill(30)
TOP = Wanted(b"", SMALL.root)
WHOLE = make_piece(SMALL, b"")
BRANCH = Inner(SMALL.subtree(b"").digests)


def lies() -> dict[str, tuple[object, Wanted, ChunkFault]]:
    first, *rest = WHOLE.entries
    changed = Entries((Entry(first.key, first.value + b"!"), *rest))
    below = Wanted(b"\x03", SMALL.subtree(b"\x03").digest)
    full = Wanted(b"\x00" * 64, bytes(32))
    return {
        "a value": (changed, TOP, ChunkFault.WRONG_DIGEST),
        "one left out": (Entries(tuple(rest)), TOP, ChunkFault.WRONG_DIGEST),
        "nothing": (Entries(()), TOP, ChunkFault.WRONG_DIGEST),
        "one twice": (Entries((first, first)), TOP, ChunkFault.MALFORMED),
        "an empty key": (Entries((Entry(b"", b""),)), TOP, ChunkFault.MALFORMED),
        "another place's": (WHOLE, below, ChunkFault.WRONG_PLACE),
        "digests": (Inner(bytes(512)), TOP, ChunkFault.WRONG_DIGEST),
        "a branch for a bucket": (BRANCH, below, ChunkFault.WRONG_DIGEST),
        "records": (Records(bytes(64)), below, ChunkFault.WRONG_DIGEST),
        "half a record": (Records(bytes(60)), below, ChunkFault.MALFORMED),
        "two for one": (WHOLE, full, ChunkFault.MALFORMED),
        "a value of another path": (Entries((first,)), full, ChunkFault.WRONG_PLACE),
    }


@pytest.mark.parametrize("name", lies())
def test_a_lie_is_found_in_its_piece(name: str) -> None:
    piece, wanted, reason = lies()[name]
    with pytest.raises(ChunkError) as caught:
        check_piece(piece, wanted, StateTree.empty())
    assert caught.value.reason is reason


def test_a_wrong_value_at_a_full_path_is_a_lie() -> None:
    key, value = next(iter(SMALL.items(b"")))
    from chain.state.node import MAX_LEVELS, nibble, path_of, value_digest

    place = bytes(nibble(path_of(key), level) for level in range(MAX_LEVELS))
    want = Wanted(place, value_digest(value))
    assert check_piece(make_piece(SMALL, place), want, StateTree.empty()).changes == {key: value}
    with pytest.raises(ChunkError) as caught:
        check_piece(Entries((Entry(key, b"x"),)), dataclasses.replace(want), StateTree.empty())
    assert caught.value.reason is ChunkFault.WRONG_DIGEST
    assert make_piece(StateTree.empty(), place) is None
