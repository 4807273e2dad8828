"""What transformer work, commits and proofs cost on this machine, beside the same layer in torch float32.

`python -m tests.pouw.transformer_costs [width tokens]`. Processor time of this process, one thread; the
least of several runs. One decoder layer, feed-forward of 2.75 widths, a vocabulary of 256.
"""

import sys
import time
from collections.abc import Callable
from statistics import mean

import numpy as np
import torch

from pouw.backends.cpu import CpuBackend, open_cpu
from pouw.commitment import CommitBuilder
from pouw.fields import measure
from pouw.llama import LlamaManifest, LlamaShape, Span, llama_program
from pouw.program import Program
from pouw.proof import Proof
from pouw.tensors import Array
from pouw.trace import Trace, run_program
from pouw.verifier import Statement, WorkItem, check_proof
from pouw.weights import Weights
from tests.pouw.llama_world import integer_llama, texts
from tests.pouw.world import CHAIN, MINER

SIZES = ((128, 64), (1024, 256), (1024, 512), (2048, 512))
SAMPLES = 64
SEEDS = 12


def least(action: Callable[[], object], *, runs: int = 4) -> float:
    """Milliseconds of the fastest of some runs."""
    action()
    best = float("inf")
    for _ in range(runs):
        start = time.thread_time()
        action()
        best = min(best, time.thread_time() - start)
    return best * 1e3


def shape_of(width: int, tokens: int) -> LlamaShape:
    """One layer with heads of 64, or of 32 where it is narrow."""
    dim = 64 if width >= 512 else 32
    return LlamaShape(
        vocabulary=256, width=width, layers=1, heads=width // dim, kv_heads=width // dim, head_dim=dim,
        hidden=width * 11 // 4, positions=tokens,
    )  # fmt: skip


class FloatLayer:
    """The same layer, eager float32."""

    def __init__(self, shape: LlamaShape, tokens: int) -> None:
        width, self._dim = shape.width, shape.head_dim
        self._x = torch.randn(tokens, width)
        self._qkv, self._o = torch.randn(width, 3 * width), torch.randn(width, width)
        self._up, self._down = torch.randn(width, 2 * shape.hidden), torch.randn(shape.hidden, width)

    def __call__(self) -> torch.Tensor:
        x = self._x
        q, k, v = (self._split(part) for part in (self._norm(x) @ self._qkv).chunk(3, dim=1))
        mixed = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)[0]
        x = x + mixed.transpose(0, 1).reshape(x.shape) @ self._o
        gate, up = (self._norm(x) @ self._up).chunk(2, dim=1)
        return x + (torch.nn.functional.silu(gate) * up) @ self._down

    def _norm(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + 1e-6)

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        return x.view(len(x), -1, self._dim).transpose(0, 1)[None]


def commit(program: Program, trace: Trace) -> CommitBuilder:
    builder = CommitBuilder(CHAIN, MINER)
    builder.add(bytes(32), program, trace)
    assert builder.root
    return builder


def proofs(program: Program, trace: Trace, inputs: Array) -> tuple[float, float]:
    """KiB and milliseconds of a proof and its check, means over seeds."""
    builder = commit(program, trace)
    item = WorkItem(bytes(32), program, inputs.__getitem__)
    statement = Statement(CHAIN, MINER, [item], builder.root, builder.units)
    sizes, times = [], []
    for number in range(SEEDS):
        seed = b"%d" % number
        fields = builder.prove(seed, SAMPLES).to_fields()
        sizes.append(measure(fields, limit=1 << 30) / 1024)

        def check(fields: list[object] = fields, seed: bytes = seed) -> None:
            proof = Proof.from_fields(fields, max_bytes=1 << 30)
            check_proof(statement, proof, seed=seed, samples=SAMPLES)

        times.append(least(check, runs=2))
    return mean(sizes), mean(times)


def report(backend: CpuBackend, width: int, tokens: int) -> str:
    """One line of the table."""
    shape = shape_of(width, tokens)
    model: tuple[LlamaManifest, Weights] = integer_llama(shape)
    manifest, weights = model
    program = llama_program(manifest, Span(1, 0, tokens, 1))
    inputs = np.ascontiguousarray(texts(tokens, 1).astype("<i2"))
    trace = run_program(program, weights, inputs, backend)
    work = least(lambda: run_program(program, weights, inputs, backend))
    sealed = least(lambda: commit(program, trace), runs=2)
    real = least(FloatLayer(shape, tokens))
    kib, checked = proofs(program, trace, inputs)
    return (
        f"width {width}, {tokens} tokens: work {work:.1f} ms, commit {sealed:.1f} ms, float32 {real:.1f} ms, "
        f"ratio {work / real:.2f} alone and {(work + sealed) / real:.2f} committed; proof {kib:.0f} KiB, "
        f"check {checked:.1f} ms"
    )


def main() -> None:
    """Print the table, or one line of it."""
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    backend = open_cpu()
    given = [int(argument) for argument in sys.argv[1:3]]
    for width, tokens in [(given[0], given[1])] if given else SIZES:
        sys.stdout.write(report(backend, width, tokens) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
