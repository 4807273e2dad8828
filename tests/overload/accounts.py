"""The accounts that load a testnet: many, because a mempool takes only so much of each."""

from collections.abc import Sequence
from typing import Final

from chain.codec import encode
from chain.crypto.ed25519 import SecretKey, derive_seed
from chain.types.transaction import Transaction, Transfer, sign_transaction
from genesis.presets import COIN
from tests.network.cluster import Cluster
from tests.network.machine import Machine, eventually
from tools.rpc.messages import AccountView, Sent, Status
from tools.testnet.plan import TestnetOptions, address_of, plan_testnet, port_count, seed_bytes

ACCOUNTS: Final = 320
"""With 64 transactions each, more than the 20,000 that a mempool takes in all."""

COINS: Final = 50
"""For each: at the lowest base fee 300,000 transfers, at a hundred times it still 3,000."""

AT_ONCE: Final = 48
"""Transfers of one funding account on their way; a mempool takes 64."""

_WITHIN_S: Final = 120.0


def load_keys(count: int) -> list[SecretKey]:
    """The first so many of the accounts; the same for the campaign and for the peer that it starts."""
    return [SecretKey(derive_seed(seed_bytes("overload"), "load", index)) for index in range(count)]


def fund(cluster: Cluster, keys: Sequence[SecretKey], *, seed: int) -> None:
    """Give each account its coins, from those that the testnet's genesis gave some.

    Raises:
        AssertionError: A node refused a transfer, or none became final in time.
    """
    options = TestnetOptions(validators=len(cluster.machines), seed=str(seed))
    rich = [account.key for account in plan_testnet(options, [0] * port_count(options)).accounts]
    machine = cluster.machines[0]
    status = machine.ask(Status, "status")
    assert status is not None, "the node does not answer"
    shares = [list(keys[index :: len(rich)]) for index in range(len(rich))]
    while any(shares):
        for payer, share in zip(rich, shares, strict=True):
            _pay(machine, status.chain_id, payer, share[:AT_ONCE])
            del share[:AT_ONCE]
        eventually(lambda: [_is_paid(machine, payer) for payer in rich], all, within=_WITHIN_S, what="funds")


def _pay(machine: Machine, chain_id: str, payer: SecretKey, receivers: Sequence[SecretKey]) -> None:
    nonce = view_of(machine, payer).next_nonce
    for offset, receiver in enumerate(receivers):
        body = Transfer(receiver.public_key, COINS * COIN)
        unsigned = Transaction(chain_id, payer.public_key, nonce + offset, 1000, 0, body)
        sent = machine.ask(Sent, "send_transaction", encoded=encode(sign_transaction(unsigned, payer)).hex())
        assert sent is not None, f"transfer {offset} of {len(receivers)} was refused"


def _is_paid(machine: Machine, payer: SecretKey) -> bool:
    view = view_of(machine, payer)
    return view.nonce == view.next_nonce


def view_of(machine: Machine, key: SecretKey) -> AccountView:
    """An account as a node sees it.

    Raises:
        AssertionError: The node does not answer.
    """
    views: list[AccountView] = []

    def asked() -> bool:
        view = machine.ask(AccountView, "account", address=address_of(key))
        views.extend([] if view is None else [view])
        return bool(views)

    eventually(asked, bool, within=_WITHIN_S, what="an account's state")
    return views[0]
