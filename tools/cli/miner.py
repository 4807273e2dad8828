"""`headrace miner`: work for the chain."""

import logging
import sys
from pathlib import Path
from typing import Any, Final

import click

from tools.cli.errors import CliError, Exit
from tools.cli.options import device_option, json_option, password_option
from tools.cli.output import emit, table
from tools.rpc.client import DEFAULT_URL

_UNITS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


class Share(click.ParamType[float]):
    """A share of time: `0.15` or `15%`."""

    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read a share."""
        if isinstance(value, float):
            return value
        text, scale = (value[:-1], 100) if value.endswith("%") else (value, 1)
        try:
            share = float(text) / scale
        except ValueError:
            share = 0.0
        if not 0 < share <= 1:
            self.fail(f"{value!r} is no share of time: write 0.15 or 15%, up to 1 or 100%", param, ctx)
        return share


class Size(click.ParamType[int]):
    """Bytes: `512M`, `2G`."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read a size."""
        if isinstance(value, int):
            return value
        digits = value.rstrip("KMG")
        unit = value[len(digits) :]
        if not digits.isascii() or not digits.isdigit() or unit not in _UNITS or len(digits) > 12:
            self.fail(f"{value!r} is no size: write 512M or 2G", param, ctx)
        return int(digits) * _UNITS[unit]


@click.command(
    epilog="Example: headrace miner run --key miner.json --password-file miner.password --duty 50%"
)
@click.option(
    "--rpc", "--node", "url", metavar="URL", default=DEFAULT_URL, show_default=True, help="The miner's node."
)
@click.option(
    "--key", type=click.Path(path_type=Path), required=True, help="Key file of the miner's account."
)
@password_option
@device_option
@click.option(
    "--duty",
    type=Share(),
    default=1.0,
    show_default="1",
    help="Share of the time that goes into commons work.",
)
@click.option(
    "--memory-limit", type=Size(), default="512M", show_default=True, help="For open commits' traces."
)
def run(url: str, key: Path, password_file: Path | None, device: str, duty: float, memory_limit: int) -> None:
    """Do the work that a node hands out, until stopped or out of work for good.

    An account that is no miner yet registers itself with a bond from its balance, for the consensus key of
    the node at URL. Tasks that somebody pays for are done at once; the duty holds for the commons. Every
    refusal is in the log with its reason, and Ctrl-C ends with a summary. Started again, it proves what it
    left open.
    """
    import trio

    from chain.crypto.keystore import KeyRole
    from genesis.document import GenesisError
    from pouw.backends.backend import BackendError
    from tools.cli.secrets import KeyChoice
    from tools.miner.service import Settings, run_miner
    from tools.rpc.client import Client

    secret = KeyChoice(key, password_file).open(KeyRole.MINER, KeyRole.ACCOUNT)
    logging.basicConfig(
        stream=sys.stdout, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", force=True
    )
    settings = Settings(device=device, duty=duty, memory_bytes=memory_limit)
    try:
        client = Client(url)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--rpc") from None
    try:
        ended = trio.run(run_miner, client, secret, settings)
    except* BackendError as group:
        raise CliError(
            _first(group),
            code="BACKEND",
            next_step="`headrace miner devices` lists what works",
            exit_code=Exit.ERROR,
        ) from None
    except* GenesisError as group:
        raise CliError(
            _first(group), code="UNKNOWN_MODEL", next_step="install the version that the chain runs"
        ) from None
    if not ended.startswith("signal "):
        raise CliError(f"the miner stopped: {ended}", code="STOPPED", next_step="`headrace why ADDRESS`")


@click.command(epilog="Example: headrace miner devices --json")
@json_option
def devices(*, as_json: bool) -> None:
    """List what this machine can work on, and why it cannot on the rest.

    Each device computes known answers first; one that gets a bit wrong is not used.
    """
    from pouw.backends.backend import BackendError
    from pouw.backends.select import present_devices, select_backend

    present = present_devices()
    if "cpu" not in present:
        present.insert(0, "cpu")  # it could be: whoever installs torch has it, and is told so
    found = []
    for device in present:
        try:
            found.append({"device": device, "usable": True, "detail": select_backend(device).name})
        except BackendError as error:
            found.append({"device": device, "usable": False, "detail": str(error)})
    rows = [(item["device"], "yes" if item["usable"] else "no", item["detail"]) for item in found]
    emit({"devices": found}, table(("device", "usable", "detail"), rows), as_json=as_json)


def _first(group: BaseExceptionGroup[BaseException]) -> str:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error)
