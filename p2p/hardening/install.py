"""The two patches of py-libp2p's private names, and the check that it is the py-libp2p we know.

Everything else in this package takes a public road around the library's weak spots.
"""

import logging

import libp2p
import libp2p.stream_muxer.muxer_multistream
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator

from p2p.hardening.multistream import read_bounded_line
from p2p.hardening.yamux import BoundedYamux

KNOWN_VERSION = "0.8.1"


class UnknownLibp2pError(RuntimeError):
    """The installed py-libp2p is not the one that was hardened and attacked in the tests."""


def install() -> None:
    """Harden py-libp2p in this process; idempotent.

    Raises:
        UnknownLibp2pError: Another version is installed.
    """
    if libp2p.__version__ != KNOWN_VERSION:
        raise UnknownLibp2pError(
            f"py-libp2p {libp2p.__version__} is installed, only {KNOWN_VERSION} was hardened: "
            f"pip install libp2p=={KNOWN_VERSION}"
        )
    bound_negotiations()
    bound_multiplexer()
    make_warnings_visible()


def bound_negotiations() -> None:
    """See `p2p.hardening.multistream`. Patches: `MultiselectCommunicator.read`."""
    MultiselectCommunicator.read = read_bounded_line


def bound_multiplexer() -> None:
    """See `p2p.hardening.yamux`. Patches: the class that `MuxerMultistream.new_conn` has hard-coded.

    `muxer_opt={YAMUX: ...}` of `new_host` only looks as if it did this: its value is ignored.
    """
    libp2p.stream_muxer.muxer_multistream.Yamux = BoundedYamux


def make_warnings_visible() -> None:
    """Let the library's warnings reach the root logger; it hides all of them by default."""
    logger = logging.getLogger("libp2p")
    logger.propagate = True
    logger.setLevel(logging.WARNING)
    # A connection that ends while it is being set up is an event, not an error: no traceback.
    logging.getLogger("libp2p.network.swarm").addFilter(first_line_only)


def first_line_only(record: logging.LogRecord) -> bool:
    """A log filter that keeps a message's first line: the library puts tracebacks into messages."""
    record.msg, record.args, record.exc_info = record.getMessage().partition("\n")[0], None, None
    return True
