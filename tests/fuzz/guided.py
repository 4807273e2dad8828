"""One target under libFuzzer, which ends the process: `python -m tests.fuzz.guided TARGET RUNS FOLDER`.

libFuzzer is steered by the coverage of our packages, for which atheris calls it at every branch and
comparison of theirs: that takes ten to thirty times what the decoder takes.
"""

import random
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["chain", "consensus", "genesis", "p2p", "pouw", "tools"]):
    from tests.fuzz.canary import canary
    from tests.fuzz.targets import TARGETS


def main() -> None:
    """Fuzz until the runs are used up or something is found; libFuzzer's exit code tells which."""
    name, runs, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    target = canary(name.removeprefix("canary-")) if name.startswith("canary-") else TARGETS[name]
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds(random.Random(0))):
        (corpus / f"seed-{number:02}").write_bytes(seed)

    def one_input(data: bytes) -> None:
        target.accepts(data)

    options = [
        f"-runs={runs}",
        f"-max_len={target.longest}",
        "-rss_limit_mb=1024",
        "-timeout=5",
        "-print_final_stats=1",
        f"-artifact_prefix={folder}/",
        str(corpus),
    ]
    atheris.Setup([sys.argv[0], *options], one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
