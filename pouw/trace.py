"""Running a program: every tensor that is committed is kept, and nothing else."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pouw.backends.backend import Backend
from pouw.program import Program, Source
from pouw.program_error import ProgramError, ProgramReason
from pouw.rows import RowTree
from pouw.tensors import Array
from pouw.weights import Weights


@dataclass(frozen=True, slots=True)
class Trace:
    """All tensors of one run.

    Args:
        weights: the model it was made with.
        tensors: the input, then each step's output, on the host.
        trees: row trees of kept tensors, by number, as far as somebody has made them: whoever commits to a
            step of training and whoever trains on need the same ones.
    """

    weights: Weights
    tensors: tuple[Array, ...]
    trees: dict[int, RowTree] = field(default_factory=dict, compare=False, repr=False)

    @property
    def answer(self) -> Array:
        """The output of the last op."""
        return self.tensors[-1]

    @property
    def size(self) -> int:
        """Bytes that the tensors take."""
        return sum(tensor.nbytes for tensor in self.tensors)


Take = Callable[[int, Array], None]
"""Is given each tensor of a run, by number, as soon as it is there."""


def run_program(
    program: Program, weights: Weights, inputs: Array, backend: Backend, *, take: Take | None = None
) -> Trace:
    """Run a program.

    Args:
        program: what to run.
        weights: the model; checked once with `Weights.check` when it was loaded.
        inputs: the program's input, of exactly its shape and type.
        backend: where to run it.
        take: sees every tensor while the next ones are computed; it must not change them, nor take long.

    Raises:
        ProgramError: SHAPE if the input has another shape or type than the program's.
    """
    if not program.tensors[0].holds(inputs):
        raise ProgramError(
            ProgramReason.SHAPE,
            f"input of {inputs.dtype} {inputs.shape}, the program wants {program.tensors[0]}",
        )
    run = Run(program, weights.on(backend), backend.put(inputs))
    host: list[Array] = []

    def fetch(tensor: Any) -> None:
        host.append(inputs if not host else backend.get(tensor))
        if take:
            take(len(host) - 1, host[-1])

    for output in program.order:
        ready = run.tensors[len(host) :] if take else []
        run.hold(output, run.step_of(output).op.kind.run(backend, run.operands(output)))
        for tensor in ready:
            # One op behind: a device has the next one to do while this waits for the last.
            fetch(tensor)
    for tensor in run.tensors[len(host) :]:
        fetch(tensor)
    return Trace(weights, tuple(host))


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
