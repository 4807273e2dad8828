"""Running a program: every tensor that crosses an op boundary is kept, because every one is committed."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pouw.backends.backend import Backend
from pouw.program import Program
from pouw.program_error import ProgramError, ProgramReason
from pouw.rows import RowTree
from pouw.tensors import Array
from pouw.weights import Weights


@dataclass(frozen=True, slots=True)
class Trace:
    """All tensors of one run.

    Args:
        weights: the model it was made with.
        tensors: the input, then each op's output, on the host.
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
    placed = weights.on(backend)
    models = [placed[weight.name] for weight in program.weights]
    tensors: list[Any] = [backend.put(inputs)]
    host: list[Array] = []

    def fetch(tensor: Any) -> None:
        host.append(inputs if not host else backend.get(tensor))
        if take:
            take(len(host) - 1, host[-1])

    for step in program.steps:
        operands = [models[s.index] if s.weight else tensors[s.index] for s in step.sources]
        tensors.append(step.op.kind.run(backend, operands))
        if take:
            # One op behind: a device has the next one to do while this waits for the last.
            fetch(tensors[-2])
    for tensor in tensors[len(host) :]:
        fetch(tensor)
    return Trace(weights, tuple(host))
