"""Running a program: every tensor that is committed is kept, and nothing else."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

from pouw.backends.backend import Backend
from pouw.program import Program, Source
from pouw.program_error import ProgramError, ProgramReason
from pouw.tensors import Array
from pouw.trees.rows import Tree
from pouw.weights import Weights


class Outputs(Sequence[Array]):
    """The committed tensors of a run, as arrays of the host; each is fetched when it is first asked for.

    Args:
        backend: where they lie.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._there: list[Any] = []
        self._here: dict[int, Array] = {}

    def add(self, there: Any, here: Array | None = None) -> None:
        """Take the next one.

        Args:
            there: the backend's own.
            here: the same on the host, if it is there.
        """
        if here is not None:
            self._here[len(self._there)] = here
        self._there.append(there)

    def there(self, number: int) -> Any:
        """A tensor as the backend holds it; for whoever asks before it is fetched, which lets go of it."""
        return self._there[number]

    def __len__(self) -> int:
        return len(self._there)

    @overload
    def __getitem__(self, number: int) -> Array: ...

    @overload
    def __getitem__(self, number: slice) -> tuple[Array, ...]: ...

    def __getitem__(self, number: int | slice) -> Array | tuple[Array, ...]:
        places = range(len(self))[number]
        return self._fetch(places) if isinstance(places, int) else tuple(map(self._fetch, places))

    def _fetch(self, number: int) -> Array:
        if number not in self._here:
            self._here[number] = self._backend.get(self._there[number])
        self._there[number] = None
        return self._here[number]


@dataclass(frozen=True, slots=True)
class Trace:
    """All tensors of one run.

    Args:
        weights: the model it was made with.
        tensors: the input, then each step's output, on the host or, in `Outputs`, on their way there.
        trees: row trees of kept tensors, by number, as far as somebody has made them: whoever commits to a
            step of training and whoever trains on need the same ones.
    """

    weights: Weights
    tensors: Sequence[Array]
    trees: dict[int, Tree] = field(default_factory=dict, compare=False, repr=False)

    @property
    def answer(self) -> Array:
        """The output of the last op."""
        return self.tensors[-1]


Take = Callable[[int, Outputs], None]
"""Is told of each tensor of a run, by number, as soon as the op that computes it was ordered."""


def trace_bytes(program: Program) -> int:
    """Bytes that the tensors of a run take, wherever they lie."""
    return sum(spec.rows * spec.row_bytes for spec in program.tensors)


def run_program(
    program: Program, weights: Weights, inputs: Array, backend: Backend, *, take: Take | None = None
) -> Trace:
    """Run a program.

    Args:
        program: what to run.
        weights: the model; checked once with `Weights.check` when it was loaded.
        inputs: the program's input, of exactly its shape and type.
        backend: where to run it.
        take: is told of every tensor before the next one is ordered; must not change it, nor take long.

    Raises:
        ProgramError: SHAPE if the input has another shape or type than the program's.
    """
    if not program.tensors[0].holds(inputs):
        raise ProgramError(
            ProgramReason.SHAPE,
            f"input of {inputs.dtype} {inputs.shape}, the program wants {program.tensors[0]}",
        )
    first, outputs = backend.put(inputs), Outputs(backend)
    run = Run(program, weights.on(backend), first)

    def add(there: Any, here: Array | None = None) -> None:
        outputs.add(there, here)
        if take:
            take(len(outputs) - 1, outputs)

    add(first, inputs)
    for output in program.order:
        value = run.step_of(output).op.kind.run(backend, run.operands(output))
        run.hold(output, value)
        if not output.inline:
            add(value)
    return Trace(weights, outputs)


class Run:
    """A run as far as it has come.

    Args:
        program: what is run.
        models: tensors by the names of the program's weights.
        first: the input.
    """

    def __init__(self, program: Program, models: Mapping[str, Any], first: Any) -> None:
        self.tensors: list[Any] = [first]
        """What is committed, as far as it has been computed."""
        self.step_of = program.step_of
        self._models = [models[weight.name] for weight in program.weights]
        self._inlines: dict[int, Any] = {}
        self._last = {
            source.index: output
            for output in program.order
            for source in program.step_of(output).sources
            if source.inline
        }

    def operands(self, output: Source) -> list[Any]:
        """What the op of an output reads; everything before it is there."""
        return [self._value(source) for source in self.step_of(output).sources]

    def _value(self, source: Source) -> Any:
        if source.inline:
            return self._inlines[source.index]
        return self._models[source.index] if source.weight else self.tensors[source.index]

    def hold(self, output: Source, value: Any) -> None:
        """Keep an output; what is not committed, until the last op that reads it."""
        if output.inline:
            self._inlines[output.index] = value
        else:
            self.tensors.append(value)
        for source in self.step_of(output).sources:
            if source.inline and self._last[source.index] == output:
                self._inlines.pop(source.index, None)
