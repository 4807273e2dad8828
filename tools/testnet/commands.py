"""`headrace testnet ...`: the command line of the testnet."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import Final

import click

from tools.cli.errors import CliError, Exit
from tools.cli.options import json_option
from tools.cli.output import emit, table
from tools.rpc.messages import Status

DOWN_TIMEOUT_S: Final = 30.0
"""Every process has 10 s to end by itself."""


@click.group(epilog="Example: headrace testnet up --validators 4 --full-nodes 1")
def testnet() -> None:
    """Start, watch and stop a network on this machine."""


dir_option: Final = click.option(
    "--dir", "folder", type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the testnet.  [default: the one that was started last]",
)  # fmt: skip


@testnet.command(epilog="Example: headrace testnet up --duty 0.15,0.05,0.05,0.05 --for 300")
@click.option(
    "--validators", type=int, default=4, show_default=True, help="Nodes that vote, each with a miner."
)
@click.option("--full-nodes", type=int, default=0, show_default=True, help="Nodes that only verify.")
@click.option(
    "--duty",
    help="Share of the time that a miner works: one number, or one each (0.15,0.05,...).  [default: 0.05]",
)
@click.option("--seed", default="1", show_default=True, help="All keys follow from it.")
@click.option("--base-port", type=int, help="First of the ports.  [default: free ones]")
@click.option(
    "--dir", "folder", type=click.Path(path_type=Path, file_okay=False),
    help="Folder for everything; one that holds a stopped testnet goes on with it.  [default: a new one]",
)  # fmt: skip
@click.option("--for", "seconds", type=float, metavar="SECONDS", help="End by itself after so long.")
@click.option("--until-height", type=int, help="End by itself at this height.")
@json_option
@click.pass_context
def up(
    context: click.Context,
    validators: int,
    full_nodes: int,
    duty: str | None,
    seed: str,
    base_port: int | None,
    folder: Path | None,
    seconds: float | None,
    until_height: int | None,
    as_json: bool,
) -> None:
    """Start a testnet and watch it until Ctrl-C.

    Prints funded accounts, addresses and logs, then how the chain stands. Its processes end with this one.
    """
    from tools.testnet import prepare
    from tools.testnet.control import ControlError
    from tools.testnet.plan import DEFAULT_DUTY, PlanError, TestnetOptions
    from tools.testnet.record import RecordError
    from tools.testnet.report import Reporter
    from tools.testnet.up import StartFailed, Until, run_testnet

    chosen = prepare.fresh_folder() if folder is None else folder.absolute()
    duties = None if duty is None else _duties(duty)
    report = Reporter(as_json=as_json)
    try:
        if prepare.holds_testnet(chosen):
            plan = prepare.find_testnet(chosen, given=_given(context), duties=duties)
        else:
            options = TestnetOptions(validators, full_nodes, duties or (DEFAULT_DUTY,), seed, base_port)
            plan = prepare.make_testnet(chosen, options)
        prepare.make_current(chosen)
        report.begin(chosen, plan.options.seed)
        run_testnet(chosen, plan, report, Until(seconds, until_height))
    except PlanError as error:
        raise click.UsageError(str(error)) from None
    except (ControlError, RecordError, OSError) as error:
        raise CliError(str(error), code="TESTNET", next_step="see `headrace testnet up --help`") from None
    except StartFailed as error:
        logs = chosen / "logs"
        raise CliError(str(error), code="START_FAILED", next_step=f"the logs are in {logs}") from None


@testnet.command(epilog="Example: headrace testnet status --json")
@dir_option
@json_option
def status(folder: Path | None, as_json: bool) -> None:
    """Show every process of a testnet and how its chain stands."""
    import trio

    from tools.testnet.record import RecordError, read_record, targets_of
    from tools.testnet.report import summary
    from tools.testnet.watch import Watcher, chain_parts

    chosen = _order(folder, "ping")
    try:
        record = read_record(chosen)
    except RecordError as error:
        raise CliError(str(error), code="NO_TESTNET", next_step="start one: `headrace testnet up`") from None
    look = trio.run(Watcher(targets_of(record)).look)
    rows: list[tuple[object, ...]] = [
        (node.name, node.pid or "ended", *_node_cells(seen))
        for node, (_, seen) in zip(record.nodes, look.nodes, strict=True)
    ]
    rows += [
        (miner.name, miner.pid or "ended", "", "", "", "", f"works for {miner.node}, duty {miner.duty:g}")
        for miner in record.miners
    ]
    lines = [" | ".join(chain_parts(look))]
    lines += table(("PROCESS", "PID", "HEIGHT", "FINAL AGO", "PEERS", "SEATS", "STATE"), rows)
    emit({"testnet": asdict(record), **summary(look)}, lines, as_json=as_json)


@testnet.command(epilog="Example: headrace testnet down ./net")
@click.argument("place", metavar="[DIR]", required=False, type=click.Path(path_type=Path, file_okay=False))
@dir_option
def down(place: Path | None, folder: Path | None) -> None:
    """End a testnet; its folder stays, and `up --dir` goes on with it."""
    from tools.testnet.control import answers, socket_path

    if place is not None and folder is not None:
        raise click.UsageError(f"two folders, {place} and {folder}: name one")
    chosen = _order(place or folder, "down")
    deadline = time.monotonic() + DOWN_TIMEOUT_S
    while answers(socket_path(chosen)):
        if time.monotonic() > deadline:
            raise CliError(
                f"the testnet in {chosen} has not ended after {DOWN_TIMEOUT_S:.0f} s",
                code="NOT_ENDED",
                next_step="press Ctrl-C twice where it runs",
            )
        time.sleep(0.1)
    click.echo(f"Ended. Everything is kept in {chosen}")


@testnet.command(epilog="Example: headrace testnet kill validator-2")
@click.argument("name")
@dir_option
def kill(name: str, folder: Path | None) -> None:
    """Kill one process with SIGKILL, as a power cut would."""
    _order(folder, "kill", name)
    click.echo(f"{name} was killed; `headrace testnet start {name}` starts it again.")


@testnet.command(epilog="Example: headrace testnet stop miner-0")
@click.argument("name")
@dir_option
def stop(name: str, folder: Path | None) -> None:
    """End one process in order."""
    _order(folder, "stop", name)
    click.echo(f"{name} was stopped; `headrace testnet start {name}` starts it again.")


@testnet.command(epilog="Example: headrace testnet start validator-2")
@click.argument("name")
@dir_option
def start(name: str, folder: Path | None) -> None:
    """Start a process that has ended."""
    _order(folder, "start", name)
    click.echo(f"{name} was started.")


def _node_cells(seen: Status | None) -> tuple[object, ...]:
    if seen is None:
        return ("", "", "", "", "does not answer")
    state = seen.syncing or "follows the chain"
    return (seen.height, f"{seen.lag_ms / 1000:.1f} s", seen.peers, seen.own_seats, state)


def _duties(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is no number, and no list of numbers", param_hint="--duty"
        ) from None


def _given(context: click.Context) -> list[str]:
    """Options of the command line that decide what a testnet is, as they are written."""
    source = click.core.ParameterSource.COMMANDLINE
    names = ("validators", "full_nodes", "seed", "base_port")
    return [f"--{name.replace('_', '-')}" for name in names if context.get_parameter_source(name) is source]


def _folder(folder: Path | None) -> Path:
    from tools.testnet.prepare import current_folder

    return current_folder() if folder is None else folder.absolute()


def _order(folder: Path | None, verb: str, name: str = "") -> Path:
    """Give an order to the testnet in a folder, and return the folder."""
    from tools.testnet.control import ControlError, NotUp, Order, Verb, give_order

    chosen = _folder(folder)
    try:
        give_order(chosen, Order(Verb(verb), name))
    except NotUp as error:
        raise CliError(
            str(error), code="NOT_UP", next_step=f"start it: `headrace testnet up --dir {chosen}`",
            exit_code=Exit.UNREACHABLE,
        ) from None  # fmt: skip
    except ControlError as error:
        raise CliError(str(error), code="REFUSED", next_step="see `headrace testnet status`") from None
    return chosen
