"""A transformer's training in integers against its float32 twin: `python -m tests.pouw.transformer_training`.

`… [STEPS] [chance]` trains both from the same start on the same windows of the text of `pydoc_data.topics`,
with the same rates and optimiser, and prints the loss of text that neither ever sees. Every step in integers
is a program on the checkpoint that the step before it left, as a miner runs it. With `chance` errors are
rounded by chance, else half up. Figures for `pouw/training.md`.
"""

import sys
import time
from pydoc_data.topics import topics

import torch

from pouw.backends.backend import Backend
from pouw.backends.select import select_backend
from pouw.byte_text import VOCABULARY, encode
from pouw.checkpoint import TrainingState
from pouw.cross_entropy import NATS
from pouw.llama import LlamaShape
from pouw.tensors import Array
from pouw.training_text import text_batch, text_windows
from pouw.transformer_backward import LOSS, forward_ops, loss_op
from pouw.transformer_training import TransformerTraining, start_training
from pouw.transformer_training_run import TextTrainer
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


def compare(training: TransformerTraining) -> None:
    """Train both, a step of each in turn."""
    text = encode("\n".join(topics[name] for name in sorted(topics)))
    seen, shown = text[:-HELD_OUT], text_windows(text[-HELD_OUT:], training.tokens)
    backend, state = select_backend("cpu", threads=1), start_training(training, SEED)
    twin, trainer = FloatTraining(training, state.weights), TextTrainer(training, backend)
    count = sum(master.numel() for master in twin.masters.values())
    print(f"{backend.name}; {count:,} parameters, {len(seen):,} bytes of text")
    spent = [0.0, 0.0]
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
            print(
                f"step {step + 1}: integers {mine:.4f}, float32 {other:.4f} nats a byte "
                f"({mine / other - 1:+.2%}); {exact:.0f} and {real:.0f} ms a step",
                flush=True,
            )
    print(f"checkpoint {state.checkpoint.digest.hex()}")


def main() -> None:
    """Train as the command line says."""
    steps = next((int(word) for word in sys.argv[1:] if word.isdigit()), 1000)
    compare(
        TransformerTraining(
            "text",
            SHAPE,
            sequences=16,
            tokens=64,
            warm_up=min(50, steps // 2),
            steady=steps // 2,
            steps=steps,
            chance="chance" in sys.argv,
        )
    )


if __name__ == "__main__":
    main()
