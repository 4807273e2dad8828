"""`headrace task`: ask a model, and read the proven answer."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click

from chain.crypto.keystore import KeyRole
from chain.execution.records import TaskStatus
from chain.types.transaction import SubmitTask
from tools.amounts import coins
from tools.cli.errors import CliError
from tools.cli.inputs import TaskInputs, from_digits, from_file
from tools.cli.options import Amount, Id, Remote, password_option, remote_options
from tools.cli.output import emit, pairs, table
from tools.cli.secrets import KeyChoice
from tools.cli.send import key_option
from tools.cli.submission import POLL_SECONDS, Fees, fee_options, submit_body, wait_until_final
from tools.rpc import wire
from tools.rpc.commons_messages import CheckpointView
from tools.rpc.messages import ModelView, Quote, TaskView

WAIT_SECONDS: Final = 120.0

_SAID: Final = {
    TaskStatus.WAITING: "submitted: it waits for a miner",
    TaskStatus.ASSIGNED: "assigned to a miner",
    TaskStatus.COMMITTED: "committed: there is an answer, its proof is due",
    TaskStatus.ANSWERED: "proven and paid",
    TaskStatus.REFUNDED: "refunded: nobody answered",
}

model_option = click.option(
    "--model", "model_name", metavar="NAME", help="Model, by name or id.  [default: the first published]"
)


@click.command(epilog="Example: headrace task quote --rows 3")
@model_option
@click.option(
    "--rows", type=click.IntRange(1, 65535), help="Rows to ask about; without it the models are listed."
)
@remote_options
def quote(
    model_name: str | None, rows: int | None, url: str | None, testnet_dir: Path | None, *, as_json: bool
) -> None:
    """Show the models that tasks may ask, or what a task of so many rows costs."""
    remote = Remote.of(url, testnet_dir)
    if rows is None:
        models = remote.call(tuple[ModelView, ...], "models")
        lines = table(
            ("model", "id", "row", "values", "units a row"),
            [
                (
                    m.name,
                    m.id.hex()[:16],
                    f"{m.input_width} values",
                    f"{m.input_low} to {m.input_high}",
                    m.units_per_row,
                )
                for m in models
            ],
        )
        emit(
            {"models": wire.write(tuple[ModelView, ...], models, prefix=remote.prefix)},
            lines,
            as_json=as_json,
        )
        return
    model = find_model(remote, model_name)
    price = remote.call(Quote, "quote", model=model.id.hex(), rows=rows)
    shown = pairs(
        [
            ("model", f"{model.name} ({model.id.hex()})"),
            ("rows", rows),
            ("units", price.units),
            ("price", f"{coins(price.price)} coins at least, to the miner"),
            ("fee", f"about {coins(price.fee)} coins, burned"),
            ("miners", f"{price.miners} serve it"),
        ]
    )
    emit(wire.write(Quote, price, prefix=remote.prefix), shown, as_json=as_json)


@click.command(epilog="Example: headrace task submit --testnet ./testnet --digits 0,5,17 --wait --check")
@key_option
@model_option
@click.option("--digits", metavar="N,N,...", help="Images of the shipped data set, by their numbers.")
@click.option("--file", "path", type=click.Path(path_type=Path), help="Raw rows, or a .json array of rows.")
@click.option("--payment", type=Amount(), help="Coins for the miner.  [default: the least]")
@click.option("--wait", is_flag=True, help="Return with the proven answer.")
@click.option("--check", is_flag=True, help="Compute it here too, and compare bit by bit (implies --wait).")
@click.option(
    "--timeout", type=click.FloatRange(1), default=WAIT_SECONDS, show_default=True, help="Seconds to wait."
)
@fee_options
@password_option
@remote_options
def submit(
    key_name: str | None,
    model_name: str | None,
    digits: str | None,
    path: Path | None,
    payment: int | None,
    timeout: float,
    fees: Fees,
    password_file: Path | None,
    url: str | None,
    testnet_dir: Path | None,
    *,
    wait: bool,
    check: bool,
    as_json: bool,
) -> None:
    """Ask a model about a batch of inputs.

    The payment is locked until a proven answer is there, and comes back if nobody answers. The model
    `commons` is the one that the chain trains: it answers as well as it can by then.
    """
    if (digits is None) == (path is None):
        raise click.UsageError("give either --digits or --file")
    remote = Remote.of(url, testnet_dir)
    model = find_model(remote, model_name)
    inputs = from_digits(digits, model) if digits is not None else from_file(path or Path(), model)
    price = remote.call(Quote, "quote", model=model.id.hex(), rows=inputs.rows)
    if payment is not None and payment < price.price:
        least = f"{coins(payment)} coins are below the price of {inputs.rows} rows, {coins(price.price)}"
        raise click.BadParameter(least, param_hint="--payment")
    secret = KeyChoice.of(key_name, password_file, remote.testnet).open(KeyRole.ACCOUNT, KeyRole.MINER)
    body = SubmitTask(model.id, inputs.rows, inputs.encoded, price.price if payment is None else payment)
    task_id = submit_body(remote, secret, body, fees).id
    if not wait and not check:
        document = {"id": task_id.hex(), "rows": body.rows, "payment": body.payment}
        emit(
            document,
            [
                *pairs((document | {"payment": f"{coins(body.payment)} coins"}).items()),
                f"follow it: headrace task show {task_id.hex()}{remote.flags}",
            ],
            as_json=as_json,
        )
        return
    wait_until_final(remote, task_id, quiet=as_json)
    view = _wait_for_answer(remote, task_id, timeout=timeout, quiet=as_json)
    _emit_task(remote, view, model, inputs, check=check, as_json=as_json)


@click.command(epilog="Example: headrace task show 3f1c... --check")
@click.argument("id", metavar="ID", type=Id())
@click.option("--check", is_flag=True, help="Compute the answer here too, and compare bit by bit.")
@remote_options
def show(id: str, url: str | None, testnet_dir: Path | None, *, check: bool, as_json: bool) -> None:  # noqa: A002
    """Show how a task stands, and its answer."""
    remote = Remote.of(url, testnet_dir)
    view = remote.call(TaskView, "task", id=id)
    model = find_model(remote, view.model.hex())
    inputs = TaskInputs(view.rows, view.inputs, ())
    _emit_task(remote, view, model, inputs, check=check and view.answer is not None, as_json=as_json)


def find_model(remote: Remote, name: str | None) -> ModelView:
    """A model by its name or id, or without one the first that is published whole.

    Raises:
        click.BadParameter: The chain has no such model.
    """
    models: Sequence[ModelView] = remote.call(tuple[ModelView, ...], "models")
    for model in models:
        if name in (model.name, model.id.hex()) or (name is None and not model.commons):
            return model
    known = ", ".join(model.name for model in models)
    raise click.BadParameter(f"the chain has no model {name!r}; it has {known}", param_hint="--model")


def answers_of(view: TaskView, model: ModelView) -> list[list[int]]:
    """The answer's values, row by row."""
    size, width = model.answer_bytes, model.answer_width
    raw = view.answer or b""
    values = [int.from_bytes(raw[at : at + size], "little", signed=True) for at in range(0, len(raw), size)]
    return [values[at : at + width] for at in range(0, len(values), width)]


