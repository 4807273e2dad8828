"""A peer that offers more than anybody asked for: `python -m tests.overload.hostile ORDER` (JSON).

It speaks the protocol without a fault, so nobody may ban it. Half of what it sends are transfers that pay the
fee, half are such transfers again, long included: valid signatures that cost a look and lead nowhere. What
its own queue refuses counts as offered; that is what back-pressure is for.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import trio

from chain.codec import encode
from chain.crypto.ed25519 import SecretKey
from chain.types.transaction import SignedTransaction, Transaction, Transfer, sign_transaction
from genesis.document import read_genesis
from p2p.config import NetworkConfig
from p2p.libp2p_network import Libp2pNetwork, open_network
from p2p.network import Lane
from tools.node.gossip import Batch

BATCH = 32
OLD = 4096
"""Transfers kept to be sent again."""


@dataclass(frozen=True, slots=True)
class Order:
    """What to offer.

    Args:
        genesis: file of the chain.
        peers: multiaddresses of the victims.
        seeds: hexadecimal seeds of funded accounts.
        nonces: where each account stands.
        rate: transactions a second; 0 offers as many as the queue takes.
        seconds: for how long.
        again: whether half of it is old.
    """

    genesis: str
    peers: tuple[str, ...]
    seeds: tuple[str, ...]
    nonces: tuple[int, ...]
    rate: int
    seconds: float
    again: bool


class Flood:
    """Makes batches."""

    def __init__(self, order: Order, chain_id: str) -> None:
        self._keys = [SecretKey(bytes.fromhex(seed)) for seed in order.seeds]
        self._nonces = list(order.nonces)
        self._chain_id = chain_id
        self._old: list[SignedTransaction] = []
        self._again = order.again
        self._turn = 0

    def batch(self) -> bytes:
        """The next frame."""
        fresh = [self._transfer() for _ in range(BATCH // 2 if self._again and self._old else BATCH)]
        old = self._old[-len(fresh) :] if self._again else []
        self._old = (self._old + fresh)[-OLD:]
        return encode(Batch((*fresh, *old)))

    def _transfer(self) -> SignedTransaction:
        self._turn = (self._turn + 1) % len(self._keys)
        key = self._keys[self._turn]
        nonce = self._nonces[self._turn]
        self._nonces[self._turn] += 1
        body = Transfer(self._keys[self._turn - 1].public_key, 1)
        transaction = Transaction(self._chain_id, key.public_key, nonce, max_base_fee=1000, tip=0, body=body)
        return sign_transaction(transaction, key)


async def flood(network: Libp2pNetwork, order: Order, source: Flood) -> dict[str, int]:
    """Offer, at the ordered rate, until the time is over."""
    count = {"offered": 0, "sent": 0, "refused": 0}
    began = trio.current_time()
    while (now := trio.current_time()) < began + order.seconds:
        if order.rate and count["offered"] >= order.rate * (now - began):
            await trio.sleep(0.005)
            continue
        frame = source.batch()
        for peer in network.peers():
            taken = network.send(peer, Lane.TRANSACTIONS, frame)
            count["offered"] += BATCH
            count["sent" if taken else "refused"] += BATCH
            if not taken and not order.rate:
                await trio.sleep(0.02)
        await trio.lowlevel.checkpoint()
    return count


async def main() -> None:
    """Connect, flood, say what was offered."""
    read = json.loads(sys.argv[1])
    order = Order(
        **{name: tuple(value) if isinstance(value, list) else value for name, value in read.items()}
    )
    genesis = read_genesis(Path(order.genesis))
    config = NetworkConfig(
        identity_seed=b"hostile".ljust(32, b"."), chain_tag=genesis.digest, bootstrap=order.peers
    )
    async with open_network(config) as network, trio.open_nursery() as nursery:
        nursery.start_soon(drain, network)
        with trio.fail_after(30):
            while not network.peers():  # noqa: ASYNC110 - asked from outside, as any peer would
                await trio.sleep(0.05)
        count = await flood(network, order, Flood(order, genesis.params.chain_id))
        count["connected"] = len(network.peers())
        print(json.dumps(count), flush=True)
        nursery.cancel_scope.cancel()


async def drain(network: Libp2pNetwork) -> None:
    """Take what the victims send, as a good peer does."""
    async with trio.open_nursery() as nursery:

        async def forget() -> None:
            async for _ in network.inbound:
                pass

        async def overhear() -> None:
            async for _ in network.events:
                pass

        nursery.start_soon(forget)
        nursery.start_soon(overhear)


if __name__ == "__main__":
    trio.run(main)
