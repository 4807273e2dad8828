"""What transformer work, commits and proofs cost on this machine, beside the same layer in torch float32.

    python -m tests.pouw.transformer_costs [width tokens [layers]]

One decoder layer unless told otherwise, feed-forward of 2.75 widths, a vocabulary of 256. In turns, in one
process: float32, the exact run alone, the exact run with its commit made beside it, and the hashing alone. On
one thread the process is held to one core, so that hashing "beside" has nowhere to hide.
"""

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import mean

import numpy as np
import torch

from pouw.backends.backend import Backend
from pouw.backends.select import select_backend
from pouw.fields import measure
from pouw.models.llama import LlamaManifest, LlamaShape, Span, llama_program
from pouw.ops.cells import cell_at
from pouw.program import Program
from pouw.proofs.commitment import CommitBuilder
from pouw.proofs.proof import Proof
from pouw.proofs.sampling import Placed, draw_cells
from pouw.proofs.sealing import seal
from pouw.proofs.verifier import Statement, WorkItem, check_proof
from pouw.tensors import Array
from pouw.trace import run_program, trace_bytes
from pouw.weights import Weights
from tests.pouw.llama_world import integer_llama, texts
from tests.pouw.world import CHAIN, MINER

SIZES = (
    (128, 64, 1),
    (128, 64, 2),
    (1024, 256, 1),
    (1024, 512, 1),
    (2048, 512, 1),
    (4096, 512, 1),
    (4096, 2048, 1),
)
SAMPLES = 64
SEEDS = 12
SECONDS = 8
"""To spend on each size and number of threads."""


def shape_of(width: int, tokens: int, layers: int) -> LlamaShape:
    """Heads as models of that width have them."""
    dim = 32 if width < 512 else 64 if width < 4096 else 128
    return LlamaShape(
        vocabulary=256, width=width, layers=layers, heads=width // dim, kv_heads=width // dim, head_dim=dim,
        hidden=width * 11 // 4, positions=tokens,
    )  # fmt: skip


class FloatModel:
    """The same layers, eager float32."""

    def __init__(self, shape: LlamaShape, tokens: int) -> None:
        width, self._dim, self._layers = shape.width, shape.head_dim, shape.layers
        self._x = torch.randn(tokens, width)
        self._qkv, self._o = torch.randn(width, 3 * width), torch.randn(width, width)
        self._up, self._down = torch.randn(width, 2 * shape.hidden), torch.randn(shape.hidden, width)

    def __call__(self) -> torch.Tensor:
        x = self._x
        for _ in range(self._layers):
            q, k, v = (self._split(part) for part in (self._norm(x) @ self._qkv).chunk(3, dim=1))
            mixed = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)[0]
            x = x + mixed.transpose(0, 1).reshape(x.shape) @ self._o
            gate, up = (self._norm(x) @ self._up).chunk(2, dim=1)
            x = x + (torch.nn.functional.silu(gate) * up) @ self._down
        return x

    def _norm(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + 1e-6)

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        return x.view(len(x), -1, self._dim).transpose(0, 1)[None]


@dataclass
class Job:
    """A prompt to be read."""

    program: Program
    weights: Weights
    inputs: Array
    shape: LlamaShape
    tokens: int

    def work(self, backend: Backend) -> CommitBuilder:
        """Run and commit."""
        builder = CommitBuilder(CHAIN, MINER, held_bytes=4 << 30)
        builder.work(bytes(32), self.program, self.weights, self.inputs, backend)
        assert builder.root
        return builder


def make_job(width: int, tokens: int, layers: int) -> Job:
    """A model of pseudo-random integers and a text."""
    shape = shape_of(width, tokens, layers)
    model: tuple[LlamaManifest, Weights] = integer_llama(shape)
    program = llama_program(model[0], Span(1, 0, tokens, 1))
    return Job(program, model[1], np.ascontiguousarray(texts(tokens, 1).astype("<i2")), shape, tokens)


Took = dict[str, tuple[float, float]]
"""Milliseconds by the clock and of the processor."""


def in_turns(actions: dict[str, Callable[[], object]]) -> Took:
    """The best of several rounds, each action once a round."""
    best = dict.fromkeys(actions, (float("inf"), float("inf")))
    end = time.monotonic() + SECONDS
    rounds = 0
    while rounds < 3 or time.monotonic() < end:
        rounds += 1
        for name, action in actions.items():
            wall, processor = time.perf_counter(), time.process_time()
            action()
            wall, processor = time.perf_counter() - wall, time.process_time() - processor
            best[name] = min(best[name][0], wall * 1e3), min(best[name][1], processor * 1e3)
    return best


