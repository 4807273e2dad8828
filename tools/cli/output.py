"""What commands print: one JSON document for programs, aligned lines for people."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

import click


def emit(document: Any, lines: Iterable[str], *, as_json: bool) -> None:
    """Print a result in the form that was asked for."""
    if as_json:
        click.echo(json.dumps(document))
        return
    for line in lines:
        click.echo(line)


def pairs(items: Iterable[tuple[str, object]]) -> list[str]:
    """Names and values in two columns; empty values are left out."""
    shown = [(name, str(value)) for name, value in items if value not in (None, "")]
    width = max((len(name) for name, _ in shown), default=0)
    return [f"{name:<{width}}  {value}" for name, value in shown]


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Rows under a head, as wide as the widest."""
    lines = [tuple(head), *(tuple(str(cell) for cell in row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return [
        "  ".join(f"{cell:<{w}}" for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines
    ]
