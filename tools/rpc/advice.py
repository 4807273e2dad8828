"""What to do about a refusal: one sentence a reason, for people who just met it."""

from typing import Final

from chain.reasons import Reason
from tools.rpc.faults import Code, RpcFault

_NEXT: Final[dict[Reason, str]] = {
    Reason.MALFORMED: "use `headrace tx send`, or send the canonical bytes in hexadecimal",
    Reason.WRONG_CHAIN: "sign for this node's chain: `headrace status` names it",
    Reason.BAD_SIGNATURE: "sign with the sender's own key: `headrace key show FILE` prints its address",
    Reason.NONCE_TOO_LOW: "take the account's next nonce: `headrace balance ADDRESS`",
    Reason.NONCE_TOO_HIGH: "send the missing ones first: `headrace balance ADDRESS` shows the next nonce",
    Reason.FEE_TOO_LOW: "accept a higher base fee (--max-base-fee): `headrace status` shows the one in force",
    Reason.INSUFFICIENT_FUNDS: "send less, or fund the account: `headrace balance ADDRESS`",
    Reason.TOO_LARGE: "split it: `headrace rpc params` shows max_transaction_bytes",
    Reason.MEMPOOL_FULL: "try again in a few blocks, or pay a higher tip (--tip)",
    Reason.REPLACEMENT_UNDERPRICED: "pay a clearly higher tip, or wait for the one with this nonce",
    Reason.SENDER_QUEUE_FULL: "wait until some of this sender's transactions are final",
    Reason.ALREADY_KNOWN: "nothing: follow it with `headrace why ID`",
    Reason.UNKNOWN_MODEL: "`headrace task quote` lists the chain's models",
    Reason.TASK_PAYMENT_TOO_LOW: "`headrace task quote` gives the least payment",
    Reason.TASK_BAD_INPUT: "`headrace rpc models` gives the width and range of the model's inputs",
    Reason.NOT_A_MINER: "register first: `headrace miner run` does it from the account's balance",
    Reason.ALREADY_REGISTERED: "to add to the bond: `headrace miner bond AMOUNT`",
    Reason.BOND_TOO_LOW: "`headrace miner status ADDRESS` shows the bond and the least one",
    Reason.STAKE_NOT_COVERED: "prove what is open first, or add to the bond: `headrace miner bond AMOUNT`",
    Reason.TASK_PAYMENT_TOO_HIGH: "pay less, or split the task: `headrace why ID` gives both sums",
    Reason.CONSENSUS_KEY_CONVICTED: "make a new key: `headrace key new --role consensus`",
    Reason.ALREADY_CONVICTED: "nothing: `headrace why KEY` tells of what the key was convicted",
    Reason.CONSENSUS_KEY_TAKEN: "one consensus key has one miner: point this miner at another node",
}


def refusal(reason: Reason) -> RpcFault:
    """The fault that tells a caller why the chain says no."""
    next_step = _NEXT.get(reason, "the sentence above says what the rule is")
    return RpcFault(Code.REFUSED, reason.explanation, code=reason.name, next_step=next_step)