def _wait_for_answer(remote: Remote, task_id: bytes, *, timeout: float, quiet: bool) -> TaskView:
    deadline, seen = time.monotonic() + timeout, None
    while True:
        view = remote.call(TaskView, "task", id=task_id.hex())
        if not quiet and (view.status, view.attempts) != seen:
            seen = (view.status, view.attempts)
            click.echo(f"height {view.since}: {_SAID[view.status]}", err=True)
        if view.status is TaskStatus.ANSWERED:
            return view
        if view.status is TaskStatus.REFUNDED:
            raise CliError(
                f"task {task_id.hex()} was refunded after {view.attempts} assignments", code="TASK_REFUNDED",
                next_step=f"`headrace why {task_id.hex()}` says why",
            )  # fmt: skip
        if time.monotonic() > deadline:
            raise CliError(
                f"task {task_id.hex()} is {view.status.name} after {timeout:.0f} s", code="STILL_WAITING",
                next_step=f"it goes on: `headrace task show {task_id.hex()}`",
            )  # fmt: skip
        time.sleep(POLL_SECONDS)


def _emit_task(
    remote: Remote, view: TaskView, model: ModelView, inputs: TaskInputs, *, check: bool, as_json: bool
) -> None:
    answers = answers_of(view, model)
    equal = _reference_answer(remote, view, model, inputs) == view.answer if check else None
    document: dict[str, Any] = {
        "task": wire.write(TaskView, view, prefix=remote.prefix),
        "answers": answers,
        "labels": list(inputs.labels),
        "equals_reference": equal,
    }
    lines = pairs(
        [
            ("task", view.id.hex()),
            ("status", f"{_SAID[view.status]} (height {view.since})"),
            ("payment", f"{coins(view.payment)} coins"),
            ("attempts", view.attempts),
            ("commit", view.commit.hex() if view.commit else None),
            ("model", f"{model.name} after {view.step} steps" if model.commons and answers else model.name),
        ]
    )
    labels: Sequence[object] = inputs.labels or [""] * len(answers)
    rows = [(row, *answer, label) for row, (answer, label) in enumerate(zip(answers, labels, strict=True))]
    if rows:
        names = ["answer"] if model.answer_width == 1 else [f"answer {i}" for i in range(model.answer_width)]
        lines += ["", *table(("row", *names, "label" if inputs.labels else ""), rows)]
    if equal:
        lines.append("the reference backend gives the same bits")
    emit(document, lines, as_json=as_json)
    if equal is False:
        raise CliError(
            f"the answer of task {view.id.hex()} is not what the reference backend computes here",
            code="ANSWER_DIFFERS",
            next_step="if it is proven, this machine or this version is broken: report the task's id",
        )


def _reference_answer(remote: Remote, view: TaskView, model: ModelView, inputs: TaskInputs) -> bytes:
    """The answer as the definition of exactness gives it, computed on this machine.

    Raises:
        CliError: This version does not bring the model's weights along, or the ledger does not hold them any
            more.
    """
    from chain.execution.models import Roots
    from genesis.document import from_json
    from genesis.registry import registry_of
    from pouw.backends.reference import ReferenceBackend
    from pouw.trace import run_program
    from tools.miner.models import weights_by_model

    models = registry_of(from_json(remote.call(str, "genesis")))
    known, weights = models.find(model.id), weights_by_model().get(model.id)
    roots: Roots = ()
    if known is not None and model.commons:
        numbers = remote.call(CheckpointView, "commons_checkpoint", step=view.step).numbers
        voted = models.commons.voted
        roots, weights = voted.roots(numbers), voted.weights(numbers)
    if known is None or weights is None:
        raise CliError(
            f"this version has no weights of model {model.id.hex()}", code="UNKNOWN_MODEL",
            next_step="check it with the version that the chain runs",
        )  # fmt: skip
    values = known.read_inputs(inputs.rows, inputs.encoded)
    assert not isinstance(values, str), f"the chain took a task whose {values}"
    program = known.program_at(inputs.rows, roots)
    return run_program(program, weights, values, ReferenceBackend()).answer.tobytes()
