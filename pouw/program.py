"""Programs: an ordered list of ops over named integer tensors, proven exact when they are built.

A program is made by a pure function of a model's manifest and a task's shape, on every node alike; it never
comes from the miner. Tensors that a run produces are numbered: 0 is the input, i the output of op i; the
last one is the answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from pouw.hashing import HASH_BYTES, domain, framed, i64, keyed, u32, u64
from pouw.ops.gather import Gather
from pouw.ops.kind import Bounded, OpKind
from pouw.program_error import ProgramError, ProgramReason
from pouw.tensors import TensorSpec

MAX_OPS: Final = 1 << 16
"""Bounds the tree over a program's tensors at 16 levels."""

MAX_UNITS: Final = 1 << 62
"""Bounds the sum over a commit within 64 bits."""

_PROGRAM: Final = domain("program")

INPUT: Final = "input"
"""The name under which ops refer to the program's input."""


@dataclass(frozen=True, slots=True)
class Weight:
    """A tensor of a model: its shape, the root of its row tree, and the interval that its values keep to."""

    name: str
    spec: TensorSpec
    root: bytes
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Op:
    """One operation: the name of its output, and what it reads: the input, weights, earlier outputs."""

    name: str
    kind: OpKind
    operands: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Source:
    """Where an operand comes from: number `index` of the program's weights, or of the tensors of the run."""

    weight: bool
    index: int


@dataclass(frozen=True, slots=True)
class Step:
    """An op in its place: what it reads, what it gives and what it costs.

    Args:
        op: as it was given to the builder.
        sources: one per operand.
        output: shape and range of the output.
        units_per_row: work units of one output row.
    """

    op: Op
    sources: tuple[Source, ...]
    output: Bounded
    units_per_row: int

    @property
    def units(self) -> int:
        """Work units of the whole op."""
        return self.units_per_row * self.output.spec.rows


@dataclass(frozen=True, slots=True)
class Program:
    """A checked program; made by `build_program` alone.

    Args:
        weights: in the order in which they are numbered.
        tensors: the input's spec, then each op's output's.
        steps: one per op.
        digest: 32 bytes that bind all of it: shapes, types, ranges, constants, names, weight roots and order.
        unit_ends: units of tensors 0..i, for each i; the last is the total.
        kept: numbers of the tensors that later programs take as weights, ascending: the next checkpoint of a
            training run. They are committed as weights are, under a root that does not depend on who made
            them.
    """

    weights: tuple[Weight, ...]
    tensors: tuple[TensorSpec, ...]
    steps: tuple[Step, ...]
    digest: bytes
    unit_ends: tuple[int, ...]
    kept: tuple[int, ...] = ()

    @property
    def units(self) -> int:
        """Work units of one run."""
        return self.unit_ends[-1]

    @property
    def last(self) -> int:
        """The number of the tensor that is the answer."""
        return len(self.tensors) - 1

    def name_of(self, tensor: int) -> str:
        """The name of a tensor of the run."""
        return INPUT if tensor == 0 else self.steps[tensor - 1].op.name


def require_weights(weights: Sequence[Weight], specs: Sequence[tuple[str, TensorSpec]]) -> None:
    """Check that a manifest names the tensors of its shape: these, in this order, with roots.

    Raises:
        ProgramError: WEIGHT.
    """
    got = [(weight.name, weight.spec) for weight in weights]
    for expected, found in zip(specs, [*got, ("nothing", None)], strict=False):
        if expected != found:
            raise ProgramError(ProgramReason.WEIGHT, f"{found[0]}: {found[1]}, expected {expected}")
    if any(len(weight.root) != HASH_BYTES for weight in weights):
        raise ProgramError(ProgramReason.WEIGHT, f"a root that is not {HASH_BYTES} bytes")


