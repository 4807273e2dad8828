"""JSON forms: what is written reads back, and what is not of the type is named by its path."""

import json
from dataclasses import dataclass
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.codec import U16, U64, AtMost, Hash32
from chain.reasons import Reason
from tools.rpc import wire
from tools.rpc.wire import Address


@dataclass(frozen=True, slots=True)
class Inner:
    key: Address
    name: Annotated[str, AtMost(8)]


@dataclass(frozen=True, slots=True)
class Outer:
    amount: U64
    digest: Hash32
    reason: Reason
    inner: tuple[Inner, ...]
    maybe: U16 | None
    flag: bool


inners = st.builds(Inner, st.binary(min_size=32, max_size=32), st.text(max_size=2))
outers = st.builds(
    Outer, st.integers(0, 2**64 - 1), st.binary(min_size=32, max_size=32), st.sampled_from(Reason),
    st.lists(inners, max_size=3).map(tuple), st.none() | st.integers(0, 65535), st.booleans(),
)  # fmt: skip


@given(outers)
def test_reads_back_what_it_writes(value):
    text = json.dumps(wire.write(Outer, value, prefix="hrt"))
    assert wire.read(Outer, json.loads(text), prefix="hrt") == value


@pytest.mark.parametrize(("amount", "form"), [(0, 0), (2**53 - 1, 2**53 - 1), (2**53, str(2**53))])
def test_large_amounts_are_text(amount, form):
    assert wire.write(U64, amount, prefix="hrt") == form


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"amount": -1}, "$.amount: -1 is not in [0, 2**64)"),
        ({"amount": True}, "$.amount: true where an integer was due"),
        ({"amount": "01"}, '$.amount: "01" where an integer was due'),
        ({"digest": "AB" * 32}, "$.digest: "),
        ({"digest": "ab" * 31}, "$.digest: 31 bytes where 32 bytes were due"),
        ({"digest": " " + "ab" * 32}, "$.digest: "),
        ({"reason": "NOPE"}, '$.reason: "NOPE" is no Reason'),
        ({"inner": [{"key": "hrt1qqq", "name": ""}]}, "$.inner[0].key: "),
        ({"inner": {}}, "$.inner: an object where an array was due"),
        ({"flag": 1}, "$.flag: 1 where true or false was due"),
    ],
)
def test_a_wrong_member_is_named(change, message):
    good = wire.write(Outer, Outer(1, bytes(32), Reason.OK, (), None, True), prefix="hrt")
    with pytest.raises(wire.WireError) as caught:
        wire.read(Outer, good | change, prefix="hrt")
    assert str(caught.value).startswith(message)


def test_a_missing_member_is_named_and_an_unknown_one_passed_over():
    good = wire.write(Inner, Inner(bytes(32), "a"), prefix="hrt")
    assert wire.read(Inner, good | {"newer": 1}, prefix="hrt") == Inner(bytes(32), "a")
    with pytest.raises(wire.WireError, match="'name' is missing"):
        wire.read(Inner, {"key": good["key"]}, prefix="hrt")


def test_an_address_of_another_network_is_refused():
    other = wire.write(Address, bytes(32), prefix="hr")
    with pytest.raises(wire.WireError, match="network"):
        wire.read(Address, other, prefix="hrt")


def test_a_type_without_a_form_is_our_own_mistake():
    with pytest.raises(TypeError):
        wire.form_of(dict)
