"""What importing costs in accuracy, with models trained here.

`python -m tests.tools.importer.accuracy [decoder|encoder] [STEPS]` trains a small decoder (0.5 M parameters,
grouped queries, a byte-level BPE of 512 tokens) and a small encoder (masked tokens) in float32 with the
`transformers` library on the documentation that comes with Python, imports both as `headrace model import`
does, and prints what their manifests say. About a minute of one core each.
"""

import sys
import tempfile
import time
from pathlib import Path

from pouw.backends.select import select_backend
from tests.tools.importer import foreign
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


def measure(family: str, steps: int) -> Accuracy:
    """Train, import, and say how far the integers are from the floats."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / family
        folder.mkdir()
        {"decoder": decoder, "encoder": encoder}[family](folder, steps)
        backend = select_backend("auto")
        artifact = import_model(folder, Path(name) / "out", ImportOptions(), backend, progress=print)
    assert artifact.accuracy is not None
    return artifact.accuracy


def main() -> None:
    """Print both families' figures."""
    # Threads that wait for each other cost more than they save on models so small.
    foreign.torch.set_num_threads(1)
    families = [name for name in ("decoder", "encoder") if name in sys.argv[1:]] or ["decoder", "encoder"]
    steps = next((int(word) for word in sys.argv[1:] if word.isdigit()), STEPS)
    for family in families:
        start = time.process_time()
        print(family, measure(family, steps), f"{time.process_time() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