def build_program(
    program_input: TensorSpec, weights: Sequence[Weight], ops: Sequence[Op], *, kept: Sequence[str] = ()
) -> Program:
    """Check a program and number its tensors.

    Args:
        program_input: shape and type of the input; its values may be anything the type holds.
        weights: the model's tensors that the ops name.
        ops: in order of execution.
        kept: names of the outputs that later programs take as weights.

    Raises:
        ProgramError: SHAPE, DTYPE, CONSTANT or RANGE from an op; NAME; EMPTY; WEIGHT.
    """
    known: dict[str, tuple[Source, Bounded]] = {}
    whole = Bounded(program_input, program_input.dtype.low, program_input.dtype.high)
    _name(known, INPUT, (Source(False, 0), whole))
    for index, weight in enumerate(weights):
        _check_weight(weight)
        _name(known, weight.name, (Source(True, index), Bounded(weight.spec, weight.low, weight.high)))
    if not 1 <= len(ops) <= MAX_OPS:
        raise ProgramError(ProgramReason.EMPTY, f"a program of {len(ops)} ops, allowed are 1..{MAX_OPS}")
    steps = []
    for index, op in enumerate(ops):
        unknown = [name for name in op.operands if name not in known]
        if unknown:
            raise ProgramError(ProgramReason.NAME, f"op {op.name} reads {unknown[0]}, which nothing gives")
        sources, operands = zip(*(known[name] for name in op.operands), strict=True)
        if isinstance(op.kind, Gather) and sources[0] != known[INPUT][0]:
            raise ProgramError(
                ProgramReason.SHAPE, f"op {op.name} gathers by {op.operands[0]}, not by the input"
            )
        step = Step(op, sources, op.kind.infer(operands), op.kind.cost([value.spec for value in operands]))
        _name(known, op.name, (Source(False, index + 1), step.output))
        steps.append(step)
    return _finish(program_input, tuple(weights), tuple(steps), kept=_numbers(steps, kept))


def _numbers(steps: Sequence[Step], kept: Sequence[str]) -> tuple[int, ...]:
    numbers = [number for number, step in enumerate(steps, start=1) if step.op.name in set(kept)]
    if len(numbers) != len(kept):
        raise ProgramError(
            ProgramReason.NAME, f"{len(kept)} tensors to keep, {len(numbers)} of them are outputs"
        )
    return tuple(numbers)


def _name(known: dict[str, tuple[Source, Bounded]], name: str, value: tuple[Source, Bounded]) -> None:
    if name in known:
        raise ProgramError(ProgramReason.NAME, f"two tensors called {name}")
    known[name] = value


def _check_weight(weight: Weight) -> None:
    if len(weight.root) != HASH_BYTES:
        raise ProgramError(
            ProgramReason.WEIGHT, f"{weight.name} has a root of {len(weight.root)} bytes, not 32"
        )
    dtype = weight.spec.dtype
    if not dtype.low <= weight.low <= weight.high <= dtype.high:
        raise ProgramError(
            ProgramReason.RANGE,
            f"{weight.name} from {weight.low} to {weight.high} is no {dtype.name} interval",
        )


def _finish(
    program_input: TensorSpec, weights: tuple[Weight, ...], steps: tuple[Step, ...], *, kept: tuple[int, ...]
) -> Program:
    tensors = (program_input, *(step.output.spec for step in steps))
    unit_ends = tuple(accumulate((step.units for step in steps), initial=0))
    if not 1 <= unit_ends[-1] <= MAX_UNITS:
        raise ProgramError(ProgramReason.EMPTY, f"{unit_ends[-1]} units, allowed are 1..{MAX_UNITS}")
    return Program(
        weights=weights,
        tensors=tensors,
        steps=steps,
        digest=_digest(program_input, weights, steps, kept=kept),
        unit_ends=unit_ends,
        kept=kept,
    )


def _digest(
    program_input: TensorSpec, weights: tuple[Weight, ...], steps: tuple[Step, ...], *, kept: tuple[int, ...]
) -> bytes:
    parts = [_encode(Bounded(program_input, program_input.dtype.low, program_input.dtype.high))]
    parts.append(u32(len(weights)))
    for weight in weights:
        value = Bounded(weight.spec, weight.low, weight.high)
        parts.append(framed(weight.name.encode(), _encode(value), weight.root))
    parts.append(u32(len(steps)))
    for step in steps:
        sources = b"".join(bytes([source.weight]) + u32(source.index) for source in step.sources)
        kind = step.op.kind.encode()
        parts.append(
            framed(step.op.name.encode(), kind, sources, _encode(step.output), u64(step.units_per_row))
        )
    if kept:
        parts.append(b"".join(map(u32, kept)))
    return keyed(_PROGRAM, framed(*parts))


def _encode(value: Bounded) -> bytes:
    spec = value.spec
    return u32(spec.dtype) + u64(spec.rows) + u64(spec.cols) + i64(value.low) + i64(value.high)
