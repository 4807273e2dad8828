"""Taking a consensus key to another machine: the highest views it may have signed in, as JSON.

After EIP-3076's minimal form: an export names the key, the chain and the highest views of its proposals and
votes; an import keeps the maximum of what both logs say, so importing twice, or an old file after a new one,
changes nothing. Numbers are decimal strings, for readers whose integers end at 2**53. Both need the log's
lock, so neither works while a node signs with the key.
"""

from dataclasses import dataclass
from typing import Any, Final

from chain.json_text import read_json
from chain.types.statement import Kind
from consensus.signing.disk import Disk
from consensus.signing.signing_guard import GuardError, GuardReason, SigningGuard, create_log, open_log

FORMAT: Final = "1"
MAX_BYTES: Final = 1 << 16

Place = tuple[int, int]
"""Epoch and view."""


class MarksError(ValueError):
    """A file that is no export; the message names the field."""


@dataclass(frozen=True, slots=True)
class Marks:
    """What a key may have signed on a chain, summed up."""

    chain_id: str
    public_key: bytes
    watermark: Place
    """Nothing is signed below this."""
    max_proposal: Place | None
    max_vote: Place | None

    @property
    def next(self) -> Place:
        """The first view in which nothing can have been signed."""
        signed = [place for place in (self.max_proposal, self.max_vote) if place is not None]
        return max([self.watermark, *((epoch, view + 1) for epoch, view in signed)])


def export_marks(guard: SigningGuard, *, chain_id: str, public_key: bytes) -> Marks:
    """The marks of an open log."""
    return Marks(
        chain_id,
        public_key,
        guard.watermark,
        guard.highest(Kind.PROPOSE),
        guard.highest(Kind.NOTARIZE, Kind.NULLIFY, Kind.FINALIZE),
    )


def import_marks(disk: Disk, marks: Marks, *, chain_id: str, public_key: bytes) -> SigningGuard:
    """Open the log of a key, or start it, and sign nothing that the marks may cover; close it when done.

    A log that is started here, or knows less than the marks, belongs to a key that signed elsewhere: the node
    watches before it signs.

    Raises:
        GuardError: WRONG_OWNER if the marks are another key's or chain's; any reason of `open_log`.
    """
    if (marks.chain_id, marks.public_key) != (chain_id, public_key):
        raise GuardError(
            GuardReason.WRONG_OWNER,
            f"the export is of key {marks.public_key.hex()} on {marks.chain_id}, "
            f"ours is {public_key.hex()} on {chain_id}",
        )
    if disk.read() is None:
        guard = create_log(disk, chain_id=chain_id, public_key=public_key, signs_here=False)
    else:
        guard = open_log(disk, chain_id=chain_id, public_key=public_key)
    if marks.next > export_marks(guard, chain_id=chain_id, public_key=public_key).next:
        guard.unsettle()
    guard.raise_watermark(*marks.next)
    return guard


def marks_to_json(marks: Marks) -> dict[str, Any]:
    """The document to write to a file."""
    return {
        "format": FORMAT,
        "chain_id": marks.chain_id,
        "public_key": marks.public_key.hex(),
        "watermark": _write(marks.watermark),
        "max_proposal": _write(marks.max_proposal),
        "max_vote": _write(marks.max_vote),
    }


def marks_from_json(text: bytes) -> Marks:
    """Read an exported document.

    Raises:
        MarksError: It is none.
    """
    if len(text) > MAX_BYTES:
        raise MarksError(f"{len(text)} bytes, an export has at most {MAX_BYTES}")
    try:
        top = read_json(text)
    except ValueError as error:
        raise MarksError(f"no JSON: {error}") from None
    fields = {"format", "chain_id", "public_key", "watermark", "max_proposal", "max_vote"}
    if not isinstance(top, dict) or set(top) != fields:
        raise MarksError(f"expected an object with exactly {', '.join(sorted(fields))}")
    if top["format"] != FORMAT:
        raise MarksError(f"format: {top['format']!r}, this version reads {FORMAT!r}")
    if not isinstance(top["chain_id"], str) or not isinstance(top["public_key"], str):
        raise MarksError("chain_id, public_key: no text")
    watermark = _read("watermark", top["watermark"])
    if watermark is None:
        raise MarksError("watermark: missing")
    return Marks(
        top["chain_id"],
        _key(top["public_key"]),
        watermark,
        _read("max_proposal", top["max_proposal"]),
        _read("max_vote", top["max_vote"]),
    )


def _write(place: Place | None) -> dict[str, str] | None:
    return None if place is None else {"epoch": str(place[0]), "view": str(place[1])}


def _read(name: str, value: object) -> Place | None:
    if value is None:
        return None
    if not isinstance(value, dict) or set(value) != {"epoch", "view"}:
        raise MarksError(f"{name}: neither null nor an object with epoch and view")
    epoch, view = (_number(f"{name}.{part}", value[part]) for part in ("epoch", "view"))
    return epoch, view


def _number(name: str, value: object) -> int:
    if not isinstance(value, str) or not value.isascii() or not value.isdigit() or len(value) > 19:
        raise MarksError(f"{name}: {str(value)[:40]!r} is no decimal string below 10**19")
    number = int(value)
    if number >= (1 << 64) - 1:
        raise MarksError(f"{name}: {number} is too large")
    return number


def _key(text: str) -> bytes:
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != 32 or key.hex() != text:
        raise MarksError(f"public_key: {text[:80]!r} is not 64 hexadecimal digits")
    return key
