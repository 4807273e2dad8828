"""`headrace rpc`: any method, plain JSON in and out."""

import json
from pathlib import Path

import click

from tools.cli.options import Remote, remote_options


@click.command(
    epilog="""\b
Examples:
  headrace rpc rpc.discover
  headrace rpc block '{"height": 5}'
"""
)
@click.argument("method")
@click.argument("params", required=False, metavar="[JSON]")
@remote_options
def rpc(method: str, params: str | None, url: str | None, testnet_dir: Path | None, *, as_json: bool) -> None:
    """Call a METHOD with its parameters as a JSON object or array, and print the result as JSON."""
    try:
        parsed = None if params is None else json.loads(params)
    except (ValueError, RecursionError) as error:
        raise click.BadParameter(f"not JSON: {error}", param_hint="JSON") from None
    if parsed is not None and not isinstance(parsed, (dict, list)):
        raise click.BadParameter("parameters are an object or an array", param_hint="JSON")
    result = Remote.of(url, testnet_dir).raw(method, parsed)
    click.echo(json.dumps(result, indent=None if as_json else 2))
