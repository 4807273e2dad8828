"""Training the digits network as work: every step a program that can be proven.

`python -m genesis.digits_training` takes the whole run on this machine (half a minute) and prints what it
learns; the checkpoint at its end is the same on every machine. `genesis.train_digits` made the network that
genesis ships; this one is made by miners, a step at a time, and judged by images that no shard ever shows.
"""

import argparse
import json
import sys
from typing import Final

from genesis.commons import training_images
from genesis.digits import WIDTHS, DigitsModel, held_out_split, load_digits
from genesis.train_digits import accuracy
from pouw.arithmetic.cross_entropy import NATS
from pouw.backends.select import select_backend
from pouw.tensors import Array
from pouw.training.checkpoint import TrainingState
from pouw.training.mlp_training import MlpTraining, model_manifest, start_training
from pouw.training.training_data import training_batch
from pouw.training.training_monitor import StepReport
from pouw.training.training_run import Trainer

STEPS: Final = 3000

TRAINING: Final = MlpTraining("digits-training-1", WIDTHS, batch=64, rate=10, slower=(1000, 1700, 2400))
"""The run. Faster rates still learn but end lower; see `tests/genesis/test_digits_training.py`."""

_SEED: Final = b"headrace digits training as work 1"

_EVERY: Final = 250

_LINE: Final = "step {step}: loss {thousandths} thousandths, held out {right} of {held_out} right\n"


def start() -> TrainingState:
    """The checkpoint that the run starts from."""
    return start_training(TRAINING, _SEED)


def shard(index: int, *, seed: bytes = _SEED) -> Array:
    """The input of a step.

    Args:
        index: number of the shard.
        seed: on a chain, of the beacon and the miner's key.
    """
    return training_batch(
        training_images(), seed=seed, index=index, batch=TRAINING.batch, noise=TRAINING.noise
    )


def held_out_right(state: TrainingState) -> tuple[int, int]:
    """Held-out images that a checkpoint classifies rightly, of how many."""
    data = load_digits()
    _, held_out = held_out_split(len(data.labels))
    manifest = model_manifest(TRAINING, state.checkpoint)
    model = DigitsModel(manifest, state.weights)
    return accuracy(model, data.images[held_out], data.labels[held_out])


def main() -> None:
    """Train, and print how it goes."""
    parser = argparse.ArgumentParser(
        prog="python -m genesis.digits_training", description=__doc__,
        epilog="Example: python -m genesis.digits_training 500 --json",
    )  # fmt: skip
    parser.add_argument("steps", type=int, nargs="?", default=STEPS, help=f"of the run ({STEPS})")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args()
    trainer, state = Trainer(TRAINING, select_backend("auto")), start()
    progress = []
    for index in range(options.steps):
        stepped = trainer.step(state, shard(index), step_seed(index))
        state = stepped.state
        if (index + 1) % _EVERY == 0:
            progress.append(_progress(index + 1, stepped.report, held_out_right(state)))
            if not options.json:
                sys.stdout.write(_LINE.format(**progress[-1]))
                sys.stdout.flush()
    digest = state.checkpoint.digest.hex()
    if options.json:
        sys.stdout.write(json.dumps({"progress": progress, "checkpoint": digest}) + "\n")
    else:
        sys.stdout.write(f"checkpoint {digest}\n")


def step_seed(index: int) -> bytes:
    """The randomness of a step of the run that this file takes; on a chain it is the beacon's."""
    return _SEED + b" step %d" % index


def _progress(step: int, report: StepReport, right: tuple[int, int]) -> dict[str, int]:
    loss = (report.loss * 1000) >> NATS
    hits, count = right
    return {"step": step, "thousandths": loss, "right": hits, "held_out": count}


if __name__ == "__main__":
    main()
