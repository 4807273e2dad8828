"""What a node says of blocks that it does not have any more, or never had."""

from tools.rpc.faults import Code, RpcFault
from tools.rpc.view import NodeView


def not_here(node: NodeView, message: str, *, next_step: str) -> RpcFault:
    """The fault for something that is not found, which tells whether it may lie before the first block."""
    first = node.store.first
    if first == 1:
        return RpcFault(Code.NOT_FOUND, message, next_step=next_step)
    return RpcFault(
        Code.NOT_FOUND,
        f"{message}; this node's blocks begin at height {first}, and what lies before is not here",
        code="BEFORE_FIRST_BLOCK",
        next_step="ask a node that keeps the whole chain (`headrace status` shows a node's first block)",
    )
