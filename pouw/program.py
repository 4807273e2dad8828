"""Programs: an ordered list of ops over named integer tensors, proven exact when they are built.

A program is made by a pure function of a model's manifest and a task's shape, on every node alike; it never
comes from the miner. Tensors that a run commits to are numbered: 0 is the input, i the output of step i; the
last one is the answer.

An op may be *inline*: its output is not committed. Whoever checks a cell that reads of it computes that part
again, from what the op reads in its turn. What it costs is drawn with the first committed step that reads it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Final

from pouw.hashing import HASH_BYTES, domain, framed, i64, keyed, u32, u64
from pouw.ops.cells import by_element
from pouw.ops.gather import Gather
from pouw.ops.kind import Bounded, OpKind
from pouw.program_error import ProgramError, ProgramReason
from pouw.tensors import FINE_LEAF, TensorSpec
from pouw.trees.bundles import Bundles, bundled

MAX_OPS: Final = 1 << 16
"""Bounds the tree over a program's tensors at 16 levels."""

MAX_UNITS: Final = 1 << 62
"""Bounds the sum over a commit within 64 bits."""

MAX_DEPTH: Final = 4
"""Most inline ops in a chain: what a check computes again for one value stays small."""

MOST_BUNDLED: Final = 4
"""Tensors of one tree, in a program for small proofs: each makes all paths of the others a little longer."""

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

    @property
    def is_constant(self) -> bool:
        """Whether its interval says what all of it is, so that nobody needs to open any."""
        return self.low == self.high


@dataclass(frozen=True, slots=True)
class Op:
    """One operation: the name of its output, and what it reads: the input, weights, earlier outputs.

    Args:
        name: of the output.
        kind: what is done.
        operands: names.
        inline: whether the output is not committed.
    """

    name: str
    kind: OpKind
    operands: tuple[str, ...]
    inline: bool = False


@dataclass(frozen=True, slots=True)
class Source:
    """Where an operand comes from: number `index` of the program's weights, inline ops, or tensors."""

    weight: bool
    index: int
    inline: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """An op in its place: what it reads, what it gives and what it costs.

    Args:
        op: as it was given to the builder.
        sources: one per operand.
        output: shape and range of the output.
        units_per_row: work units of one output row, and its part of what the inline ops cost that this step
            is the first to read.
        cost: work units of the op alone.
    """

    op: Op
    sources: tuple[Source, ...]
    output: Bounded
    units_per_row: int
    cost: int

    @property
    def units(self) -> int:
        """Work units of the whole step."""
        return self.units_per_row * self.output.spec.rows


@dataclass(frozen=True, slots=True)
class Program:
    """A checked program; made by `build_program` alone.

    Args:
        weights: in the order in which they are numbered.
        tensors: the input's spec, then each step's output's.
        steps: one per op that is not inline.
        inlines: the others.
        order: what is computed, one thing after the other: numbers of `tensors` and of `inlines`.
        digest: 32 bytes that bind all of it: shapes, types, ranges, constants, names, weight roots and order.
        unit_ends: units of tensors 0..i, for each i; the last is the total.
        bundles: which tensors share a tree.
        kept: numbers of the tensors that later programs take as weights, ascending: the next checkpoint of a
            training run. They are committed as weights are, under a root that does not depend on who made
            them.
    """

    weights: tuple[Weight, ...]
    tensors: tuple[TensorSpec, ...]
    steps: tuple[Step, ...]
    inlines: tuple[Step, ...]
    order: tuple[Source, ...]
    digest: bytes
    unit_ends: tuple[int, ...]
    bundles: Bundles
    kept: tuple[int, ...] = ()

    @property
    def units(self) -> int:
        """Work units of one run."""
        return self.unit_ends[-1]

    @property
    def last(self) -> int:
        """The number of the tensor that is the answer."""
        return len(self.tensors) - 1

    def step_of(self, output: Source) -> Step:
        """What computes an output of `order`, or an operand that is inline."""
        return self.inlines[output.index] if output.inline else self.steps[output.index - 1]

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
    program_input: TensorSpec,
    weights: Sequence[Weight],
    ops: Sequence[Op],
    *,
    kept: Sequence[str] = (),
    small: bool = False,
) -> Program:
    """Check a program and number its tensors.

    Args:
        program_input: shape and type of the input; its values may be anything the type holds.
        weights: the model's tensors that the ops name.
        ops: in order of execution.
        kept: names of the outputs that later programs take as weights.
        small: whether what is committed is laid out for small proofs rather than for quick hashing: in leaves
            of FINE_LEAF bytes at most, and in bundles. Those that are kept are committed as weights are.

    Raises:
        ProgramError: SHAPE, DTYPE, CONSTANT or RANGE from an op; NAME; EMPTY; WEIGHT.
    """
    if not 1 <= len(ops) <= MAX_OPS:
        raise ProgramError(ProgramReason.EMPTY, f"a program of {len(ops)} ops, allowed are 1..{MAX_OPS}")
    parts = _Parts(program_input, weights)
    for op in ops:
        parts.add(op)
    return parts.finish(program_input, tuple(weights), kept, small=small)


