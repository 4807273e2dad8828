"""Control messages: what is encoded is decoded, and whatever else arrives is a fault, never an exception."""

import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from p2p.network import PeerId
from p2p.wire.control import (
    MAX_ADDRESS,
    MAX_ADDRESSES,
    MAX_CONTROL,
    MAX_PEERS,
    MAX_SENTENCE,
    Control,
    Goodbye,
    Hello,
    Peers,
    Ping,
    Pong,
    decode,
    encode,
)
from p2p.wire.faults import Fault, PeerFault
from tests.memory_bound import FIXED, peak_of

TAG, INSTANCE = b"t" * 32, b"i" * 8

ascii_text = st.text(st.characters(codec="ascii"), max_size=MAX_ADDRESS)
address_lists = st.lists(ascii_text, max_size=MAX_ADDRESSES).map(tuple)
numbers = st.integers(0, 2**32 - 1)
messages = st.one_of(
    st.builds(Hello, st.binary(min_size=32, max_size=32), st.binary(min_size=8, max_size=8), address_lists),
    st.builds(Ping, numbers),
    st.builds(Pong, numbers),
    st.builds(
        Peers,
        st.lists(
            st.tuples(st.text(st.characters(codec="ascii"), max_size=64).map(PeerId), address_lists),
            max_size=MAX_PEERS,
        ).map(tuple),
    ),
    st.builds(Goodbye, st.sampled_from(Fault), st.text(st.characters(codec="ascii"), max_size=MAX_SENTENCE)),
)


def fault_of(data: bytes) -> tuple[Fault, str]:
    with pytest.raises(PeerFault) as caught:
        decode(data)
    return caught.value.fault, caught.value.detail


def check_any(data: bytes) -> None:
    """`data` is a message in its only encoding, or a fault with one of two reasons."""
    try:
        message = decode(data)
    except PeerFault as error:
        fault = error.fault
    else:
        assert encode(message) == data
        return
    assert fault in (Fault.MALFORMED, Fault.WRONG_VERSION)


@given(messages)
def test_every_message_survives_the_journey(message: Control) -> None:
    data = encode(message)
    assert len(data) <= MAX_CONTROL
    assert decode(data) == message


@given(st.binary(max_size=400))
@example(b"")
@example(b"\x04\xff")
@example(b"\x05\xff\x00")
def test_any_bytes_are_a_message_or_a_fault(data: bytes) -> None:
    check_any(data)


@given(messages, st.data())
def test_changed_messages_are_a_message_or_a_fault(message: Control, data: st.DataObject) -> None:
    raw = bytearray(encode(message))
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    check_any(bytes(raw))


def test_memory_stays_within_eight_times_the_input() -> None:
    entry = (PeerId("p" * 64), ("/" + "a" * (MAX_ADDRESS - 1),) * MAX_ADDRESSES)
    full = encode(Peers((entry,) * MAX_PEERS))
    assert peak_of(lambda: decode(full)) <= 8 * len(full) + FIXED
    cramped = b"\x04\x10" + (b"\x00\x04" + b"\x00" * 4) * MAX_PEERS
    assert peak_of(lambda: decode(cramped)) <= 8 * len(cramped) + FIXED


def test_reasons() -> None:
    hello = encode(Hello(TAG, INSTANCE, ("/ip4/1.2.3.4/tcp/1",)))
    assert fault_of(b"") == (Fault.MALFORMED, "message of 0 bytes ends too early")
    assert fault_of(b"\x09") == (Fault.MALFORMED, "control message of type 9")
    assert fault_of(hello[:-1]) == (Fault.MALFORMED, f"message of {len(hello) - 1} bytes ends too early")
    assert fault_of(hello + b"!") == (Fault.MALFORMED, "1 bytes after the message")
    assert fault_of(b"\x01HTTP" + hello[5:]) == (
        Fault.MALFORMED,
        "hello starts with b'HTTP', expected b'HDRC'",
    )
    assert fault_of(hello[:5] + struct.pack("!H", 9) + b"future") == (
        Fault.WRONG_VERSION,
        "peer speaks version 9, we speak 2",
    )
    assert fault_of(b"\x04\x11") == (Fault.MALFORMED, "17 items, the limit is 16")
    assert fault_of(b"\x05\xff\x00") == (Fault.MALFORMED, "goodbye with unknown reason 255")
    assert fault_of(b"\x05\x00\x01\xff") == (Fault.MALFORMED, "text is not ASCII")


def test_a_long_sentence_is_cut() -> None:
    message = decode(encode(Goodbye(Fault.BANNED, "ü" + "x" * 500)))
    assert message == Goodbye(Fault.BANNED, "?" + "x" * (MAX_SENTENCE - 1))
