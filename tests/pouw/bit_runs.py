"""One environment's part of `bit_equality`: runs the work, and prints the roots and who computed them.

`python -m tests.pouw.bit_runs '{"backend": "cpu", ...}'`
"""

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from blake3 import blake3

from pouw.backends.backend import Backend
from pouw.backends.known_answer import check_backend
from pouw.backends.select import select_backend
from pouw.models.decoder import generate
from pouw.models.llama import LlamaShape, Span, llama_program
from pouw.models.token_sampling import Sampling
from pouw.program import Program
from pouw.proofs.commitment import CommitBuilder
from pouw.trace import Trace, run_program
from tests.pouw import text_world, training_world
from tests.pouw.drawn_ops import Drawn, for_drawn, result
from tests.pouw.llama_world import MANIFEST, WEIGHTS, integer_llama, texts

WIDE = LlamaShape(
    vocabulary=64, width=256, layers=1, heads=4, kv_heads=2, head_dim=64, hidden=640, positions=160
)
"""Large enough to be dealt out to threads and to be computed in blocks."""


@dataclass(frozen=True)
class Request:
    """What an environment is asked for.

    Args:
        backend: a device, or "interpreter" for the GPU's kernels on the host.
        threads: of the host.
        loops: see `pouw.backends.select.Loops`.
        torch_first: let torch read its environment before the package can change it.
        examples: drawn ops of each family.
        steps: of training the perceptron.
        text_steps: of training the transformer.
        texts: that are answered together, and one by one.
        tokens: of each answer.
    """

    backend: str
    threads: int
    loops: str
    torch_first: bool
    examples: int
    steps: int
    text_steps: int
    texts: int
    tokens: int


def commit_root(program: Program, trace: Trace) -> str:
    """The root that a miner would publish."""
    builder = CommitBuilder(b"chain", b"miner")
    builder.add(bytes(32), program, trace)
    return builder.root.hex()


def joined(roots: Iterable[str]) -> str:
    """Many roots as one."""
    return blake3("".join(roots).encode()).hexdigest()


def inference(backend: Backend, request: Request) -> dict[str, str]:
    """Roots over prefill, decoding and batches, which must also be those of one another."""
    roots = {}
    size, count = request.texts, request.tokens
    prompts = texts(size, 9)
    for how, sampling in (("greedy", None), ("drawn", Sampling(tuple(b"%d" % i for i in range(size))))):
        name = f"{size} texts of {count} tokens, {how}"
        batch = generate(MANIFEST, WEIGHTS, prompts, count, backend, sampling=sampling)
        roots[f"batch: {name}"] = joined(map(commit_root, batch.programs, batch.traces))
        alone = [
            generate(
                MANIFEST, WEIGHTS, prompts[i : i + 1], count, backend,
                sampling=sampling and Sampling((sampling.seeds[i],), sampling.temperature),
            )
            for i in range(size)
        ]  # fmt: skip
        roots[f"one by one: {name}"] = joined(commit_root(g.programs[0], g.traces[0]) for g in alone)
        whole = [
            run_program(program, WEIGHTS, trace.tensors[0], backend)
            for program, trace in zip(batch.programs, batch.traces, strict=True)
        ]
        roots[f"prefill of all: {name}"] = joined(map(commit_root, batch.programs, whole))
    manifest, weights = integer_llama(WIDE)
    program = llama_program(manifest, Span(1, 0, WIDE.positions, 3))
    tokens = np.ascontiguousarray(texts(WIDE.positions, 1, vocabulary=64))
    roots["a wider prefill"] = commit_root(program, run_program(program, weights, tokens, backend))
    return roots


def training(backend: Backend, request: Request) -> dict[str, str]:
    """Where training the perceptron and the transformer leads."""
    roots = {}
    state = training_world.START
    for index in range(request.steps):
        state = training_world.step(state, index, backend)
    roots[f"{request.steps} steps of the perceptron"] = state.checkpoint.digest.hex()
    state = text_world.START
    for index in range(request.text_steps):
        state = text_world.step(state, index, backend)
    roots[f"{request.text_steps} steps of the transformer"] = state.checkpoint.digest.hex()
    return roots


def draw(examples: int) -> list[Drawn]:
    """Drawn ops, for which nothing but the reference may be loaded yet.

    Hypothesis draws what it finds in the sources of loaded modules, too: other modules, other draws.
    """
    found: list[Drawn] = []
    for_drawn(examples, lambda kind, operands: found.append((kind, operands)))
    return found


def drawn(backend: Backend, ops: list[Drawn], request: Request) -> dict[str, str]:
    """A hash of what drawn ops give."""
    digest = blake3()
    for kind, operands in ops:
        values = result(backend, kind, operands)
        digest.update(repr((values.shape, values.dtype.str)).encode() + values.tobytes())
    return {f"drawn ops, {request.examples} of a family": f"{len(ops)} {digest.hexdigest()}"}


def open_backend(request: Request) -> Backend:
    """The backend that is asked for, after its known-answer test."""
    if request.backend != "interpreter":
        loops: Any = request.loops
        return select_backend(request.backend, threads=request.threads, loops=loops)
    import torch

    from pouw.backends.cpu import open_cpu
    from pouw.backends.cuda import CudaBackend

    host = open_cpu(threads=request.threads)
    backend: Any = CudaBackend(torch.device("cpu"), fast=host.fast, host=host)
    check_backend(backend)
    return backend  # type: ignore[no-any-return]


def main() -> None:
    """Print one JSON document."""
    request = Request(**json.loads(sys.argv[1]))
    ops = draw(request.examples)
    if request.torch_first:
        import torch

        # With the first product its libraries have read their environment.
        torch._int_mm(torch.ones(32, 32, dtype=torch.int8), torch.ones(32, 32, dtype=torch.int8))
    backend = open_backend(request)
    roots = {
        **drawn(backend, ops, request), **inference(backend, request), **training(backend, request),
    }  # fmt: skip
    loops = getattr(backend, "loops", "torch" if request.backend == "cpu" else "own")
    sys.stdout.write(json.dumps({"name": backend.name, "loops": loops, "roots": roots}))


if __name__ == "__main__":
    main()
