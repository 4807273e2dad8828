"""What importing costs in accuracy: `python -m tests.tools.importer.accuracy`.

Trains a small decoder (0.5 M parameters, grouped queries, a byte-level BPE of 512 tokens) and a small encoder
(masked tokens) in float32 with the `transformers` library on the documentation that comes with Python,
imports both as `headrace model import` does, and prints what their manifests say. About a minute of one core
each.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from pouw.backends.select import select_backend
from tests.tools.importer import foreign
from tools.cli.model import accuracy_document
from tools.importer.import_model import ImportOptions, import_model
from tools.models.artifact import Accuracy

STEPS = 600


def decoder(folder: Path, steps: int) -> None:
    """Llama."""
    foreign.decoder(
        folder, steps=steps, vocabulary=512, hidden_size=128, intermediate_size=352, num_hidden_layers=2,
        initializer_range=0.02,
    )  # fmt: skip


def encoder(folder: Path, steps: int) -> None:
    """BERT."""
    foreign.encoder(
        folder, steps=steps, vocabulary=1024, hidden_size=128, intermediate_size=512, num_hidden_layers=4,
        initializer_range=0.02,
    )  # fmt: skip


FAMILIES = {"decoder": decoder, "encoder": encoder}


def measure(family: str, steps: int, *, progress: Callable[[str], None] = print) -> Accuracy:
    """Train, import, and say how far the integers are from the floats."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / family
        folder.mkdir()
        FAMILIES[family](folder, steps)
        backend = select_backend("auto")
        artifact = import_model(folder, Path(name) / "out", ImportOptions(), backend, progress=progress)
    assert artifact.accuracy is not None
    return artifact.accuracy


def main(arguments: Sequence[str] | None = None) -> None:
    """Print both families' figures."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.tools.importer.accuracy", description=__doc__,
        epilog="Example: python -m tests.tools.importer.accuracy decoder --steps 300",
    )  # fmt: skip
    parser.add_argument("families", nargs="*", metavar="decoder|encoder", help="both unless named")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"of training ({STEPS})")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.families if name not in FAMILIES]
    if unknown or options.steps < 1:
        parser.error(f"{' and '.join(FAMILIES)} with at least 1 step, not {unknown} with {options.steps}")
    # Threads that wait for each other cost more than they save on models so small.
    foreign.torch.set_num_threads(1)

    def say(line: str) -> None:
        if not options.json:
            print(line, flush=True)

    document = {}
    for family in options.families or FAMILIES:
        start = time.process_time()
        found = measure(family, options.steps, progress=say)
        document[family] = accuracy_document(found, encoder=family == "encoder")
        say(f"{family} {found} {time.process_time() - start:.0f} s")
    if options.json:
        print(json.dumps(document))


if __name__ == "__main__":
    main()