def speed(job: Job, threads: int) -> str:
    """Work and commit, with so many threads on so many cores."""
    cores = sorted(os.sched_getaffinity(0))
    backend = select_backend("cpu", threads=threads, loops="now")
    real = FloatModel(job.shape, job.tokens)

    def in_float() -> None:
        # The backend keeps torch to the calling thread; its own arithmetic may use them all.
        torch.set_num_threads(threads)
        real()
        torch.set_num_threads(1)

    trace = run_program(job.program, job.weights, job.inputs, backend)
    os.sched_setaffinity(0, cores[:threads])
    try:
        took = in_turns(
            {
                "float32": in_float,
                "exact": lambda: run_program(job.program, job.weights, job.inputs, backend),
                "hashing": lambda: seal(bytes(32), job.program, replace(trace, trees={})),
                "committed": lambda: job.work(backend),
            }
        )
    finally:
        os.sched_setaffinity(0, cores)
    (float_took, _), (run, run_cpu), (work, _) = took["float32"], took["exact"], took["committed"]
    columns = ", ".join(f"{name} {wall:.1f} ({cpu:.1f})" for name, (wall, cpu) in took.items())
    return (
        f"  {threads} thread(s), ms by the clock (of processors): {columns}\n"
        f"    to float32: exact {run / float_took:.2f}, committed {work / float_took:.2f}; "
        f"{trace_bytes(job.program) / 1e6:.1f} MB hashed for "
        f"{took['hashing'][1] / run_cpu:.1%} of processor time, "
        f"{work / run - 1:+.1%} by the clock"
    )


def proofs(job: Job) -> str:
    """Size of proofs, and processor time to make and to check them: means over seeds."""
    backend = select_backend("cpu", loops="now")
    builder = job.work(backend)
    item = WorkItem(bytes(32), job.program, job.inputs.__getitem__)
    statement = Statement(CHAIN, MINER, [item], builder.root, builder.units)
    sizes, checks, makes, again = [], [], [], []
    for number in range(SEEDS):
        seed = b"%d" % number
        again.append(computed_again(job.program, seed, root=builder.root))
        start = time.thread_time()
        fields = builder.prove(seed, SAMPLES).to_fields()
        makes.append(time.thread_time() - start)
        sizes.append(measure(fields, limit=1 << 30) / 1024)
        took = []
        for _ in range(8):
            start = time.thread_time()
            proof = Proof.from_fields(fields, max_bytes=1 << 30)
            check_proof(statement, proof, seed=seed, samples=SAMPLES)
            took.append(time.thread_time() - start)
        checks.append(min(took))
    return (
        f"  proof {mean(sizes):.0f} KiB (at most {max(sizes):.0f}), made in {mean(makes) * 1e3:.1f} ms, "
        f"checked in {mean(checks) * 1e3:.1f} ms (at most {max(checks) * 1e3:.1f}); "
        f"{job.program.units:.3g} units, of which it computes one in {job.program.units / max(again):,.0f} "
        f"again"
    )


def computed_again(program: Program, seed: bytes, *, root: bytes) -> float:
    """Units of the cells that a seed draws, and of the inline ops that they are made of."""
    items = [Placed(program, 0)]
    drawn = draw_cells(items, seed=seed, root=root, units=program.units, samples=SAMPLES, claims=[])
    total = 0.0
    for _, cell in drawn:
        if cell.tensor:
            step = program.steps[cell.tensor - 1]
            cols = step.output.spec.cols
            total += step.units_per_row * len(cell_at(step.op.kind, cell.col, cols=cols)) / cols
    return total


def main() -> None:
    """Print the table, or one size of it."""
    parser = argparse.ArgumentParser(prog="python -m tests.pouw.transformer_costs", description=__doc__)
    parser.add_argument(
        "shape", type=int, nargs="*", metavar="WIDTH TOKENS [LAYERS]", help="one size; several unless given"
    )
    given: list[int] = parser.parse_args().shape
    if len(given) not in (0, 2, 3):
        parser.error(f"WIDTH TOKENS [LAYERS] are two or three numbers, not {len(given)}")
    torch.set_grad_enabled(False)
    for width, tokens, layers in [(given[0], given[1], (*given, 1)[2])] if given else SIZES:
        job = make_job(width, tokens, layers)
        print(f"width {width}, {tokens} tokens, {layers} layer(s)", flush=True)
        for threads in (1, 2):
            print(speed(job, threads), flush=True)
        print(proofs(job), flush=True)


if __name__ == "__main__":
    main()
