"""The proof of a commit: what it is made of, its wire form, and every reason for which one can be refused."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from pouw.fields import FieldError, measure, read_all, read_bytes, read_int, read_list
from pouw.hashing import HASH_BYTES
from pouw.proofs.binding import MAX_ITEMS, MAX_SUM

VERSION: Final = 3
"""First field of every proof; another layout gets another number."""

MAX_PROOF_BYTES: Final = 64 * 1024
"""Largest encoded proof that is read unless the caller allows more: wide models have rows of kilobytes."""

MAX_NAME_BYTES: Final = 64
"""Longest chain id, miner key and seed."""

PLACES_BYTES: Final = 8
"""Enough to name a mistake; what binds the places is that they are derived."""

TAG_BYTES: Final = 4
"""Of a hash, enough to name a mistake; what binds it is that it is derived, and leads to the commit."""

_UNLIMITED: Final = 1 << 32
"""For bytes that the size of the whole proof already bounds."""


class ProofReason(IntEnum):
    """Why a proof is refused. The numbers go into receipts and never change."""

    MALFORMED = 1
    """Not the nested lists, bytes and integers that a proof consists of."""
    OVERSIZE = 2
    """More bytes, or larger numbers, than a proof may have."""
    WRONG_CHAIN = 3
    """Made for another chain."""
    WRONG_MINER = 4
    """Made by, and for, another miner."""
    WRONG_SEED = 5
    """Answers another draw: an old proof, or one for a block that is not final."""
    EMPTY_COMMIT = 6
    """A commit of no items, or of more than a commit may have."""
    UNITS_MISMATCH = 7
    """Claims other units than the commit's items cost."""
    ITEM_ORDER = 8
    """Opened items not ascending, one twice, or one beyond the commit's last."""
    DUPLICATE_ITEM = 9
    """Two opened items are the same task."""
    BAD_SUM = 10
    """A node of the sum tree that carries less than its items must, or more than 64 bits hold."""
    INFLATED_SUMS = 11
    """The opened items and the sums beside them do not add up to the commit's totals."""
    PATH_LENGTH = 12
    """A path with too few or too many nodes for the tree it climbs."""
    CELL_NOT_OPENED = 13
    """No opened item holds a position that was drawn."""
    CELL_NOT_DRAWN = 14
    """An item is opened that no draw hits and no answer asks for."""
    WRONG_POSITION = 15
    """Rows of other places are opened than those that the drawn cells need."""
    ROW_SIZE = 16
    """The opened rows take more or fewer bytes than their tensors' shapes say, or more than their values
    need."""
    COMMIT_MISMATCH = 17
    """The opened items do not lead to the commit: other work, or bound to another chain, miner, task or
    program."""
    ROW_NOT_COMMITTED = 18
    """An opened row of the trace does not lead to its tensor's root: altered, of another place, or no row
    at all."""
    WEIGHT_NOT_IN_MODEL = 19
    """An opened weight row does not lead to the root that the model's manifest names."""
    INPUT_MISMATCH = 20
    """The committed input is not the one that the task, or the commons, prescribes."""
    ANSWER_MISMATCH = 21
    """The answer that was given is not the output of the committed run's last op."""
    ANSWER_SHAPE = 22
    """The answer that was given does not have the shape and type of the program's output."""
    WRONG_CELL = 23
    """A committed value is not what its op makes of the committed rows it depends on."""


class ProofError(Exception):
    """A proof that is refused; the fault of whoever made it.

    Args:
        reason: one code.
        message: a sentence with both values.
    """

    def __init__(self, reason: ProofReason, message: str) -> None:
        super().__init__(f"{reason.name}: {message}")
        self.reason = reason
        self.message = message


@dataclass(frozen=True, slots=True)
class OpenedRows:
    """Opened leaves of several row trees, by tensor and leaf; which ones follows from the draws.

    Args:
        places: a short hash of their places, see `pouw.proofs.openings.name_places`.
        widths: of the runs of neighbouring leaves, see `pouw.proofs.packing`.
        rows: the runs; those of the input are left out, since the checker derives them.
        path: siblings of the leaves, tensor by tensor, joined.
    """

    places: bytes
    widths: bytes
    rows: bytes
    path: bytes


