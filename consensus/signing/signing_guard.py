"""What keeps a key from ever contradicting itself: every statement is on disk before its signature leaves.

The log lies outside the database, so that restoring an old database cannot rewind it. Rules, per (epoch,
view):

- at most one proposal and at most one notarize; a repeat returns what was stored, byte for byte;
- finalize and nullify exclude each other, and finalize names one block;
- nothing below the watermark: what is over and was compacted away, or may have been signed elsewhere before
  the key came here (`raise_watermark`);
- a record torn by a power cut counts as signed, because a disk that lies may have let the signature out:
  only the very same statement may be signed again (ed25519 gives the very same signature), a lost proposal
  not at all. If the torn record does not tell its view, nothing is proposed, notarized or finalized up to
  one view above the highest in the log. To nullify stays allowed: a cluster that loses power as one must be
  able to leave such views. What that does not cover: a node that a certificate took further up, and that
  signed there on a disk that lied; the watch may still hear that signature before it signs again.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from chain.types.statement import NOTHING, Kind, Statement
from consensus.signing.disk import Disk, DiskBusyError
from consensus.signing.guard_log import RECORD_BYTES, Reading, Record, RecordKind, read_log, write_record

_COMPACT_ABOVE: Final = 8 << 20
"""Bytes of log worth a rewrite; smaller logs just grow. What is kept in memory is never more than the log."""


class GuardReason(Enum):
    """Why the guard refused."""

    LOG_MISSING = "log_missing"
    LOG_EXISTS = "log_exists"
    LOG_CORRUPT = "log_corrupt"
    LOG_IN_USE = "log_in_use"
    WRONG_OWNER = "wrong_owner"
    CONFLICT = "conflict"
    BELOW_WATERMARK = "below_watermark"
    BURNT = "burnt"


class GuardError(Exception):
    """A signature that must not be made, or a log that cannot be relied on."""

    def __init__(self, reason: GuardReason, message: str) -> None:
        super().__init__(f"{reason.value}: {message}")
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that was signed."""

    statement: Statement
    stored: bytes
    """A vote's signature, or the encoded proposal; empty if it was lost."""


