"""A node's RPC without sockets: the real dispatcher over the real ledger."""

import json

from tests.tools.chain_node import ChainNode
from tools.rpc import wire
from tools.rpc.catalog import registry
from tools.rpc.client import CallFailed, Unreachable
from tools.rpc.dispatch import Dispatcher


class LocalChain:
    """Implements `tools.miner.chain.Chain` on a node in this process."""

    def __init__(self, node: ChainNode) -> None:
        self.node = node
        self.is_up = True

    async def call(self, result, method, **params):
        if not self.is_up:
            raise Unreachable("the node is down")
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        body = json.dumps(request).encode()
        raw = await Dispatcher(self.node, registry()).answer(body, local=True)
        answer = json.loads(raw)
        if "error" in answer:
            error = answer["error"]
            raise CallFailed(error["code"], error["message"], error["data"]["code"], error["data"]["next"])
        prefix = self.node.genesis.params.address_prefix
        return wire.read(result, answer["result"], prefix=prefix)