class _Parts:
    """A program as far as it has been built."""

    def __init__(self, program_input: TensorSpec, weights: Sequence[Weight]) -> None:
        self._steps: list[Step] = []
        self._inlines: list[Step] = []
        self._order: list[Source] = []
        self._depths: list[int] = []
        self._unread: dict[int, int] = {}  # units of the inline ops that no committed step has read yet
        self._known: dict[str, tuple[Source, Bounded]] = {}
        whole = Bounded(program_input, program_input.dtype.low, program_input.dtype.high)
        self._name(INPUT, Source(False, 0), whole)
        for index, weight in enumerate(weights):
            _check_weight(weight)
            self._name(weight.name, Source(True, index), Bounded(weight.spec, weight.low, weight.high))

    def add(self, op: Op) -> None:
        unknown = [name for name in op.operands if name not in self._known]
        if unknown:
            raise ProgramError(ProgramReason.NAME, f"op {op.name} reads {unknown[0]}, which nothing gives")
        sources, operands = zip(*(self._known[name] for name in op.operands), strict=True)
        if isinstance(op.kind, Gather) and sources[0] != self._known[INPUT][0]:
            raise ProgramError(
                ProgramReason.SHAPE, f"op {op.name} gathers by {op.operands[0]}, not by the input"
            )
        output, cost = op.kind.infer(operands), op.kind.cost([value.spec for value in operands])
        depth = self._check_inline(op, sources)
        units = cost * output.spec.rows + sum(self._unread.pop(s.index, 0) for s in sources if s.inline)
        per_row, rest = divmod(units, output.spec.rows)
        if rest:
            raise ProgramError(ProgramReason.SHAPE, f"op {op.name} reads inline units of no whole rows")
        step = Step(op, sources, output, per_row, cost)
        if op.inline:
            source = Source(False, len(self._inlines), inline=True)
            self._inlines.append(step)
            self._depths.append(depth + 1)
            self._unread[source.index] = units
        else:
            self._steps.append(step)
            source = Source(False, len(self._steps))
        self._order.append(source)
        self._name(op.name, source, output)

    def _check_inline(self, op: Op, sources: Sequence[Source]) -> int:
        """The longest chain of inline ops that an op reads from."""
        needs = {need.operand: need for need in op.kind.needs(0, 0)}
        for number, source in enumerate(sources):
            if not source.inline or number not in needs:
                continue
            read = self._inlines[source.index].op
            if by_element(read.kind) and needs[number].cols is None:
                raise ProgramError(
                    ProgramReason.SHAPE,
                    f"op {op.name} reads whole rows of {read.name}, of which every element is work",
                )
        depth = max((self._depths[source.index] for source in sources if source.inline), default=0)
        if depth > MAX_DEPTH:
            raise ProgramError(
                ProgramReason.SHAPE, f"op {op.name} reads a chain of {depth} inline ops, at most {MAX_DEPTH}"
            )
        return depth

    def _name(self, name: str, source: Source, value: Bounded) -> None:
        if name in self._known:
            raise ProgramError(ProgramReason.NAME, f"two tensors called {name}")
        self._known[name] = source, value

    def finish(
        self, program_input: TensorSpec, weights: tuple[Weight, ...], kept: Sequence[str], *, small: bool
    ) -> Program:
        """The program, with its digest."""
        if self._unread:
            names = [self._inlines[index].op.name for index in self._unread]
            raise ProgramError(ProgramReason.NAME, f"no committed step depends on {names[0]}")
        steps, inlines = tuple(self._steps), tuple(self._inlines)
        unit_ends = tuple(accumulate((step.units for step in steps), initial=0))
        if not 1 <= unit_ends[-1] <= MAX_UNITS:
            raise ProgramError(ProgramReason.EMPTY, f"{unit_ends[-1]} units, allowed are 1..{MAX_UNITS}")
        numbers = _numbers(steps, kept)
        tensors = tuple(
            replace(spec, largest_leaf=FINE_LEAF) if small and number not in numbers else spec
            for number, spec in enumerate((program_input, *(step.output.spec for step in steps)))
        )
        return Program(
            weights=weights,
            tensors=tensors,
            steps=steps,
            inlines=inlines,
            order=tuple(self._order),
            digest=_digest(program_input, weights, steps, inlines=inlines, kept=numbers, small=small),
            unit_ends=unit_ends,
            kept=numbers,
            bundles=bundled(
                tensors,
                most=MOST_BUNDLED if small else 1,
                alone=(0, len(steps), *numbers),
                beside=lambda number: _beside(steps[number - 1]),
            ),
        )


