"""What clients send: calls, addresses, proofs of balances, orders to a testnet."""

import json
import random
from typing import Any, Final

from chain.address import AddressError, decode_address, encode_address
from tests.fuzz.target import Refused, Target
from tests.tools.chain_node import PREFIX
from tests.tools.keys import ALICE
from tools.balance_proof import FORMAT, BalanceProof, ProofInvalid, parse_proof
from tools.rpc import wire
from tools.rpc.catalog import registry
from tools.rpc.dispatch import parse
from tools.rpc.faults import RpcFault
from tools.testnet.control import MAX_ORDER_BYTES, ControlError, parse_order


def _rpc(data: bytes) -> object:
    request = parse(data)
    method = registry().get(str(request.get("method"))) if isinstance(request, dict) else None
    params = request.get("params") if isinstance(request, dict) else None
    if method is None or not isinstance(params, (list, dict)):
        raise Refused
    return method.arguments(params, prefix=PREFIX)


def _rpcs(_: random.Random) -> list[bytes]:
    address = encode_address(ALICE.public_key, prefix=PREFIX)
    calls: list[tuple[str, Any]] = [
        ("status", []),
        ("block", {"height": 3}),
        ("account", {"address": address}),
        ("account", [address]),
        ("transaction", ["00" * 32]),
        ("send_transaction", ["00" * 40]),
    ]
    bodies = [{"jsonrpc": "2.0", "id": 1, "method": name, "params": params} for name, params in calls]
    return [json.dumps(body).encode() for body in bodies]


def _balance_proofs(chance: random.Random) -> list[bytes]:
    proof = BalanceProof(FORMAT, chance.randbytes(32), chance.randbytes(32), b"chain", b"state")
    return [json.dumps(wire.write(BalanceProof, proof, prefix=PREFIX)).encode()]


CLIENTS: Final[dict[str, Target]] = {
    "rpc": Target(_rpc, (RpcFault, Refused), _rpcs),
    "balance-proof": Target(
        lambda data: parse_proof(data.decode("utf-8")), (ProofInvalid, UnicodeDecodeError), _balance_proofs
    ),
    "address": Target(
        lambda data: decode_address(data.decode("utf-8"), prefix=PREFIX),
        (AddressError, UnicodeDecodeError),
        lambda _: [encode_address(ALICE.public_key, prefix=PREFIX).encode()],
        longest=128,
    ),
    "order": Target(
        parse_order, (ControlError,), lambda _: [b'{"do": "stop", "name": "node-1"}'], longest=MAX_ORDER_BYTES
    ),
}
