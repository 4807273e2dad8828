"""What a node's network remembers across restarts: three small files, written when something changed.

The address book has the name the operator gives it; `anchors.json`, whom to dial first, and `bans.json`, who
may not connect, lie beside it.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import trio

from p2p import files
from p2p.addresses.address_book import AddressBook
from p2p.network import PeerId
from p2p.peers import anchors, ban_file
from p2p.peers.ban_file import BANS, StoredBan
from p2p.peers.roster import Roster

log = logging.getLogger(__name__)

ANCHORS: Final = "anchors.json"

SAVING_PAUSE: Final = 5.0
"""Seconds between two looks at what there is to write."""


class Keepsakes:
    """Reads the files at a start, and keeps them up to date."""

    def __init__(self, path: Path | None, *, now: Callable[[], float]) -> None:
        """`path` is the address book's, None to remember nothing; `now` gives seconds since 1970."""
        self._path = path
        self._now = now
        self.book = AddressBook(now=now)
        self.anchors: tuple[anchors.Anchor, ...] = ()
        self._roster: Roster | None = None
        self._written_bans: dict[str, Any] | None = None
        self._bans_stamp: tuple[int, int] | None = None
        self._ends: dict[tuple[PeerId, float], int] = {}
        """Ends of bans on the wall clock by those on the network's, worked out once: the two drift apart."""
        self._anchors_changed = False
        self._own_thread = trio.CapacityLimiter(1)
        if path is not None:
            self.book.load(path)
            self.anchors = files.load(path.with_name(ANCHORS), anchors.from_document) or ()

    def attach(self, roster: Roster) -> None:
        """Give the bans back to `roster`, and watch it from now on."""
        self._roster = roster
        if self._path is None:
            return
        path = self._path.with_name(BANS)
        bans = ban_file.read_bans(path)
        for ban in bans:
            roster.scores.restore(
                ban.peer,
                reason=ban.reason,
                seconds=ban.until - self._now(),
                count=ban.count,
                now=trio.current_time(),
            )
        self._written_bans, self._bans_stamp = ban_file.to_document(bans), _stamp(path)

    async def run(self) -> None:
        """Write what changed, for ever."""
        while self._path is not None:
            await trio.sleep(SAVING_PAUSE)
            self.look()
            for path, document in self._to_write(self._path):
                await trio.to_thread.run_sync(files.try_save, path, document, limiter=self._own_thread)
                self._saved(path)

    def save(self) -> None:
        """Write what changed, now."""
        if self._path is not None:
            self.look()
            for path, document in self._to_write(self._path):
                files.try_save(path, document)
                self._saved(path)

    def _saved(self, path: Path) -> None:
        if path.name == BANS:
            self._bans_stamp = _stamp(path)

    def look(self) -> None:
        """Choose the anchors anew, and lift the bans that the operator took out of the file."""
        roster = self._roster
        assert roster is not None, "nobody to look at"
        now = trio.current_time()
        good = [(p, where) for p, where in self.anchors if not roster.scores.is_banned(p, now)]
        links = [s.link for s in roster.sessions.values() if not roster.is_kept(s.link.peer)]
        fresh = anchors.chosen(good, links, now=now)
        self._anchors_changed = self._anchors_changed or fresh != self.anchors
        self.anchors = fresh
        if self._path is not None and _stamp(self._path.with_name(BANS)) != self._bans_stamp:
            self._lift(self._path.with_name(BANS), roster)

    def _lift(self, path: Path, roster: Roster) -> None:
        """Follow a file that somebody else wrote: a ban that was in it and is gone is lifted."""
        self._bans_stamp = _stamp(path)
        before = {row["peer"] for row in (self._written_bans or {"bans": []})["bans"]}
        bans = ban_file.read_bans(path)
        if not path.exists():
            return  # It is written again; who removes a whole file may not have meant to lift all.
        for peer in sorted(before - {ban.peer for ban in bans}):
            if roster.scores.lift(peer):
                log.info("event=ban_lifted peer=%s", peer)
        self._written_bans = ban_file.to_document(bans)

    def _to_write(self, path: Path) -> list[tuple[Path, dict[str, Any]]]:
        found: list[tuple[Path, dict[str, Any]]] = []
        if self.book.changed:
            found.append((path, self.book.document()))
        if self._anchors_changed:
            self._anchors_changed = False
            found.append((path.with_name(ANCHORS), anchors.to_document(self.anchors)))
        bans = ban_file.to_document(self._bans())
        if bans != (self._written_bans or ban_file.to_document(())):
            self._written_bans = bans
            found.append((path.with_name(BANS), bans))
        return found

    def _bans(self) -> list[StoredBan]:
        assert self._roster is not None, "nobody to look at"
        now, wall = trio.current_time(), self._now()
        scores = self._roster.scores
        bans = scores.bans(now)
        ends = {(ban.peer, ban.until): int(wall + ban.until - now) for ban in bans}
        self._ends = {key: self._ends.get(key, end) for key, end in ends.items()}
        return [
            StoredBan(
                peer=ban.peer,
                until=self._ends[ban.peer, ban.until],
                count=scores.count(ban.peer),
                reason=ban.reports[-1].reason if ban.reports else "",
            )
            for ban in bans
        ]


def _stamp(path: Path) -> tuple[int, int] | None:
    """What tells one version of a file from another."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino
