"""Running a program: every tensor that crosses an op boundary is kept, because every one is committed."""

from dataclasses import dataclass
from typing import Any

from pouw.backends.backend import Backend
from pouw.program import Program
from pouw.program_error import ProgramError, ProgramReason
from pouw.tensors import Array
from pouw.weights import Weights


@dataclass(frozen=True, slots=True)
class Trace:
    """All tensors of one run.

    Args:
        weights: the model it was made with.
        tensors: the input, then each op's output, on the host.
    """

    weights: Weights
    tensors: tuple[Array, ...]

    @property
    def answer(self) -> Array:
        """The output of the last op."""
        return self.tensors[-1]

    @property
    def size(self) -> int:
        """Bytes that the tensors take."""
        return sum(tensor.nbytes for tensor in self.tensors)


def run_program(program: Program, weights: Weights, inputs: Array, backend: Backend) -> Trace:
    """Run a program.

    Args:
        program: what to run.
        weights: the model; checked once with `Weights.check` when it was loaded.
        inputs: the program's input, of exactly its shape and type.
        backend: where to run it.

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
    for step in program.steps:
        operands = [models[s.index] if s.weight else tensors[s.index] for s in step.sources]
        tensors.append(step.op.kind.run(backend, operands))
    return Trace(weights, (inputs, *(backend.get(tensor) for tensor in tensors[1:])))
