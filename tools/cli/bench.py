"""`headrace bench`: what this machine is good for."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any, Final

import click

from tools.bench.work import Case, rounds
from tools.cli.errors import CliError
from tools.cli.options import device_option, json_option
from tools.cli.output import emit, table

_WIDTHS: Final = (128, 1024)
_COLUMNS: Final = (
    "width", "tokens", "Munits/s", "commit", "to float32", "to bf16", "to plain int8", "of int8 products",
)  # fmt: skip


@click.command(epilog="Example: headrace bench work --width 1024 --width 2048 --tokens 512 --json")
@device_option
@click.option(
    "--width", "widths", type=click.IntRange(32, 8192), multiple=True, default=_WIDTHS, show_default=True,
    help="Of the layer, a multiple of 32; may be given several times.",
)  # fmt: skip
@click.option("--tokens", type=click.IntRange(1, 8192), default=256, show_default=True, help="Read at once.")
@click.option("--repeats", type=click.IntRange(1, 1000), default=7, show_default=True, help="Rounds.")
@click.option(
    "--threads", type=click.IntRange(1, 1024), help="Of the host's processor.  [default: all cores]"
)
@json_option
def work(
    *, device: str, widths: tuple[int, ...], tokens: int, repeats: int, threads: int | None, as_json: bool
) -> None:
    """Time exact work, with its commitments, beside torch's own arithmetic on the same device.

    A round runs one decoder layer in exact integers, commits to it, and runs the same layer in torch's
    float32 and bf16, so that ratios compare what the machine did at about the same moment. A ratio is the
    time of committed exact work by that of the other: below 1 it is faster. Every figure comes with the least
    and the most of all rounds.

    A miner runs this first: it also compiles what later starts only load.
    """
    from pouw.backends.backend import BackendError
    from pouw.backends.select import select_backend

    wrong = [width for width in widths if width % 32]
    if wrong:
        raise click.BadParameter(f"{wrong[0]} is no multiple of 32", param_hint="--width")
    say = _silence if as_json else _say
    say("loading, or compiling where it is the first time ...")
    try:
        backend: Any = select_backend(device, threads=threads, loops="now")
        place = str(getattr(backend, "device", "cpu"))
        document: dict[str, Any] = {"device": backend.name, "threads": getattr(backend, "threads", None)}
        document["loops"] = getattr(backend, "loops", "the device's own")
        say(f"{backend.name}, loops: {document['loops']}")
        cases = []
        for width in widths:
            timed = rounds(backend, place, width=width, tokens=tokens, repeats=repeats, threads=threads)
            cases.append(_measure(timed, f"width {width}, {tokens} tokens", of=repeats, say=say))
    except (BackendError, ImportError) as error:
        raise CliError(
            str(error), code="BACKEND", next_step="`headrace miner devices` lists what works"
        ) from None
    document["cases"] = [asdict(case) for case in cases]
    head = f"{document['device']}, loops: {document['loops']}"
    emit(document, [head, *table(_COLUMNS, map(_row, cases))], as_json=as_json)


def _measure(timed: Iterator[int | Case], what: str, *, of: int, say: Callable[[str], None]) -> Case:
    for done in timed:
        if isinstance(done, Case):
            return done
        say(f"{what}: " + (f"round {done} of {of}" if done else "warm"))
    raise AssertionError("the rounds end with a result")


def _row(case: Case) -> tuple[object, ...]:
    rate = case.units_per_second
    return (
        case.width,
        case.tokens,
        f"{rate.median / 1e6:.0f} ({rate.least / 1e6:.0f}..{rate.most / 1e6:.0f})",
        case.commit_share.text(),
        *(case.ratios[name].text() for name in ("float32", "bf16", "plain")),
        case.product_share.text(),
    )


def _say(text: str) -> None:
    """Progress, which is not a result."""
    click.echo(text, file=sys.stderr)


def _silence(_: str) -> None:
    """A program reads standard error for an error alone."""
