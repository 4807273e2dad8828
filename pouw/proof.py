"""The proof of a commit: what it is made of, its wire form, and every reason for which one can be refused."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from pouw.binding import MAX_ITEMS, MAX_SUM
from pouw.fields import FieldError, measure, read_all, read_bytes, read_int, read_list
from pouw.hashing import HASH_BYTES
from pouw.tensors import MAX_ROWS

VERSION: Final = 1
"""First field of every proof; another layout gets another number."""

MAX_PROOF_BYTES: Final = 64 * 1024
"""Largest encoded proof that is read unless the caller allows more: wide models have rows of kilobytes."""

MAX_NAME_BYTES: Final = 64
"""Longest chain id, miner key and seed."""

_MAX_TENSORS: Final = 1 << 17

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
    """An opened row is longer or shorter than its tensor's shape says."""
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
class OpenedLeaf:
    """A leaf of a row tree.

    Args:
        tensor: number of the tensor in the item's run, or among the weights that the proof opens.
        leaf: its index.
        data: the bytes of its rows; empty for the input, whose rows the checker derives.
    """

    tensor: int
    leaf: int
    data: bytes


@dataclass(frozen=True, slots=True)
class OpenedItem:
    """What is opened of one item; `pouw.openings.plan_item` says which.

    Args:
        index: position in the commit.
        roots: roots of the tensors concerned, joined.
        root_path: their siblings in the tree over the item's tensors, joined.
        leaves: opened leaves, by tensor and leaf.
        path: siblings of the leaves, tensor by tensor, joined.
    """

    index: int
    roots: bytes
    root_path: bytes
    leaves: tuple[OpenedLeaf, ...]
    path: bytes


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
        weight_path: their siblings, tensor by tensor, joined.
    """

    chain_id: bytes
    miner: bytes
    seed: bytes
    units: int
    items: tuple[OpenedItem, ...]
    sum_hashes: bytes
    sum_units: tuple[int, ...]
    weights: tuple[OpenedLeaf, ...]
    weight_path: bytes

    def to_fields(self) -> list[Any]:
        """The proof as nested lists of integers and bytes."""
        return [
            VERSION,
            self.chain_id,
            self.miner,
            self.seed,
            self.units,
            [
                [item.index, item.roots, item.root_path, _leaf_fields(item.leaves), item.path]
                for item in self.items
            ],
            self.sum_hashes,
            list(self.sum_units),
            _leaf_fields(self.weights),
            self.weight_path,
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
    version, *rest = read_list(fields, "proof", length=10)
    if read_int(version, "version", limit=MAX_SUM) != VERSION:
        raise FieldError(f"proof version {version}, this is {VERSION}")
    chain_id, miner, seed, units, items, hashes, sum_units, weights, path = rest
    return Proof(
        chain_id=read_bytes(chain_id, "chain id", limit=MAX_NAME_BYTES),
        miner=read_bytes(miner, "miner", limit=MAX_NAME_BYTES),
        seed=read_bytes(seed, "seed", limit=MAX_NAME_BYTES),
        units=read_int(units, "units", limit=MAX_SUM),
        items=read_all(items, "items", read=_item),
        sum_hashes=_hashes(hashes, "sum hashes"),
        sum_units=read_all(sum_units, "sum units", read=_sum),
        weights=read_all(weights, "weights", read=_leaf),
        weight_path=_hashes(path, "weight path"),
    )


def _item(value: object) -> OpenedItem:
    index, roots, root_path, leaves, path = read_list(value, "item", length=5)
    return OpenedItem(
        index=read_int(index, "item index", limit=MAX_ITEMS),
        roots=_hashes(roots, "roots"),
        root_path=_hashes(root_path, "root path"),
        leaves=read_all(leaves, "leaves", read=_leaf),
        path=_hashes(path, "path"),
    )


def _leaf(value: object) -> OpenedLeaf:
    tensor, leaf, data = read_list(value, "leaf", length=3)
    return OpenedLeaf(
        tensor=read_int(tensor, "tensor", limit=_MAX_TENSORS),
        leaf=read_int(leaf, "leaf index", limit=MAX_ROWS),
        data=read_bytes(data, "rows", limit=_UNLIMITED),
    )


def _leaf_fields(leaves: tuple[OpenedLeaf, ...]) -> list[Any]:
    return [[leaf.tensor, leaf.leaf, leaf.data] for leaf in leaves]


def _hashes(value: object, what: str) -> bytes:
    return read_bytes(value, what, limit=_UNLIMITED, unit=HASH_BYTES)


def _sum(value: object) -> int:
    return read_int(value, "a sum", limit=MAX_SUM)
