"""The `headrace` command.

Exit codes: 0 done, 1 error, 2 usage, 3 no node answers, 4 refused for safety, 5 disk full or failed, 130
interrupted. With `--json` a result is one JSON document on standard output, and an error one on standard
error: `{"error": {"code", "message", "next", "exit"}}`.
"""

import json
import os
import sys
from collections.abc import Sequence
from typing import Any, Final, NoReturn

import click

from tools.cli.errors import CliError, Exit
from tools.cli.lazy import Entry, LazyGroup

_COMMANDS: Final = {
    "testnet": Entry("tools.testnet.commands:testnet", "Start, watch and stop a network on this machine."),
    "status": Entry("tools.cli.status:status", "Show how a node and its chain stand."),
    "task": Entry("tools.cli.groups:task", "Ask a model and read the proven answer."),
    "tx": Entry("tools.cli.groups:tx", "Send coins."),
    "balance": Entry("tools.cli.account:balance", "Show an account's coins."),
    "why": Entry("tools.cli.why:why", "Tell what happened to a task, commit, transaction, miner or account."),
    "evidence": Entry("tools.cli.evidence:evidence", "List the consensus keys that contradicted themselves."),
    "proof": Entry("tools.cli.groups:proof", "Prove a balance to somebody who trusts nobody."),
    "key": Entry("tools.cli.groups:key", "Make and show key files."),
    "guard": Entry("tools.cli.groups:guard", "Make and move the log of what a consensus key signed."),
    "miner": Entry("tools.cli.groups:miner", "Work for the chain."),
    "bench": Entry("tools.cli.groups:bench", "Measure this machine."),
    "node": Entry("tools.cli.groups:node", "Run a node."),
    "peers": Entry("tools.cli.groups:peers", "See and lift a node's bans."),
    "verify": Entry("tools.cli.database:verify", "Check a stopped node's whole database."),
    "rollback": Entry("tools.cli.database:rollback", "Take a stopped node's newest blocks back."),
    "genesis": Entry("tools.cli.groups:genesis", "Read genesis documents."),
    "model": Entry("tools.cli.groups:model", "Import models, and ask them on this machine."),
    "rpc": Entry("tools.cli.rpc:rpc", "Call any method of a node."),
}


class Root(LazyGroup):
    """The top of the command tree; the one place where failures become exit codes."""

    def main(  # type: ignore[override]  # click's own signature is overloaded on standalone_mode
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any
    ) -> NoReturn:
        """Run a command line and exit."""
        arguments = list(sys.argv[1:] if args is None else args)
        extra["standalone_mode"] = False
        as_json = "--json" in arguments
        try:
            result = super().main(arguments, prog_name or "headrace", **extra)
            code = result if isinstance(result, int) else Exit.OK
            sys.stdout.flush()
        except CliError as error:
            code = _report(error, as_json=as_json)
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.format_message(), err=True)
            code = Exit.USAGE
        except click.UsageError as error:
            where = error.ctx.command_path if error.ctx else "headrace"
            code = _report(
                CliError(
                    error.format_message(),
                    code="USAGE",
                    next_step=f"see `{where} --help`",
                    exit_code=Exit.USAGE,
                ),
                as_json=as_json,
            )
        except click.ClickException as error:
            code = _report(CliError(error.format_message(), code="ERROR", next_step=""), as_json=as_json)
        except (click.Abort, KeyboardInterrupt):
            code = Exit.INTERRUPTED
        except BrokenPipeError:
            # The reader (`head`, a closed pager) has seen enough; Python must not fail again at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = Exit.OK
        sys.exit(int(code))


def _report(error: CliError, *, as_json: bool) -> Exit:
    if as_json:
        document = {"code": error.code, "message": error.message, "next": error.next_step}
        click.echo(json.dumps({"error": document | {"exit": int(error.exit_code)}}), err=True)
    else:
        click.echo(f"error: {error.message}", err=True)
        if error.next_step:
            click.echo(f"  next: {error.next_step}", err=True)
    return error.exit_code


def _show_version(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not context.resilient_parsing:
        from tools.version import version

        click.echo(f"headrace {version()}")
        context.exit()


main = Root(
    name="headrace",
    entries=_COMMANDS,
    help="""A blockchain client whose blocks are earned by verified AI work.

    \b
    Example:
      headrace testnet up
    """,
    params=[
        click.Option(
            ["--version"],
            is_flag=True,
            expose_value=False,
            is_eager=True,
            callback=_show_version,
            help="Show the version and exit.",
        )
    ],
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

if __name__ == "__main__":
    main()
