"""The simulator's command: `python -m tools.simulate`, which runs this. `README.md` says what to run when."""

import argparse
import sys
from dataclasses import replace

from tests.simulation.campaign import Order, commit_id, play_seed, run_campaign
from tests.simulation.plan import PROFILES, SIZES, plan_of


def main(arguments: list[str]) -> int:
    """Do what the arguments say; 0 if everything held and everything was done."""
    options = _parser().parse_args(arguments)
    print(f"commit {commit_id()}", flush=True)
    if options.judge is not None:
        from tests.simulation.judge import judge

        return judge(options.judge, cpu_minutes=options.cpu_minutes or 10.0)
    if options.determinism:
        from tests.simulation.determinism import compare

        return compare(options.seeds)
    if options.shell:
        from tests.simulation.shell import run_shells

        return run_shells(options.seeds)
    if options.replay is not None:
        return _replay(options.replay, options)
    order = Order(
        seeds=options.seeds, sizes=options.nodes, profiles=options.profiles, hours=options.hours,
        cpu_minutes=options.cpu_minutes,
    )  # fmt: skip
    summary = run_campaign(order, jobs=options.jobs)
    print(summary.as_json() if options.json else summary.told(), flush=True)
    return 0 if summary.is_good else 1


def _replay(seed: int, options: argparse.Namespace) -> int:
    count = options.nodes[0] if len(options.nodes) == 1 else None
    profile = options.profiles[0] if len(options.profiles) == 1 else None
    plan = replace(plan_of(seed, count=count, profile=profile))
    print(plan, flush=True)
    result, cpu, failure = play_seed(plan)
    print(failure.told() if failure is not None else f"held, {cpu:.2f} s: {result}", flush=True)
    return 0 if failure is None else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.simulate", description=__doc__)
    parser.add_argument("--seeds", type=_seeds, default=range(100), metavar="A..B", help="A up to B - 1")
    parser.add_argument("--nodes", type=_sizes, default=SIZES, metavar="4,7,10")
    parser.add_argument(
        "--profile", dest="profiles", type=_profiles, default=PROFILES, metavar="ledger,consensus"
    )
    parser.add_argument("--hours", type=float, default=0.0, help="simulated hours that must come together")
    parser.add_argument(
        "--cpu-minutes", type=float, default=0.0, help="stop (and fail) after so much CPU time"
    )
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--replay", type=int, metavar="SEED", help="one seed alone, told in full")
    parser.add_argument("--judge", nargs="*", metavar="BUG", help="find the planted bugs, all or these")
    parser.add_argument("--determinism", action="store_true", help="each seed twice, in two processes")
    parser.add_argument("--shell", action="store_true", help="tier 2: whole nodes on trio, seeded")
    return parser


def _seeds(text: str) -> range:
    first, _, end = text.partition("..")
    return range(int(first), int(end)) if end else range(int(first))


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(int(size) for size in text.split(","))


def _profiles(text: str) -> tuple[str, ...]:
    chosen = tuple(text.split(","))
    if not set(chosen) <= set(PROFILES):
        raise argparse.ArgumentTypeError(f"profiles are {', '.join(PROFILES)}, not {text}")
    return chosen


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
