"""Records: back as they went, and nothing else is read."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import pytest

from tools.models.records import RecordError, read_record, write_record


class Colour(IntEnum):
    RED = 1


@dataclass(frozen=True, slots=True)
class Inner:
    data: bytes
    share: float


@dataclass(frozen=True, slots=True)
class Outer:
    name: str
    count: int
    on: bool
    colour: Colour
    pair: tuple[int, str]
    many: tuple[Inner, ...]
    maybe: Inner | None


OUTER = Outer("a", -3, True, Colour.RED, (1, "b"), (Inner(b"\0\xff", 0.5),), None)
JSON: dict[str, Any] = {
    "name": "a", "count": -3, "on": True, "colour": "RED", "pair": [1, "b"],
    "many": [{"data": "00ff", "share": "0.500000"}], "maybe": None,
}  # fmt: skip


def test_a_record_comes_back() -> None:
    assert write_record(OUTER) == JSON
    assert read_record(Outer, JSON) == OUTER


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": 1}, "$.name: str is due"),
        ({"count": True}, "$.count: an integer"),
        ({"count": 1.5}, "$.count: an integer"),
        ({"count": 1 << 63}, "$.count: an integer"),
        ({"on": 1}, "$.on: bool"),
        ({"colour": "BLUE"}, "$.colour: Colour"),
        ({"colour": 1}, "$.colour: Colour"),
        ({"pair": [1]}, "$.pair: an array of 2"),
        ({"pair": "ab"}, "$.pair: an array"),
        ({"many": {}}, "$.many: an array"),
        ({"many": [{"data": "0", "share": "1"}]}, "$.many[0].data: the text of bytes"),
        ({"many": [{"data": 0, "share": "1"}]}, "$.many[0].data: a text"),
        ({"many": [{"data": "", "share": "x"}]}, "$.many[0].share: the text of float"),
        ({"many": [{"data": ""}]}, "$.many[0]: an object"),
        ({"maybe": []}, "$.maybe: an object"),
        ({"more": 1}, "$: an object"),
    ],
)
def test_what_is_no_such_record_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(RecordError) as caught:
        read_record(Outer, JSON | change)
    assert str(caught.value).startswith(message)


def test_other_types_are_our_mistake() -> None:
    with pytest.raises(TypeError):
        write_record(object())
