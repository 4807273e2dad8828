"""A testnet under a load it cannot bear: `python -m tests.overload --seconds 600`.

Four validators with their miners. First nobody loads them, which is the baseline; then a peer that means well
keeps them as busy as they can be, which is the saturation; then it is hostile and offers five times that to
each of them, half of it old, for as long as asked; then it stops. Fails when less was tried than asked for,
or when finality, memory, consensus messages or the recovery are not as promised.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tests.network.cluster import running_cluster
from tests.overload.campaign import SEED, Campaign
from tests.overload.report import NODES, described, shortcomings

EXAMPLES = """examples:
  python -m tests.overload --seconds 600               what is promised; 15 minutes
  python -m tests.overload --seconds 20 --calm 15      a look; two minutes
  python -m tests.overload --seconds 600 --json > r    the report for a program; progress on stderr
"""

SHORTEST_S = 10.0


def main(arguments: Sequence[str]) -> int:
    """Run it; 0 if all is as promised."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.overload",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seconds", type=float, default=60, help="of overload (60)")
    parser.add_argument(
        "--calm", type=float, default=60, help="of baseline, of saturation, and afterwards (60)"
    )
    parser.add_argument("--json", action="store_true", help="the report as JSON")
    parser.add_argument("--folder", type=Path, help="keeps the testnet's folder here")
    options = parser.parse_args(arguments)
    if min(options.seconds, options.calm) < SHORTEST_S:
        parser.error(f"a phase of less than {SHORTEST_S:.0f} s says nothing")
    began = time.monotonic()

    def say(what: str) -> None:
        print(f"{time.monotonic() - began:5.0f} s  {what}", file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory(prefix="headrace-overload-") as scratch:
        folder = options.folder or Path(scratch) / "net"
        with running_cluster(folder, nodes=NODES, seed=SEED) as cluster:
            report = Campaign(cluster, seconds=options.seconds, calm=options.calm, say=say).run()
    short = shortcomings(report)
    if options.json:
        print(json.dumps(asdict(report) | {"shortcomings": short}, indent=2))
    else:
        print(
            "\n".join([described(report), *(f"SHORT: {line}" for line in short), *([] if short else ["ok"])])
        )
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
