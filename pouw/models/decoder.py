"""Text generation: a prefill, then one token at a time over a cache, with the trace that proves the whole.

Step by step, the tensors of the steps are put side by side; what results is, bit for bit, the trace of one
program that reads prompt and answer at once. That program is what a miner commits to and a verifier builds:
how the miner got there, alone or in a batch, leaves no trace.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from pouw.backends.backend import Backend
from pouw.hashing import HASH_BYTES
from pouw.models.llama import CHOICE, LlamaManifest, Span, cache_names, llama_program
from pouw.models.token_sampling import Sampling
from pouw.program import INPUT, Program, Weight
from pouw.program_error import ProgramError, ProgramReason
from pouw.tensors import Array, index_dtype
from pouw.trace import Run, Trace
from pouw.weights import Weights, spec_of

_UNNAMED: Final = bytes(HASH_BYTES)
"""The root of a cache that stays on this machine: nobody else ever builds a step's program."""


@dataclass(frozen=True, slots=True)
class Generation:
    """What was written, and the proof of it.

    Args:
        tokens: [sequences, count], in the type of the answer.
        programs: of each sequence, from `answer_program`.
        traces: of each sequence, as `run_program` would give it.
    """

    tokens: Array
    programs: tuple[Program, ...]
    traces: tuple[Trace, ...]


def answer_program(
    manifest: LlamaManifest, *, prompt: int, count: int, sampling: Sampling | None = None
) -> Program:
    """The program that stands for one answer: it reads prompt and answer and chooses the answer again.

    Args:
        manifest: the model.
        prompt: tokens of the prompt, at least 1.
        count: tokens of the answer, at least 1.
        sampling: with one seed; None for the greatest logit.

    Raises:
        ProgramError: see `llama_program`.
    """
    return llama_program(manifest, Span(1, 0, prompt + count - 1, count), sampling=sampling)


def answer_input(prompt: Array, answer: Array) -> Array:
    """The input of an answer's program: the prompt, and all of the answer but its last token.

    Args:
        prompt: [n, 1].
        answer: [count, 1] of the same type.
    """
    return np.concatenate([prompt, answer[:-1]])


def generate(
    manifest: LlamaManifest,
    weights: Weights,
    prompts: Array,
    count: int,
    backend: Backend,
    *,
    sampling: Sampling | None = None,
) -> Generation:
    """Write answers.

    Args:
        manifest: the model.
        weights: its tensors.
        prompts: [sequences, n] tokens.
        count: tokens to write after each.
        backend: where to run.
        sampling: one seed per sequence; None for the greatest logits.

    Raises:
        ProgramError: SHAPE if there is nothing to read or to write, or more than the model has positions.
    """
    if prompts.ndim != 2 or prompts.size == 0 or count < 1:
        raise ProgramError(ProgramReason.SHAPE, f"{count} tokens after prompts of {prompts.shape}")
    dtype = index_dtype(manifest.shape.vocabulary).numpy
    sequences, length = prompts.shape
    proven = answer_program(manifest, prompt=length, count=count)
    names = frozenset(map(proven.name_of, range(len(proven.tensors))))
    run = _Run(manifest, weights, backend, sequences, names)
    fresh = prompts.astype(dtype)
    for step in range(count):
        past = length + step - 1 if step else 0
        fresh = run.step(fresh, past=past, sampling=sampling)
    return run.finish(length=length, count=count, sampling=sampling)


@dataclass(slots=True)
class _Run:
    manifest: LlamaManifest
    weights: Weights
    backend: Backend
    sequences: int
    names: frozenset[str]
    """What the program of a whole answer commits to."""
    cache: dict[str, Any] = field(default_factory=dict)
    pieces: dict[str, list[Array]] = field(default_factory=dict)

    def step(self, tokens: Array, *, past: int, sampling: Sampling | None) -> Array:
        """Read tokens [sequences, n]; gives the chosen successors [sequences, 1]."""
        span = Span(self.sequences, past, tokens.shape[1], 1)
        # A step commits to nothing, and what an answer commits to depends on how long it is.
        program = llama_program(self.manifest, span, sampling=sampling, cache=self._cached(), whole=True)
        models: Mapping[str, Any] = {**self.weights.on(self.backend), **self.cache}
        inputs = np.ascontiguousarray(tokens.reshape(-1, 1))
        run = Run(program, models, self.backend.put(inputs))
        for output in program.order:
            kind = program.step_of(output).op.kind
            run.hold(output, kind.run(self.backend, run.operands(output)))
        kept = cache_names(self.manifest.shape.layers)
        for number, tensor in enumerate(run.tensors):
            name = program.name_of(number)
            if name in kept:
                self.cache[f"cached {name}"] = tensor
            elif name in self.names:
                self.pieces.setdefault(name, []).append(self.backend.get(tensor))
        return self.pieces[CHOICE][-1].reshape(self.sequences, 1)

    def _cached(self) -> list[Weight]:
        specs = {name: spec_of(self.backend.get(tensor)) for name, tensor in self.cache.items()}
        return [Weight(name, spec, _UNNAMED, -127, 127) for name, spec in specs.items()]

    def finish(self, *, length: int, count: int, sampling: Sampling | None) -> Generation:
        """All steps as one trace per sequence."""
        programs, traces = [], []
        for sequence in range(self.sequences):
            alone = sampling and sampling.of(sequence)
            program = answer_program(self.manifest, prompt=length, count=count, sampling=alone)
            tensors = (self._tensor(program, number, sequence) for number in range(len(program.tensors)))
            programs.append(program)
            traces.append(Trace(self.weights, tuple(tensors)))
        tokens = np.stack([trace.answer[:, 0] for trace in traces])
        return Generation(tokens, tuple(programs), tuple(traces))

    def _tensor(self, program: Program, number: int, sequence: int) -> Array:
        """A tensor of a sequence's own program, put together from the steps of all."""
        name, spec = program.name_of(number), program.tensors[number]
        if f"cached {name}" in self.cache:
            whole = self.backend.get(self.cache[f"cached {name}"])
            if name.startswith("values"):
                return np.ascontiguousarray(whole[:, sequence * spec.cols : (sequence + 1) * spec.cols])
            return np.ascontiguousarray(whole[sequence * spec.rows : (sequence + 1) * spec.rows])
        pieces = [self._mine(piece, sequence) for piece in self.pieces[name]]
        # Heads lie one after another: each is a block of its own, which every step continues.
        blocks = spec.rows // sum(self._length(i) for i in range(len(pieces))) if name != INPUT else 1
        if name in ("logits", CHOICE):
            blocks = 1
        joined = np.concatenate([_widened(piece, blocks, spec.cols) for piece in pieces], axis=1)
        return joined.reshape(spec.rows, spec.cols)

    def _mine(self, piece: Array, sequence: int) -> Array:
        rows = piece.shape[0] // self.sequences
        return piece[sequence * rows : (sequence + 1) * rows]

    def _length(self, step: int) -> int:
        return len(self.pieces[INPUT][step]) // self.sequences


def _widened(piece: Array, blocks: int, cols: int) -> Array:
    """A piece by blocks; attention weights of earlier steps are 0 for the keys that came later."""
    wide = np.zeros((blocks, piece.shape[0] // blocks, cols), piece.dtype)
    wide[:, :, : piece.shape[1]] = piece.reshape(blocks, -1, piece.shape[1])
    return wide
