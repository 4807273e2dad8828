"""Protocol negotiation with bounds.

Cures, all before a peer has shown who it is or what it wants:

- a protocol name that is not UTF-8 ended the whole node (an uncaught UnicodeDecodeError),
- a name could be of any length: its bytes were collected without limit until the timeout,
- a client could ask for the list of protocols for ever, a hundred bytes of answer per byte of question.
"""

from libp2p.io.exceptions import IOException
from libp2p.protocol_muxer.exceptions import MultiselectCommunicatorError
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator
from libp2p.stream_muxer.exceptions import MuxedStreamError

MAX_LINE = 1024
"""Longest line of a negotiation, bytes with its newline (go-multistream allows as much)."""

MAX_LINES = 16
"""Most lines read in one negotiation; an honest peer needs two."""


async def read_bounded_line(communicator: MultiselectCommunicator) -> str:
    """Takes the place of `MultiselectCommunicator.read`.

    Raises:
        MultiselectCommunicatorError: The line is too long, malformed, one too many, or the stream ended.
    """
    lines = getattr(communicator, "lines_read", 0) + 1
    communicator.lines_read = lines
    if lines > MAX_LINES:
        raise MultiselectCommunicatorError(f"more than {MAX_LINES} lines")
    try:
        size = await _read_uvarint(communicator)
        if not 0 < size <= MAX_LINE:
            raise MultiselectCommunicatorError(f"line of {size} bytes, the limit is {MAX_LINE}")
        line = bytearray()
        while len(line) < size:
            line += await _read_some(communicator, size - len(line))
    except (IOException, MuxedStreamError) as error:
        raise MultiselectCommunicatorError(f"stream ended while negotiating: {error}") from error
    if line[-1:] != b"\n":
        raise MultiselectCommunicatorError("line without newline")
    try:
        return line[:-1].decode("utf-8")
    except UnicodeDecodeError as error:
        raise MultiselectCommunicatorError("protocol name is not UTF-8") from error


async def _read_uvarint(communicator: MultiselectCommunicator) -> int:
    value = 0
    for shift in (0, 7):
        (byte,) = await _read_some(communicator, 1)
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value
    raise MultiselectCommunicatorError(f"line of more than {MAX_LINE} bytes")


async def _read_some(communicator: MultiselectCommunicator, n: int) -> bytes:
    data: bytes = await communicator.read_writer.read(n)
    if not data:
        raise MultiselectCommunicatorError("stream ended while negotiating")
    return data
