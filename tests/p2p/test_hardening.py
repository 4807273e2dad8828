"""The small parts of the hardening layer: version check, log filter, negotiation lines."""

import logging

import libp2p
import libp2p.stream_muxer.muxer_multistream
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from libp2p.protocol_muxer.exceptions import MultiselectCommunicatorError
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator

from p2p.hardening.install import UnknownLibp2pError, first_line_only, install
from p2p.hardening.multistream import MAX_LINE, MAX_LINES, read_bounded_line
from p2p.hardening.yamux import BoundedYamux
from tests.p2p.attacker import delimited
from tests.p2p.pipes import Replay


def test_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libp2p, "__version__", "0.9.0")
    with pytest.raises(UnknownLibp2pError, match=r"py-libp2p 0.9.0 is installed, only 0.8.1 was hardened"):
        install()


def test_installing_twice_is_installing_once() -> None:
    install()
    install()
    assert MultiselectCommunicator.read is read_bounded_line
    assert libp2p.stream_muxer.muxer_multistream.Yamux is BoundedYamux
    assert logging.getLogger("libp2p").propagate
    assert logging.getLogger("libp2p.network.swarm").filters.count(first_line_only) == 1


def test_a_traceback_in_a_message_is_cut_off() -> None:
    record = logging.LogRecord("x", logging.WARNING, "", 0, "failed for %s:\n%s", ("peer", "Traceback"), None)
    assert first_line_only(record)
    assert record.getMessage() == "failed for peer:"


async def line_of(data: bytes, sizes: list[int] | None = None) -> str:
    return str(await read_bounded_line(MultiselectCommunicator(Replay(data, sizes))))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "stream ended while negotiating"),
        (b"\x05ab", "stream ended while negotiating"),
        (b"\x00", f"line of 0 bytes, the limit is {MAX_LINE}"),
        (b"\xff\xff\x01", f"line of more than {MAX_LINE} bytes"),
        (b"\x81\x08", f"line of {MAX_LINE + 1} bytes, the limit is {MAX_LINE}"),
        (delimited(b"/x"), "line without newline"),
        (delimited(b"\xff\n"), "protocol name is not UTF-8"),
    ],
)
async def test_bad_lines_have_a_reason(data: bytes, reason: str) -> None:
    with pytest.raises(MultiselectCommunicatorError, match=reason):
        await line_of(data)


async def test_a_negotiation_has_an_end() -> None:
    communicator = MultiselectCommunicator(Replay(delimited(b"ls\n") * 100))
    for _ in range(MAX_LINES):
        assert await communicator.read() == "ls"
    with pytest.raises(MultiselectCommunicatorError, match=f"more than {MAX_LINES} lines"):
        await communicator.read()


@given(st.text(max_size=300), st.lists(st.integers(1, 50), max_size=20))
async def test_good_lines_survive_any_cutting(text: str, sizes: list[int]) -> None:
    data = text.encode() + b"\n"
    if len(data) <= MAX_LINE:
        assert await line_of(delimited(data), sizes) == text


@given(st.binary(max_size=100))
@example(b"\x80\x80")
async def test_any_bytes_are_a_line_or_a_reason(data: bytes) -> None:
    try:
        line = await line_of(data)
    except MultiselectCommunicatorError:
        return
    assert delimited(line.encode() + b"\n") == data[: len(line.encode()) + 1 + (2 if len(line) > 126 else 1)]
