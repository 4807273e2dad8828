"""A model's tensors on the machine that works with them."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from pouw.backends.backend import Backend
from pouw.program import Program
from pouw.program_error import ProgramError, ProgramReason
from pouw.tensors import Array, DType, TensorSpec
from pouw.trees.bulk_rows import hash_in_bulk
from pouw.trees.rows import WEIGHTS, RowTree, Tree


def spec_of(array: Array) -> TensorSpec:
    """The shape and type of a host array.

    Raises:
        ProgramError: SHAPE if it is not 2-D; DTYPE if it is not a little-endian signed integer.
    """
    if array.ndim != 2:
        raise ProgramError(ProgramReason.SHAPE, f"an array of {array.ndim} dimensions, tensors have 2")
    for dtype in DType:
        if dtype.numpy == array.dtype:
            return TensorSpec(array.shape[0], array.shape[1], dtype)
    raise ProgramError(ProgramReason.DTYPE, f"an array of {array.dtype}, tensors are int8, 16, 32 or 64")


class Weights:
    """Named tensors, their commitments, and their copies on a backend, each made when first asked for.

    Args:
        arrays: copied and frozen; those that nobody may write to, as a mapped file, are taken as they are.
        trees: row trees of some of them, where they are there already.

    Raises:
        ProgramError: SHAPE or DTYPE, from `spec_of`.
    """

    def __init__(self, arrays: Mapping[str, Array], *, trees: Mapping[str, Tree] | None = None) -> None:
        self._arrays = {name: _frozen(array) for name, array in arrays.items()}
        self._specs = {name: spec_of(array) for name, array in self._arrays.items()}
        self._trees = {name: tree.over(self._arrays[name]) for name, tree in (trees or {}).items()}
        self._placed: dict[int, tuple[Backend, dict[str, Any]]] = {}

    def array(self, name: str) -> Array:
        """A tensor on the host, read-only."""
        return self._arrays[name]

    def tree(self, name: str) -> Tree:
        """A tensor's row tree, whose root the model's manifest names."""
        if name not in self._trees:
            spec, array = self._specs[name], self._arrays[name]
            self._trees[name] = RowTree(WEIGHTS, 0, spec=spec, array=array, hasher=hash_in_bulk)
        return self._trees[name]

    def on(self, backend: Backend) -> Mapping[str, Any]:
        """All tensors as the backend's own."""
        if id(backend) not in self._placed:
            placed = {name: backend.put(array) for name, array in self._arrays.items()}
            self._placed[id(backend)] = (backend, placed)
        return self._placed[id(backend)][1]

    def check(self, program: Program) -> None:
        """Compare with what a program was built for.

        Raises:
            ProgramError: WEIGHT if one is missing, has another shape or other bytes, or leaves its interval.
        """
        for weight in program.weights:
            if self._specs.get(weight.name) != weight.spec:
                raise ProgramError(
                    ProgramReason.WEIGHT,
                    f"{weight.name} is {self._specs.get(weight.name)} here, the program wants {weight.spec}",
                )
            if self.tree(weight.name).root != weight.root:
                raise ProgramError(
                    ProgramReason.WEIGHT,
                    f"{weight.name} has root {self.tree(weight.name).root.hex()}, not {weight.root.hex()}",
                )
            low, high = int(self._arrays[weight.name].min()), int(self._arrays[weight.name].max())
            if low < weight.low or high > weight.high:
                raise ProgramError(
                    ProgramReason.WEIGHT,
                    f"{weight.name} holds {low}..{high}, its interval is {weight.low}..{weight.high}",
                )


def _frozen(array: Array) -> Array:
    owner: object = array
    # A view that may not be written to is worth nothing while what it looks at may be.
    while isinstance(owner, np.ndarray) and not owner.flags.writeable:
        owner = owner.base
    if not isinstance(owner, np.ndarray) and array.flags.c_contiguous:
        return array
    copy: Array = np.array(array, order="C")
    copy.setflags(write=False)
    return copy
