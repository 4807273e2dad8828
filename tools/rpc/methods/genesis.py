"""What the chain is made of."""

from genesis.document import to_json
from tools.rpc.view import NodeView


def genesis(node: NodeView) -> str:
    """The text of the genesis file; its digest is in `status`."""
    return to_json(node.genesis)
