"""What a miner has sent and not seen final: signed in order of nonces, kept until the ledger has spoken."""

from dataclasses import dataclass, field
from typing import Any

from chain.codec import encode
from chain.crypto.ed25519 import SecretKey
from chain.execution.fees import weight_of
from chain.reasons import Reason
from chain.types.params import ChainParams
from chain.types.transaction import Body, Transaction, sign_transaction
from tools.miner.chain import Chain
from tools.miner.plan import InFlight
from tools.rpc.client import CallFailed
from tools.rpc.messages import MinerWork, Sent, TransactionView


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of a transaction."""

    item: InFlight
    reason: Reason | None
    """`Reason.OK`, why it only took its fee, or why it cannot be; None if its nonce was taken."""
    view: TransactionView | None
    """As it is on the ledger, if it is there."""


@dataclass(slots=True)
class Outbox:
    """The transactions in flight of one miner."""

    key: SecretKey
    chain: Chain
    params: ChainParams
    items: list[InFlight] = field(default_factory=list)
    """Ascending by nonce."""

    async def send(self, work: MinerWork, body: Body, *, kind: str, **details: Any) -> bytes:
        """Sign with the next nonce and send; returns the transaction's id.

        Nothing behind it can be in a block before it. So it may cost, should fees rise, as much as would burn
        if what is open were never proven.

        Raises:
            CallFailed: The node refuses it; it is forgotten.
            Unreachable: The node may or may not have it; `settle` finds out.
        """
        nonce = max([work.next_nonce, *(item.nonce + 1 for item in self.items)])
        at_stake = sum(commit.stake for commit in work.commits) + sum(item.stake for item in self.items)
        weight = weight_of(body, len(encode(body)), params=self.params)
        highest = max(2 * max(work.base_fee, self.params.base_fee_floor), at_stake // weight)
        transaction = Transaction(self.params.chain_id, self.key.public_key, nonce, highest, 0, body)
        signed = sign_transaction(transaction, self.key)
        item = InFlight(signed.id, nonce, kind, encode(signed), **details)
        # Noted first: if the node goes away now, nobody knows whether it took the transaction.
        self.items.append(item)
        try:
            await self._hand_in(item)
        except CallFailed:
            self.items.remove(item)
            raise
        return item.id

    async def settle(self, work: MinerWork) -> list[Settled]:
        """Learn what became of what was sent; send again what the node has lost.

        Raises:
            Unreachable: The node went away; nothing is forgotten that was not returned.
        """
        settled = []
        while self.items and self.items[0].nonce < work.nonce:
            settled.append(await self._outcome(self.items[0]))
            del self.items[0]
        for item in [item for item in self.items if item.nonce >= work.next_nonce]:
            try:
                await self._hand_in(item)
            except CallFailed as error:
                if error.code == Reason.ALREADY_KNOWN.name:
                    continue
                # It and those after it can never be final as they are; their work is done anew.
                lost = [other for other in self.items if other.nonce >= item.nonce]
                self.items = [other for other in self.items if other.nonce < item.nonce]
                settled += [Settled(other, Reason.__members__.get(error.code), None) for other in lost]
                break
        return settled

    async def _hand_in(self, item: InFlight) -> None:
        await self.chain.call(Sent, "send_transaction", encoded=item.encoded.hex())

    async def _outcome(self, item: InFlight) -> Settled:
        try:
            view = await self.chain.call(TransactionView, "transaction", id=item.id.hex())
        except CallFailed:
            return Settled(item, None, None)
        return Settled(item, view.reason, view)
