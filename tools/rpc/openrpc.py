"""The interface's own description (OpenRPC 1.3), made from the same signatures that check the calls."""

from typing import Any

from tools.rpc import wire
from tools.rpc.faults import Code
from tools.rpc.registry import Method, Registry
from tools.rpc.view import NodeView
from tools.version import version


def describe(registry: Registry, node: NodeView) -> Any:
    """The OpenRPC document of a server."""
    return {
        "openrpc": "1.3.2",
        "info": {"title": f"Headrace node of {node.genesis.params.chain_id}", "version": version()},
        "methods": [_method(method) for method in registry.methods],
        "components": {"errors": {code.name: {"code": int(code), "message": code.name} for code in Code}},
    }


def _method(method: Method) -> dict[str, Any]:
    return {
        "name": method.name,
        "summary": method.summary,
        "paramStructure": "either",
        "params": [
            {"name": item.name, "required": item.required, "schema": wire.form_of(item.kind).schema}
            for item in method.parameters
        ],
        "result": {"name": f"{method.name}_result", "schema": wire.form_of(method.result).schema},
        **({"x-local-only": True} if method.local_only else {}),
    }
