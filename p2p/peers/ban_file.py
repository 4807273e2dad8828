"""Bans in a file, so that a restart washes nobody clean, and an operator can see and lift them.

Times in the file are seconds since 1970; in memory they are on the network's clock, which starts anew with
every process. Bounded: the `MAX_BANS` that last longest.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from p2p import files
from p2p.network import PeerId
from p2p.wire.control import MAX_PEER_ID

BANS: Final = "bans.json"
"""Its name, beside the address book."""

MAX_BANS: Final = 1024
LATEST: Final = 1 << 37
"""No ban ends after this, seconds since 1970 (the year 6325): what reads the file must be able to show it."""

MAX_REASON: Final = 200
FILE_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class StoredBan:
    """A ban as it lies in the file.

    Attributes:
        peer: Who may not connect.
        until: When it ends, seconds since 1970.
        count: How many bans this peer has had; the next lasts longer.
        reason: The complaint that led to it.
    """

    peer: PeerId
    until: int
    count: int
    reason: str


def to_document(bans: Iterable[StoredBan]) -> dict[str, Any]:
    """What belongs in the file."""
    longest = sorted(bans, key=lambda ban: (-ban.until, ban.peer))[:MAX_BANS]
    rows = [
        {
            "peer": ban.peer,
            "until": ban.until,
            "count": ban.count,
            "reason": ban.reason.encode("ascii", "replace").decode("ascii")[:MAX_REASON],
        }
        for ban in longest
    ]
    return {"version": FILE_VERSION, "bans": rows}


def from_document(document: dict[str, Any]) -> tuple[StoredBan, ...]:
    """What `to_document` was given.

    Raises:
        ValueError: It is of another version, or malformed.
    """
    if document.get("version") != FILE_VERSION:
        raise ValueError(f"version {document.get('version')!r}, expected {FILE_VERSION}")
    rows = document["bans"]
    if not isinstance(rows, list) or len(rows) > MAX_BANS:
        raise ValueError(f"not a list of at most {MAX_BANS} bans")
    return tuple(_ban(row) for row in rows)


def read_bans(path: Path) -> tuple[StoredBan, ...]:
    """The bans in the file at `path`; none if there is no file, or it had to be set aside."""
    return files.load(path, from_document) or ()


def lift_ban(path: Path, peer: str) -> StoredBan | None:
    """Take `peer`'s ban out of the file; a running node sees that and does the same.

    Returns:
        The ban that was lifted; None if there was none.

    Raises:
        OSError: The file cannot be written.
    """
    bans = read_bans(path)
    lifted = next((ban for ban in bans if ban.peer == peer), None)
    if lifted is not None:
        files.save(path, to_document(ban for ban in bans if ban is not lifted))
    return lifted


def _ban(row: dict[str, Any]) -> StoredBan:
    peer, until, count, reason = row["peer"], row["until"], row["count"], row["reason"]
    if not isinstance(peer, str) or not 0 < len(peer) <= MAX_PEER_ID or not peer.isascii():
        raise ValueError(f"{peer!r:.80} is no peer id")
    if type(until) is not int or type(count) is not int or not 0 <= until < LATEST or count < 0:
        raise ValueError(f"the ban of {peer} lasts until {until!r:.40} and is number {count!r:.40}")
    if not isinstance(reason, str) or len(reason) > MAX_REASON:
        raise ValueError(f"the ban of {peer} has no usable reason")
    return StoredBan(PeerId(peer), until, count, reason)
