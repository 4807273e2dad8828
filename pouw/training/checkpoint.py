"""Checkpoints: the state of a model between two steps of training, as everybody knows it and as bytes.

A checkpoint is a list of tensors by root. A step's program names these roots as its weights and keeps as
many outputs, whose roots are the next checkpoint's: so whoever has a commit to a step and the program's
digest knows which model came of it, and nobody can put another one in its place.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from pouw.hashing import domain, framed, i64, keyed, u32, u64
from pouw.program import Program, Weight
from pouw.program_error import ProgramError, ProgramReason
from pouw.tensors import Array
from pouw.trace import Trace
from pouw.trees.bulk_rows import hash_in_bulk
from pouw.trees.rows import WEIGHTS, RowTree, Tree
from pouw.weights import Weights

_CHECKPOINT: Final = domain("checkpoint")

_NEXT: Final = "next "


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a verifier knows of a model in training.

    Args:
        step: updates that led here.
        tensors: in a fixed order, with the intervals that every update keeps to.
    """

    step: int
    tensors: tuple[Weight, ...]

    @property
    def digest(self) -> bytes:
        """32 bytes that bind all of it."""
        parts = (
            framed(
                tensor.name.encode(),
                u32(tensor.spec.dtype) + u64(tensor.spec.rows) + u64(tensor.spec.cols),
                i64(tensor.low) + i64(tensor.high),
                tensor.root,
            )
            for tensor in self.tensors
        )
        return keyed(_CHECKPOINT, u64(self.step) + framed(*parts))

    def tensor(self, name: str) -> Weight:
        """The tensor of a name, which must be there."""
        return next(tensor for tensor in self.tensors if tensor.name == name)

    def after(self, roots: Sequence[bytes]) -> "Checkpoint":
        """The checkpoint that a step leads to.

        Args:
            roots: of the step's kept tensors, in this checkpoint's order.

        Raises:
            ProgramError: WEIGHT if there are more or fewer.
        """
        if len(roots) != len(self.tensors):
            raise ProgramError(
                ProgramReason.WEIGHT, f"{len(roots)} roots for a checkpoint of {len(self.tensors)} tensors"
            )
        tensors = (replace(old, root=root) for old, root in zip(self.tensors, roots, strict=True))
        return Checkpoint(self.step + 1, tuple(tensors))


@dataclass(frozen=True, slots=True)
class TrainingState:
    """A checkpoint together with its numbers.

    Args:
        checkpoint: what everybody knows.
        weights: its tensors, and the constants that programs name beside them.
    """

    checkpoint: Checkpoint
    weights: Weights


def next_name(name: str) -> str:
    """What a step's program calls the tensor that takes another's place in the next checkpoint."""
    return _NEXT + name


def kept_roots(program: Program, trace: Trace) -> tuple[bytes, ...]:
    """The roots of a run's kept tensors, in the program's order.

    Args:
        program: what was run.
        trace: what came of it.
    """
    return tuple(_kept_tree(program, trace, number).root for number in program.kept)


def _kept_tree(program: Program, trace: Trace, number: int) -> Tree:
    """Made once: by whoever commits to the run, or here."""
    if number not in trace.trees:
        spec, array = program.tensors[number], trace.tensors[number]
        trace.trees[number] = RowTree(WEIGHTS, 0, spec=spec, array=array, hasher=hash_in_bulk)
    return trace.trees[number]


def advance(
    checkpoint: Checkpoint, program: Program, trace: Trace, *, constants: Mapping[str, Array]
) -> TrainingState:
    """The state that a step leads to.

    Args:
        checkpoint: before.
        program: the step, built for that checkpoint.
        trace: its run.
        constants: what programs name beside the checkpoint.
    """
    numbers = {program.name_of(number): number for number in program.kept}
    kept = {tensor.name: numbers[next_name(tensor.name)] for tensor in checkpoint.tensors}
    trees = {name: _kept_tree(program, trace, number) for name, number in kept.items()}
    arrays = {name: trace.tensors[number] for name, number in kept.items()}
    weights = Weights({**arrays, **constants}, trees=trees)
    roots = [tree.root for tree in trees.values()]
    return TrainingState(checkpoint.after(roots), weights)


def dump_state(state: TrainingState) -> bytes:
    """The tensors of a checkpoint as raw little-endian numbers, one after the other."""
    return b"".join(state.weights.array(tensor.name).tobytes() for tensor in state.checkpoint.tensors)


def load_state(checkpoint: Checkpoint, raw: bytes, constants: Mapping[str, Array]) -> TrainingState:
    """Take up training where it was left.

    Args:
        checkpoint: known to be right.
        raw: from `dump_state`, by whoever had it.
        constants: what programs name beside the checkpoint.

    Raises:
        ProgramError: WEIGHT if the bytes are not the checkpoint's.
    """
    arrays: dict[str, Array] = dict(constants)
    sizes = [tensor.spec.rows * tensor.spec.row_bytes for tensor in checkpoint.tensors]
    if sum(sizes) != len(raw):
        raise ProgramError(ProgramReason.WEIGHT, f"{len(raw)} bytes, the checkpoint has {sum(sizes)}")
    start = 0
    for tensor, size in zip(checkpoint.tensors, sizes, strict=True):
        values = np.frombuffer(raw[start : start + size], tensor.spec.dtype.numpy)
        arrays[tensor.name] = values.reshape(tensor.spec.rows, tensor.spec.cols)
        start += size
    weights = Weights(arrays)
    check_weights(checkpoint, weights)
    return TrainingState(checkpoint, weights)


def check_weights(checkpoint: Checkpoint, weights: Weights) -> None:
    """Compare numbers with the roots that everybody knows.

    Raises:
        ProgramError: WEIGHT if a tensor has another root than the checkpoint says, or leaves its interval.
    """
    for tensor in checkpoint.tensors:
        root = weights.tree(tensor.name).root
        if root != tensor.root:
            raise ProgramError(
                ProgramReason.WEIGHT, f"{tensor.name} has root {root.hex()}, not {tensor.root.hex()}"
            )
        low, high = int(weights.array(tensor.name).min()), int(weights.array(tensor.name).max())
        if low < tensor.low or high > tensor.high:
            raise ProgramError(
                ProgramReason.WEIGHT,
                f"{tensor.name} holds {low}..{high}, its interval is {tensor.low}..{tensor.high}",
            )