def _beside(step: Step) -> Iterator[int]:
    """The tensors whose row i decides row i of a step's output, among others perhaps, for every i."""
    last = step.output.spec.rows - 1
    first_read, last_read = step.op.kind.needs(0, 0), step.op.kind.needs(last, 0)
    for first, final in zip(first_read, last_read, strict=False):
        source = step.sources[first.operand]
        alike = first.operand == final.operand and (first.row, final.row) == (0, last)
        if alike and not source.weight and not source.inline and source.index:
            yield source.index


def _numbers(steps: Sequence[Step], kept: Sequence[str]) -> tuple[int, ...]:
    numbers = [number for number, step in enumerate(steps, start=1) if step.op.name in set(kept)]
    if len(numbers) != len(kept):
        raise ProgramError(
            ProgramReason.NAME, f"{len(kept)} tensors to keep, {len(numbers)} of them are committed outputs"
        )
    return tuple(numbers)


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


def _digest(
    program_input: TensorSpec,
    weights: tuple[Weight, ...],
    steps: tuple[Step, ...],
    *,
    inlines: tuple[Step, ...],
    kept: tuple[int, ...],
    small: bool,
) -> bytes:
    parts = [_encode(Bounded(program_input, program_input.dtype.low, program_input.dtype.high))]
    parts.append(u32(len(weights)))
    for weight in weights:
        value = Bounded(weight.spec, weight.low, weight.high)
        parts.append(framed(weight.name.encode(), _encode(value), weight.root))
    parts.append(u32(len(steps)))
    parts.extend(map(_encode_step, steps))
    if inlines:
        parts.append(b"inline" + u32(len(inlines)))
        parts.extend(map(_encode_step, inlines))
    if kept:
        parts.append(b"".join(map(u32, kept)))
    if small:
        parts.append(b"small" + u32(FINE_LEAF) + u32(MOST_BUNDLED))
    return keyed(_PROGRAM, framed(*parts))


def _encode_step(step: Step) -> bytes:
    sources = b"".join(bytes([s.weight + 2 * s.inline]) + u32(s.index) for s in step.sources)
    name, kind = step.op.name.encode(), step.op.kind.encode()
    return framed(name, kind, sources, _encode(step.output), u64(step.units_per_row))


def _encode(value: Bounded) -> bytes:
    spec = value.spec
    return u32(spec.dtype) + u64(spec.rows) + u64(spec.cols) + i64(value.low) + i64(value.high)