@dataclass(frozen=True, slots=True)
class OpenedItem:
    """What is opened of one item; `pouw.proofs.openings.plan_item` says which.

    Args:
        index: position in the commit.
        roots: those that nothing else tells, joined.
        tags: the first bytes of the item's context and of all other roots, to which opened leaves lead, or
            what was told, joined.
        root_path: the siblings of both in the tree over the item's roots, joined.
        opened: leaves of the tensors.
    """

    index: int
    roots: bytes
    tags: bytes
    root_path: bytes
    opened: OpenedRows


@dataclass(frozen=True, slots=True)
class Proof:
    """Openings of the cells that a seed drew from a commit.

    Args:
        chain_id: the chain that the commit is bound to.
        miner: who made it.
        seed: what the cells were drawn from.
        units: total of the commit.
        items: opened items, ascending.
        sum_hashes: their siblings in the sum tree, joined.
        sum_units: units of each sibling.
        weights: opened leaves of the models; tensors are numbered by root.
    """

    chain_id: bytes
    miner: bytes
    seed: bytes
    units: int
    items: tuple[OpenedItem, ...]
    sum_hashes: bytes
    sum_units: tuple[int, ...]
    weights: OpenedRows

    def to_fields(self) -> list[Any]:
        """The proof as nested lists of integers and bytes."""
        return [
            VERSION,
            self.chain_id,
            self.miner,
            self.seed,
            self.units,
            [
                [item.index, item.roots, item.tags, item.root_path, _row_fields(item.opened)]
                for item in self.items
            ],
            self.sum_hashes,
            list(self.sum_units),
            _row_fields(self.weights),
        ]

    @staticmethod
    def from_fields(fields: object, *, max_bytes: int = MAX_PROOF_BYTES) -> "Proof":
        """Read a proof, strictly.

        Args:
            fields: what a codec decoded; sequences may be lists or tuples.
            max_bytes: largest encoded size.

        Raises:
            ProofError: MALFORMED, OVERSIZE.
        """
        try:
            measure(fields, limit=max_bytes)
            return _proof(fields)
        except FieldError as error:
            reason = ProofReason.OVERSIZE if error.oversize else ProofReason.MALFORMED
            raise ProofError(reason, str(error)) from error


def _proof(fields: object) -> Proof:
    version, *rest = read_list(fields, "proof", length=9)
    if read_int(version, "version", limit=MAX_SUM) != VERSION:
        raise FieldError(f"proof version {version}, this is {VERSION}")
    chain_id, miner, seed, units, items, hashes, sum_units, weights = rest
    return Proof(
        chain_id=read_bytes(chain_id, "chain id", limit=MAX_NAME_BYTES),
        miner=read_bytes(miner, "miner", limit=MAX_NAME_BYTES),
        seed=read_bytes(seed, "seed", limit=MAX_NAME_BYTES),
        units=read_int(units, "units", limit=MAX_SUM),
        items=read_all(items, "items", read=_item),
        sum_hashes=_hashes(hashes, "sum hashes"),
        sum_units=read_all(sum_units, "sum units", read=_sum),
        weights=_rows(weights),
    )


def _item(value: object) -> OpenedItem:
    index, roots, tags, root_path, opened = read_list(value, "item", length=5)
    return OpenedItem(
        index=read_int(index, "item index", limit=MAX_ITEMS),
        roots=_hashes(roots, "roots"),
        tags=read_bytes(tags, "tags", limit=_UNLIMITED, unit=TAG_BYTES),
        root_path=_hashes(root_path, "root path"),
        opened=_rows(opened),
    )


def _rows(value: object) -> OpenedRows:
    places, widths, rows, path = read_list(value, "opened rows", length=4)
    return OpenedRows(
        places=read_bytes(places, "places", limit=PLACES_BYTES),
        widths=read_bytes(widths, "widths", limit=_UNLIMITED),
        rows=read_bytes(rows, "rows", limit=_UNLIMITED),
        path=_hashes(path, "path"),
    )


def _row_fields(opened: OpenedRows) -> list[Any]:
    return [opened.places, opened.widths, opened.rows, opened.path]


def _hashes(value: object, what: str) -> bytes:
    return read_bytes(value, what, limit=_UNLIMITED, unit=HASH_BYTES)


def _sum(value: object) -> int:
    return read_int(value, "a sum", limit=MAX_SUM)
