"""JSON is read where that takes little memory for its size, and is refused with a reason where not."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.json_text import read_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=9), inner, max_size=5),
    max_leaves=30,
)


@given(VALUES)
def test_what_people_write_is_read(value: object) -> None:
    text = json.dumps(value)
    assert read_json(text) == read_json(text.encode()) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "Expecting property name"),
        ("[" * 100_000, "would take about 6400000 bytes"),
        ("[" * 2000, "would take about 128000 bytes"),
        ("[" * 2000 + " " * 20_000, "nested too deep"),
        ("[" + "[]," * 4000 + "0]", "12003 bytes of values that would take about 416064 bytes"),
        (b"\xff", "invalid start byte"),
    ],
)
def test_anything_else_is_a_value_error(text: str | bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_json(text)


def test_a_header_is_measured_by_its_file() -> None:
    dense = "[" + "[]," * 4000 + "0]"
    assert len(read_json(dense, size=100_000)) == 4001