class SigningGuard:
    """The statements of one key on one chain."""

    def __init__(self, disk: Disk, reading: Reading, owner: Record, size: int) -> None:
        """Use `create_log` and `open_log`."""
        self._disk = disk
        self._owner = owner
        self._size = size
        self._watermark = (0, 0)
        self._place: bytes | None = None
        self._burnt: tuple[int, int] | None = None
        self._signed: dict[tuple[int, int], dict[Kind, Entry]] = {}
        for record in reading.records:
            self._take(record)
        if reading.torn is not None:
            self._bury(reading.torn.head)

    def entries(self, epoch: int) -> tuple[Entry, ...]:
        """What was signed in ``epoch``, in the order of views, for sending it again."""
        views = sorted(key for key in self._signed if key[0] == epoch)
        return tuple(entry for key in views for entry in self._signed[key].values())

    def covers(self, statement: Statement) -> bool:
        """Whether this very statement was signed here, or may have been and its record is gone."""
        at = (statement.epoch, statement.view)
        entry = self._signed.get(at, {}).get(statement.kind)
        if entry is None:
            return at < self._watermark or (self._burnt is not None and at <= self._burnt)
        return entry.statement == statement

    def stored(self, statement: Statement) -> bytes | None:
        """What was stored for this kind in this view, if it may be released for ``statement``.

        For a proposal that is the stored one whatever its block; for a vote it is the very same statement's.

        Raises:
            GuardError: CONFLICT, BELOW_WATERMARK or BURNT.
        """
        where = f"epoch {statement.epoch} view {statement.view}"
        if (statement.epoch, statement.view) < self._watermark:
            epoch, view = self._watermark
            raise GuardError(GuardReason.BELOW_WATERMARK, f"{where} is below epoch {epoch} view {view}")
        signed = self._signed.get((statement.epoch, statement.view), {})
        earlier = signed.get(statement.kind)
        if earlier is not None:
            if statement.kind is Kind.PROPOSE:
                if not earlier.stored:
                    raise GuardError(GuardReason.BURNT, f"a proposal of {where} was lost when power failed")
                return earlier.stored
            if earlier.statement != statement:
                raise GuardError(
                    GuardReason.CONFLICT,
                    f"{where}: signed {_name(earlier.statement)}, asked for {_name(statement)}",
                )
            return earlier.stored or None
        opposite = {Kind.FINALIZE: Kind.NULLIFY, Kind.NULLIFY: Kind.FINALIZE}.get(statement.kind)
        if opposite is not None and opposite in signed:
            raise GuardError(
                GuardReason.CONFLICT,
                f"{where}: signed {_name(signed[opposite].statement)}, asked for {_name(statement)}",
            )
        at = (statement.epoch, statement.view)
        if self._burnt is not None and at <= self._burnt and statement.kind is not Kind.NULLIFY:
            raise GuardError(
                GuardReason.BURNT, f"{where} may hold a signature that was lost when power failed"
            )
        return None

    def record(self, statement: Statement, payload: bytes) -> None:
        """Make a statement durable; only after this returns may its signature leave.

        Raises:
            OSError: The disk failed: the node must stop, for nobody knows what the disk holds now.
        """
        assert self.stored(statement) is None, "a repeat is answered from the log"
        entry = Record(RecordKind(statement.kind), statement.epoch, statement.view, statement.digest, payload)
        data = write_record(entry)
        self._disk.append(data)
        self._size += len(data)
        self._take(entry)

    def finish_epochs(self, below: int) -> None:
        """Nothing will be signed below this epoch any more; drops its records once that is worth it."""
        self.raise_watermark(below, 0)

    @property
    def is_full(self) -> bool:
        """Whether the log is so large that `forget` may make it smaller."""
        return self._size >= _COMPACT_ABOVE

    def forget(self, epoch: int, view: int) -> None:
        """Nothing will be signed below this view any more: drop it, once half of a full log can go.

        So the log is rewritten once in many blocks, and holds at most `_COMPACT_ABOVE` bytes, or what was
        signed from ``view`` on and half of that much.
        """
        mark = (epoch, view)
        if not self.is_full or mark <= self._watermark:
            return
        later = (signed.values() for at, signed in self._signed.items() if at >= mark)
        kept = sum(RECORD_BYTES + len(entry.stored) for entries in later for entry in entries)
        if self._size - kept >= _COMPACT_ABOVE // 2:
            self._take(Record(RecordKind.WATERMARK, epoch, view, NOTHING, b""))
            self._rewrite()

    def raise_watermark(self, epoch: int, view: int) -> None:
        """Nothing will be signed below this view any more; a watermark never falls."""
        if (epoch, view) > self._watermark:
            self._mark(Record(RecordKind.WATERMARK, epoch, view, NOTHING, b""))

    @property
    def newest(self) -> tuple[int, int]:
        """Epoch and view up to which the log was in use: its last signature, or watermark."""
        return max([self._watermark, self._burnt or (0, 0), *self._signed])

    @property
    def is_in_place(self) -> bool:
        """Whether the log lies where it lay when the key was last let sign."""
        return self._place == self._disk.place()

    def settle(self) -> None:
        """From now on the key signs here."""
        if not self.is_in_place:
            self._mark(Record(RecordKind.PLACE, 0, 0, self._disk.place(), b""))

    def unsettle(self) -> None:
        """The key signed elsewhere since it was let sign here."""
        self._mark(Record(RecordKind.PLACE, 0, 0, NOTHING, b""))

    def highest(self, *kinds: Kind) -> tuple[int, int] | None:
        """The highest view in which one of ``kinds`` may have been signed; None if none ever was."""
        found = [at for at, entries in self._signed.items() if any(kind in entries for kind in kinds)]
        found += [] if self._burnt is None else [self._burnt]
        return max(found, default=None)

    @property
    def watermark(self) -> tuple[int, int]:
        """Epoch and view below which nothing is signed."""
        return self._watermark

    def _mark(self, mark: Record) -> None:
        data = write_record(mark)
        if self._size < _COMPACT_ABOVE:
            self._disk.append(data)
            self._size += len(data)
            self._take(mark)
        else:
            self._take(mark)
            self._rewrite()

    def close(self) -> None:
        """Release the log for another process."""
        self._disk.close()

    def _take(self, record: Record) -> None:
        if record.kind is RecordKind.WATERMARK:
            self._watermark = max(self._watermark, (record.epoch, record.view))
            self._signed = {key: value for key, value in self._signed.items() if key >= self._watermark}
        elif record.kind is RecordKind.PLACE:
            self._place = record.digest
        elif record.kind is RecordKind.BURNT:
            self._burnt = max(self._burnt or (0, 0), (record.epoch, record.view))
        elif record.kind is RecordKind.LOST:
            self._put(Record(RecordKind(record.payload[0]), record.epoch, record.view, record.digest, b""))
        elif record.kind is not RecordKind.OWNER:
            self._put(record)

    def _put(self, record: Record) -> None:
        statement = Statement(Kind(record.kind), record.epoch, record.view, record.digest)
        self._signed.setdefault((record.epoch, record.view), {})[statement.kind] = Entry(
            statement, record.payload
        )

    def _bury(self, head: Record | None) -> None:
        """Write down what a torn record may have covered, in place of it."""
        if head is not None and head.kind <= RecordKind.FINALIZE:
            if Kind(head.kind) not in self._signed.get((head.epoch, head.view), {}):
                self._take(Record(RecordKind.LOST, head.epoch, head.view, head.digest, bytes([head.kind])))
        elif head is None:
            start, first = self._watermark
            epoch, view = max(self._signed, default=(start, first - 1))
            self._take(Record(RecordKind.BURNT, epoch, view + 1, NOTHING, b""))
        self._rewrite()

    def _rewrite(self) -> None:
        records = [self._owner, Record(RecordKind.WATERMARK, *self._watermark, NOTHING, b"")]
        if self._place is not None:
            records.append(Record(RecordKind.PLACE, 0, 0, self._place, b""))
        if self._burnt is not None:
            records.append(Record(RecordKind.BURNT, *self._burnt, NOTHING, b""))
        for key in sorted(self._signed):
            for kind, entry in self._signed[key].items():
                lost = not entry.stored
                payload = bytes([kind]) if lost else entry.stored
                name = RecordKind.LOST if lost else RecordKind(kind)
                records.append(Record(name, *key, entry.statement.digest, payload))
        data = b"".join(write_record(record) for record in records)
        self._disk.replace(data)
        self._size = len(data)


