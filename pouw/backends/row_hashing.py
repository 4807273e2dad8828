"""The seam between a commit and a device that hashes."""

from collections.abc import Sequence
from typing import Any, Protocol

from pouw.tensors import TensorSpec
from pouw.trees.rows import Nodes, Rows, Tree


class RowHashing(Protocol):
    """Row trees of tensors where they lie, with the bits of `pouw.trees.rows.hash_one_by_one`.

    Every call orders its hashes after what computes the tensor and beside what comes next, and returns at
    once. `pouw.backends.known_rows` tests a device on start-up.
    """

    def tree(self, key: bytes, spec: TensorSpec, tensor: Any) -> Tree:
        """A tensor with a tree of its own.

        Args:
            key: of its leaves, from `pouw.trees.rows.tensor_key`.
            spec: its shape and type.
            tensor: the backend's own; must not change.
        """

    def leaves(self, key: bytes, spec: TensorSpec, tensor: Any) -> Rows:
        """A tensor with its leaves alone, for `shared`; see `tree`."""

    def shared(self, members: Sequence[Any], *, parts: Sequence[int], lines: int) -> Nodes:
        """The tree of tensors whose rows lie side by side, line by line; see `pouw.trees.bundles`.

        Args:
            members: from `leaves`.
            parts: leaves of a line, of each.
            lines: how many.
        """
