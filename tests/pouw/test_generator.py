"""The generator's vectors: whoever builds another client must get these bytes."""

import numpy as np
import pytest
from blake3 import blake3

from pouw.arithmetic.generator import permutation, random_below, random_bytes


@pytest.mark.parametrize(
    ("seed", "path", "start", "expected"),
    [
        (b"", (), 0, "51385d391808b0c68519109a1e7fd316"),
        (b"headrace", (1, 2), 0, "edc91fd511a0a8dd9f8ab5339202d64c"),
        (b"headrace", (1, 2), 61, "75967ba3300da0e9afb6d28bfcc6fbc7"),
        (b"headrace", (2**64 - 1,), 2**40, "11217434f9ba9a5b128cebeda1362709"),
    ],
)
def test_vectors(seed: bytes, path: tuple[int, ...], start: int, expected: str) -> None:
    assert random_bytes(seed, path=path, count=16, start=start).hex() == expected


def test_the_stream_is_what_the_docstring_says() -> None:
    domain = blake3(b"headrace/pouw/1/generator").digest()
    key = blake3((3).to_bytes(4, "little") + b"abc" + (7).to_bytes(8, "little"), key=domain).digest()
    assert random_bytes(b"abc", path=(7,), count=200) == blake3(key=key).digest(200)


def test_any_stretch_can_be_had_alone() -> None:
    whole = random_bytes(b"s", path=(5,), count=1000)
    assert [random_bytes(b"s", path=(5,), count=130, start=i) for i in (0, 63, 64, 129, 870)] == [
        whole[i : i + 130] for i in (0, 63, 64, 129, 870)
    ]


def test_streams_of_other_seeds_and_paths_differ() -> None:
    names = [(b"", (1, 2)), (b"", (2, 1)), (b"", (1,)), (b"\1", ()), (b"\1\0\0\0\0\0\0\0", (2,)), (b"", ())]
    assert len({random_bytes(seed, path=path, count=32) for seed, path in names}) == len(names)


def test_random_below_vector_and_bounds() -> None:
    values = random_below(b"headrace", path=(3,), bound=10, count=8)
    assert values.tolist() == [8, 2, 3, 6, 0, 3, 6, 5]
    many = random_below(b"headrace", path=(4,), bound=7, count=70_000)
    counts = np.bincount(many, minlength=7)
    assert counts.size == 7
    assert counts.min() > 9_600
    assert counts.max() < 10_400
    with pytest.raises(AssertionError, match="bound 0 outside"):
        random_below(b"", path=(), bound=0, count=1)


def test_permutation_vector() -> None:
    order = permutation(b"headrace", path=(5,), count=10)
    assert order.tolist() == [6, 9, 3, 8, 2, 7, 5, 1, 0, 4]
    assert sorted(permutation(b"headrace", path=(6,), count=1000).tolist()) == list(range(1000))