def create_log(disk: Disk, *, chain_id: str, public_key: bytes, signs_here: bool = True) -> SigningGuard:
    """Start the log of a key that has never signed anything on this chain.

    Args:
        disk: Where the log is to lie.
        chain_id: The chain.
        public_key: The key.
        signs_here: False if the key signed elsewhere: then whoever opens the log watches first.

    Raises:
        GuardError: LOG_EXISTS or LOG_IN_USE.
    """
    _lock(disk)
    if disk.read() is not None:
        disk.close()
        raise GuardError(GuardReason.LOG_EXISTS, "this key has a signing log; open it instead")
    owner = Record(RecordKind.OWNER, 0, 0, public_key, chain_id.encode())
    data = write_record(owner)
    data += write_record(Record(RecordKind.PLACE, 0, 0, disk.place(), b"")) if signs_here else b""
    disk.replace(data)
    return SigningGuard(disk, read_log(data), owner, len(data))


def open_log(disk: Disk, *, chain_id: str, public_key: bytes) -> SigningGuard:
    """Open the log of a key that may have signed before.

    Raises:
        GuardError: LOG_MISSING, LOG_CORRUPT, LOG_IN_USE or WRONG_OWNER.
    """
    _lock(disk)
    try:
        data = disk.read()
        if data is None:
            raise GuardError(
                GuardReason.LOG_MISSING,
                "the signing log of this key is not here, and without it the key could contradict what it "
                "signed before. Put the log back, or use a new key. If the key comes from another machine, "
                "import what that one exported (`headrace guard import`). Make an empty log (`headrace guard "
                "create`) only if this key never signed on this chain",
            )
        reading = read_log(data)
        if reading.damage is not None or not reading.records:
            raise GuardError(
                GuardReason.LOG_CORRUPT,
                f"the signing log is bad at byte {reading.damage or 0} of {len(data)}, and no power cut "
                "does that. Restore it from this machine's disk or retire the key; an older copy is not safe",
            )
        owner = reading.records[0]
        expected = Record(RecordKind.OWNER, 0, 0, public_key, chain_id.encode())
        if owner != expected:
            raise GuardError(
                GuardReason.WRONG_OWNER,
                f"the log is of key {owner.digest.hex()} on {owner.payload.decode(errors='replace')}, "
                f"ours is {public_key.hex()} on {chain_id}",
            )
        return SigningGuard(disk, reading, owner, len(data))
    except GuardError:
        disk.close()
        raise


def _lock(disk: Disk) -> None:
    try:
        disk.lock()
    except DiskBusyError as error:
        raise GuardError(GuardReason.LOG_IN_USE, f"{error}: one signer, one lock") from error


def _name(statement: Statement) -> str:
    return (
        statement.kind.name
        if statement.digest == NOTHING
        else f"{statement.kind.name} {statement.digest.hex()}"
    )
