"""A transformer's training in integers against its float32 twin: `python -m tests.pouw.transformer_training`.

Trains both from the same start on the same windows of the text of `pydoc_data.topics`, with the same rates
and optimiser, and prints the loss of text that neither ever sees. Every step in integers is a program on the
checkpoint that the step before it left, as a miner runs it. With `chance` errors are rounded by chance, else
half up. Figures for `pouw/training/README.md`.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pydoc_data.topics import topics

import torch

from pouw.arithmetic.cross_entropy import NATS
from pouw.backends.backend import Backend
from pouw.backends.select import select_backend
from pouw.models.byte_text import VOCABULARY, encode
from pouw.models.llama import LlamaShape
from pouw.tensors import Array
from pouw.training.checkpoint import TrainingState
from pouw.training.training_text import text_batch, text_windows
from pouw.training.transformer_backward import LOSS, forward_ops, loss_op
from pouw.training.transformer_training import TransformerTraining, start_training
from pouw.training.transformer_training_run import TextTrainer
from tests.pouw.float_transformer_training import FloatTraining

SHAPE = LlamaShape(
    vocabulary=VOCABULARY, width=128, layers=2, heads=4, kv_heads=4, head_dim=32, hidden=256, positions=64
)
HELD_OUT = 60_000
"""Bytes at the end of the text that no shard shows."""

SEED = b"headrace text 1"
EVERY = 100


def held_out_loss(
    training: TransformerTraining, state: TrainingState, shown: Array, backend: Backend
) -> float:
    """The mean loss of held-out text, nats per byte, by the ops of the model itself."""
    ops = (*forward_ops(training), loss_op(training))
    tensors = dict(state.weights.on(backend))
    total, count = 0, 0
    for first in range(0, len(shown) - training.rows + 1, training.rows):
        tensors["input"] = backend.put(shown[first : first + training.rows].copy())
        for op in ops:
            tensors[op.name] = op.kind.run(backend, [tensors[name] for name in op.operands])
        total += int(backend.get(tensors[LOSS]).sum())
        count += training.sequences * (training.tokens - 1)
    return total / count / 2**NATS


def float_loss(twin: FloatTraining, shown: Array) -> float:
    """The same of the twin."""
    rows = twin.training.rows
    with torch.no_grad():
        means = [
            float(twin.losses(shown[first : first + rows]).mean())
            for first in range(0, len(shown) - rows + 1, rows)
        ]
    return sum(means) / len(means)


@dataclass(frozen=True)
class Figures:
    """After so many steps: nats a byte of held-out text, and milliseconds a step."""

    step: int
    integers: float
    float32: float
    integers_ms: float
    float32_ms: float

    def __str__(self) -> str:
        return (
            f"step {self.step}: integers {self.integers:.4f}, float32 {self.float32:.4f} nats a byte "
            f"({self.integers / self.float32 - 1:+.2%}); {self.integers_ms:.0f} and {self.float32_ms:.0f} "
            "ms a step"
        )


def compare(training: TransformerTraining, say: Callable[[object], None]) -> tuple[list[Figures], bytes]:
    """Train both, a step of each in turn; gives the figures and the last checkpoint's digest."""
    text = encode("\n".join(topics[name] for name in sorted(topics)))
    seen, shown = text[:-HELD_OUT], text_windows(text[-HELD_OUT:], training.tokens)
    backend, state = select_backend("cpu", threads=1), start_training(training, SEED)
    twin, trainer = FloatTraining(training, state.weights), TextTrainer(training, backend)
    count = sum(master.numel() for master in twin.masters.values())
    say(f"{backend.name}; {count:,} parameters, {len(seen):,} bytes of text")
    spent, found = [0.0, 0.0], []
    for step in range(training.steps):
        inputs = text_batch(seen, seed=SEED, index=step, sequences=training.sequences, tokens=training.tokens)
        times = [time.thread_time()]
        state = trainer.step(state, inputs, SEED + b" step %d" % step).state
        times.append(time.thread_time())
        twin.step(inputs, step)
        times.append(time.thread_time())
        spent = [
            total + after - before for total, before, after in zip(spent, times, times[1:], strict=False)
        ]
        if (step + 1) % EVERY == 0 or step + 1 == training.steps:
            mine, other = held_out_loss(training, state, shown, backend), float_loss(twin, shown)
            exact, real = (1e3 * total / (step + 1) for total in spent)
            found.append(Figures(step + 1, mine, other, exact, real))
            say(found[-1])
    say(f"checkpoint {state.checkpoint.digest.hex()}")
    return found, state.checkpoint.digest


def main(arguments: Sequence[str] | None = None) -> None:
    """Train as the command line says."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.pouw.transformer_training", description=__doc__,
        epilog="Example: python -m tests.pouw.transformer_training 300 chance",
    )  # fmt: skip
    parser.add_argument("steps", type=int, nargs="?", default=1000, help="of each (1000)")
    parser.add_argument("rounding", nargs="?", choices=["half-up", "chance"], default="half-up")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args(arguments)
    steps: int = options.steps
    if steps < 2:
        parser.error(f"at least 2 steps, not {steps}")
    training = TransformerTraining(
        "text",
        SHAPE,
        sequences=16,
        tokens=64,
        warm_up=min(50, steps // 2),
        steady=steps // 2,
        steps=steps,
        chance=options.rounding == "chance",
    )

    def say(line: object) -> None:
        if not options.json:
            print(line, flush=True)

    found, digest = compare(training, say)
    if options.json:
        print(json.dumps({"figures": [asdict(one) for one in found], "checkpoint": digest.hex()}))


if __name__ == "__main__":
    main()
