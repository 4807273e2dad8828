"""A testnet's folder, made new or found again, before anything runs."""

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from tools.testnet.files import write_configs, write_keys
from tools.testnet.plan import PlanError, TestnetOptions, TestnetPlan, check_options, plan_testnet
from tools.testnet.ports import choose_ports
from tools.testnet.record import FILE_NAME, plan_of, read_record, record_of, write_record

CURRENT: Final = "current"
"""Link, beside the folders, to the testnet that was started last."""


def testnets_folder() -> Path:
    """Where testnets without a folder of their own go, after the XDG base directory rules."""
    state = os.environ.get("XDG_STATE_HOME")
    base = Path(state) if state else Path.home() / ".local" / "state"
    return base / "headrace" / "testnets"


def fresh_folder() -> Path:
    """A name for a new testnet's folder that nothing has yet; it sorts by time."""
    name = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    candidates = (testnets_folder() / f"{name}{suffix}" for suffix in ("", *(f"-{n}" for n in range(2, 100))))
    return next(path for path in candidates if not path.exists())


def make_current(folder: Path) -> None:
    """Let commands without `--dir` mean this testnet."""
    link = testnets_folder() / CURRENT
    link.parent.mkdir(parents=True, exist_ok=True)
    fresh = link.with_name(f".{CURRENT}.{os.getpid()}")
    fresh.symlink_to(folder)
    fresh.replace(link)


def current_folder() -> Path:
    """The testnet that was started last, which may be gone."""
    return (testnets_folder() / CURRENT).resolve()


def make_testnet(folder: Path, options: TestnetOptions) -> TestnetPlan:
    """Plan a testnet and write its keys, genesis and configurations into a new folder.

    Its record comes last: a folder with one is complete.

    Raises:
        PlanError: The options are no good, a port is taken, or the folder holds something.
        OSError: The folder cannot be written.
    """
    check_options(options)
    if folder.exists() and any(folder.iterdir()):
        raise PlanError(f"{folder} is not empty and holds no testnet: choose another --dir")
    plan = plan_testnet(options, choose_ports(options))
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_keys(folder, plan)
    write_configs(folder, plan, timestamp_ms=time.time_ns() // 1_000_000)
    write_record(folder, record_of(folder, plan))
    return plan


def holds_testnet(folder: Path) -> bool:
    """Whether a testnet was made here."""
    return (folder / FILE_NAME).exists()


def find_testnet(folder: Path, *, given: Sequence[str], duties: tuple[float, ...] | None) -> TestnetPlan:
    """The plan of the testnet in a folder, to go on with.

    Args:
        folder: Holds a testnet.
        given: Options of the command line that only a new testnet can take.
        duties: Another duty for its miners, which is theirs to choose at every start.

    Raises:
        PlanError: An option was given that the testnet has decided already.
        RecordError: Its record cannot be read.
    """
    plan = plan_of(read_record(folder))
    if given:
        raise PlanError(
            f"{folder} holds a testnet of {plan.options.validators} validators and "
            f"{plan.options.full_nodes} full nodes with the seed {plan.options.seed!r}: "
            f"leave out {', '.join(given)} to go on with it, or choose another --dir"
        )
    if duties is None:
        return plan
    options = replace(plan.options, duties=duties)
    check_options(options)
    return plan_testnet(options, [port for node in plan.nodes for port in (node.p2p_port, node.rpc_port)])
