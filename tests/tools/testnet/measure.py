"""How a running testnet does: `python -m tests.tools.testnet.measure DIR`.

Asks every node for every final height: block intervals from the leaders' clocks, and whether all nodes have
the same block and the same state root at each height.
"""

import argparse
import json
import sys
from itertools import pairwise
from pathlib import Path

from tools.rpc.client import Client
from tools.rpc.messages import BlockView, Status
from tools.testnet.record import read_record


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.tools.testnet.measure", description=__doc__,
        epilog="Example: python -m tests.tools.testnet.measure ./net",
    )  # fmt: skip
    parser.add_argument("dir", type=Path, help="the testnet's folder")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args()
    clients = [Client(node.rpc) for node in read_record(options.dir).nodes]
    top = min(client.call(Status, "status").height for client in clients)
    times: list[int] = []
    different: list[int] = []
    for height in range(1, top + 1):
        blocks = [client.call(BlockView, "block", height=height) for client in clients]
        times.append(blocks[0].timestamp_ms)
        if len({(block.digest, block.state_root) for block in blocks}) != 1:
            different.append(height)
    gaps = sorted(after - before for before, after in pairwise(times))
    report = {
        "nodes": len(clients), "heights": top, "seconds": (times[-1] - times[0]) / 1000,
        "interval_ms": {"median": _at(gaps, 50), "p95": _at(gaps, 95), "p99": _at(gaps, 99), "max": gaps[-1]},
        "heights_that_differ": different,
    }  # fmt: skip
    if options.json:
        sys.stdout.write(json.dumps(report) + "\n")
        return
    for name, value in report.items():
        sys.stdout.write(f"{name:20} {value}\n")


def _at(ordered: list[int], percent: int) -> int:
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


if __name__ == "__main__":
    main()
