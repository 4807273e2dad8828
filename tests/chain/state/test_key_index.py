from hypothesis import given, settings
from hypothesis import strategies as st

from chain.state.key_index import CHUNK_KEYS, KeyIndex

KEYS = st.integers(0, 2000).map(lambda number: number.to_bytes(2, "big"))


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.sets(KEYS), st.sets(KEYS)), max_size=5),
    st.binary(max_size=2),
    st.binary(max_size=3),
)
def test_behaves_as_a_sorted_set(
    edits: list[tuple[set[bytes], set[bytes]]], prefix: bytes, start: bytes
) -> None:
    index = KeyIndex()
    model: set[bytes] = set()
    for wanted, unwanted in edits:
        added = wanted - model
        removed = (unwanted & model) - added
        index = index.edited(list(added), list(removed))
        model = (model | added) - removed
        assert list(index.walk(b"")) == sorted(model)
        assert list(index.walk(prefix)) == sorted(key for key in model if key.startswith(prefix))
        assert list(index.walk(prefix, start)) == sorted(
            key for key in model if key.startswith(prefix) and key >= start
        )


def test_chunks_stay_within_their_bound_as_the_set_grows_and_shrinks() -> None:
    keys = [number.to_bytes(4, "big") for number in range(5000)]
    index = KeyIndex().edited(keys[::2], [])
    for low in range(1, 5000, 200):
        index = index.edited(keys[low : low + 200 : 2], [])
    assert list(index.walk(b"")) == keys
    assert all(0 < len(chunk) <= CHUNK_KEYS for chunk in index._chunks)
    index = index.edited([], keys[10:])
    assert list(index.walk(b"")) == keys[:10]
    assert all(index._chunks)
    assert index.edited([], keys[:10]) == KeyIndex()


def test_a_walk_is_of_the_version_it_began_on() -> None:
    index = KeyIndex().edited([b"a", b"b", b"c"], [])
    walk = index.walk(b"")
    assert next(walk) == b"a"
    assert list(index.edited([b"bb"], [b"c"]).walk(b"")) == [b"a", b"b", b"bb"]
    assert list(walk) == [b"b", b"c"]
