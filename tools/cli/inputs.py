"""A task's inputs from the command line: drawings of the shipped data set, or a file of one's own."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from tools.rpc.messages import ModelView

MAX_FILE_BYTES: Final = 1 << 22


@dataclass(frozen=True, slots=True)
class TaskInputs:
    """A batch, ready to be sent."""

    rows: int
    encoded: bytes
    labels: tuple[int, ...]
    """What the data set says the rows show; empty for a file."""


def from_digits(text: str, model: ModelView) -> TaskInputs:
    """Rows of the shipped data set of handwritten digits, by their numbers: `0,5,17`.

    Raises:
        click.BadParameter: A number is none of the data set's.
    """
    from genesis.digits import load_digits

    digits = load_digits()
    numbers = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and int(part[:9]) < len(digits.images) for part in numbers):
        raise click.BadParameter(
            f"{text[:60]!r} is no list of numbers from 0 to {len(digits.images) - 1}, like 0,5,17",
            param_hint="--digits",
        )
    chosen = [int(part) for part in numbers]
    if model.input_width != digits.images.shape[1]:
        raise click.BadParameter(f"model {model.name} does not take images of digits", param_hint="--digits")
    labels = tuple(int(digits.labels[number]) for number in chosen)
    return TaskInputs(len(chosen), digits.images[chosen].tobytes(), labels)


def from_file(path: Path, model: ModelView) -> TaskInputs:
    """Rows from a file: raw values row after row, or a JSON array of rows.

    Raises:
        click.BadParameter: It cannot be read, or its rows are not the model's.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise _bad(f"{path}: {error.strerror}") from None
    if len(raw) > MAX_FILE_BYTES:
        raise _bad(f"{path} has more than {MAX_FILE_BYTES} bytes")
    if path.suffix == ".json":
        return _from_json(raw, path, model)
    row = model.input_width * model.input_bytes
    if not raw or len(raw) % row:
        raise _bad(f"{path} has {len(raw)} bytes, rows of {model.name} have {row}")
    return TaskInputs(len(raw) // row, raw, ())


def _from_json(raw: bytes, path: Path, model: ModelView) -> TaskInputs:
    try:
        rows = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise _bad(f"{path} is not JSON: {error}") from None
    if not isinstance(rows, list) or not rows:
        raise _bad(f"{path} is no array of rows")
    encoded = bytearray()
    for number, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != model.input_width:
            raise _bad(f"{path}: row {number} has not {model.input_width} values")
        for value in row:
            if type(value) is not int or not model.input_low <= value <= model.input_high:
                raise _bad(
                    f"{path}: row {number} holds {value!r}, due are {model.input_low} to {model.input_high}"
                )
            encoded += value.to_bytes(model.input_bytes, "little", signed=True)
    return TaskInputs(len(rows), bytes(encoded), ())


def _bad(message: str) -> click.BadParameter:
    return click.BadParameter(message, param_hint="--file")
