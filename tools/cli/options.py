"""Options that many commands share, and what they stand for."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from chain.address import AddressError, decode_address, encode_address
from tools.amounts import COIN_DIGITS
from tools.cli.errors import CliError, Exit
from tools.rpc.client import DEFAULT_URL, CallFailed, Client, Unreachable
from tools.rpc.faults import Code
from tools.rpc.wire import Json

if TYPE_CHECKING:
    from tools.testnet.record import AccountRecord, TestnetRecord

ID_DIGITS: Final = 64

_T = TypeVar("_T")
_F = TypeVar("_F", bound=Callable[..., Any])

json_option: Final = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
password_option: Final = click.option(
    "--password-file", type=click.Path(path_type=Path), help="File with the password in its first line."
)


class DeviceName(click.ParamType[str]):
    """What computes: `auto`, `cuda`, `cuda:1`, `cpu`, `reference`."""

    name = "device"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Read a device's name."""
        from pouw.backends.select import is_device

        if not is_device(str(value)):
            self.fail(f"{value!r} is no device: write auto, cuda, cuda:1, cpu or reference", param, ctx)
        return str(value)


device_option: Final = click.option(
    "--device", type=DeviceName(), default="auto", show_default=True, metavar="auto|cuda[:N]|cpu|reference",
    help="What computes; auto takes a GPU where one computes rightly.",
)  # fmt: skip


def remote_options(command: _F) -> _F:
    """`--rpc`, `--testnet` and `--json`."""
    command = json_option(command)
    command = click.option(
        "--testnet", "testnet_dir", type=click.Path(path_type=Path), metavar="DIR",
        help="Folder of a local testnet: its first node and its accounts are used.",
    )(command)  # fmt: skip
    return click.option(
        "--rpc", "url", metavar="URL", help=f"Address of the node.  [default: {DEFAULT_URL}]"
    )(command)


@dataclass(frozen=True, slots=True)
class Remote:
    """The node that a command talks to; failures become exit codes here."""

    client: Client
    testnet: "TestnetRecord | None"
    folder: Path | None = None
    """Of the testnet."""

    @classmethod
    def of(cls, url: str | None, testnet_dir: Path | None) -> "Remote":
        """From the options' values.

        Raises:
            CliError: The address or the testnet's folder is no good.
        """
        testnet = None if testnet_dir is None else _testnet_in(testnet_dir)
        address = url or (testnet.nodes[0].rpc if testnet is not None else DEFAULT_URL)
        try:
            return cls(Client(address), testnet, testnet_dir)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--rpc") from None

    @property
    def prefix(self) -> str:
        """The chain's address prefix."""
        return self._guarded(lambda: self.client.prefix)

    @property
    def flags(self) -> str:
        """What names the same node on another command line, with a space before it; empty for the default."""
        if self.folder is not None:
            return f" --testnet {self.folder}"
        return "" if self.client.url == DEFAULT_URL else f" --rpc {self.client.url}"

    @property
    def names(self) -> dict[str, str]:
        """Addresses of the local testnet's accounts and miners, by name."""
        if self.testnet is None:
            return {}
        accounts = {account.name: account.address for account in self.testnet.accounts}
        return accounts | {miner.name: miner.address for miner in self.testnet.miners}

    def address(self, name: str, hint: str = "ADDRESS") -> str:
        """An address of the chain, by itself or by the name that it has in the local testnet.

        Raises:
            click.BadParameter: It is neither.
            CliError: The node does not answer.
        """
        names = self.names
        if name in names:
            return names[name]
        try:
            return encode_address(decode_address(name, prefix=self.prefix), prefix=self.prefix)
        except AddressError as error:
            known = f"; the testnet has {', '.join(names)}" if names else ""
            raise click.BadParameter(f"{error}{known}", param_hint=hint) from None

    def call(self, result: type[_T], method: str, **params: Json) -> _T:
        """Call a method.

        Raises:
            CliError: The node does not answer, or says no.
        """
        try:
            return self._guarded(lambda: self.client.call(result, method, **params))
        except CliError as error:
            error.message = error.message.removeprefix("$.")  # a path into JSON that nobody here has written
            raise

    def raw(self, method: str, params: Json) -> Json:
        """Call a method and take its JSON as it is.

        Raises:
            CliError: The node does not answer, or says no.
        """
        return self._guarded(lambda: self.client.raw(method, params))

    def _guarded(self, call: Callable[[], _T]) -> _T:
        try:
            return call()
        except CallFailed as error:
            raise CliError(
                error.message,
                code=error.code or str(error.number),
                next_step=error.next_step,
                exit_code=Exit.USAGE if error.number == Code.INVALID_PARAMS else Exit.ERROR,
            ) from None
        except Unreachable as error:
            raise CliError(
                str(error),
                code="UNREACHABLE",
                next_step="start one (`headrace testnet up`, `headrace node run`) or name it with --rpc",
                exit_code=Exit.UNREACHABLE,
            ) from None


def _testnet_in(folder: Path) -> "TestnetRecord":
    from tools.testnet.record import RecordError, read_record

    try:
        return read_record(folder)
    except RecordError as error:
        next_step = f"start one: `headrace testnet up --dir {folder}`"
        raise CliError(str(error), code="NO_TESTNET", next_step=next_step) from None


def account_of(testnet: "TestnetRecord | None", name: str | None) -> "AccountRecord | None":
    """A funded account of a testnet by its name; the first one, if no name is given."""
    if testnet is None:
        return None
    return next((account for account in testnet.accounts if name in (None, account.name)), None)


class Id(click.ParamType[str]):
    """A hash of the chain: a task's, commit's or transaction's name."""

    name = "id"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Read an id."""
        text = str(value).lower()
        if len(text) != ID_DIGITS or not set(text) <= set("0123456789abcdef"):
            self.fail(f"{value!r} is no id: {ID_DIGITS} hexadecimal digits", param, ctx)
        return text


class Amount(click.ParamType[int]):
    """Coins with up to six decimals, read exactly into base units."""

    name = "coins"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read an amount."""
        if isinstance(value, int):
            return value
        whole, point, rest = str(value).partition(".")
        digits = (whole + rest).isascii() and whole.isdigit() and (rest.isdigit() if point else True)
        if not digits or len(rest) > COIN_DIGITS or len(whole) > 14:
            self.fail(f"{value!r} is no amount of coins with at most {COIN_DIGITS} decimals", param, ctx)
        amount = int(whole) * 10**COIN_DIGITS + int((rest + "0" * COIN_DIGITS)[:COIN_DIGITS])
        if amount >= 1 << 64:
            self.fail(f"{value} coins are more than there can be", param, ctx)
        return amount
