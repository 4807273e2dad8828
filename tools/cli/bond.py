"""`headrace miner bond` and `headrace miner status`: what a miner has at risk, and more of it."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import click

from chain.address import encode_address
from chain.crypto.ed25519 import SecretKey
from chain.crypto.keystore import KeyRole
from chain.execution.records import MinerStatus
from chain.types.params import ChainParams
from chain.types.transaction import RegisterMiner, SignedTransaction
from tools.amounts import coins
from tools.cli.errors import CliError, Exit
from tools.cli.options import Amount, Remote, password_option, remote_options
from tools.cli.output import emit, pairs, table
from tools.cli.secrets import KeyChoice
from tools.cli.submission import Fees, fee_options, submit_body, wait_until_final
from tools.rpc import wire
from tools.rpc.messages import MinerView, MinerWork, Possession, TransactionView
from tools.rpc.wire import Json

TRIES: Final = 16
"""A running miner sends with the same account about once a second, and may take the nonce first."""
MOST_AHEAD: Final = 4
"""Nonces that are left to a miner that was faster before: what waits behind a small gap is taken, too."""
_TAKEN: Final = ("NONCE_TOO_LOW", "REPLACEMENT_UNDERPRICED")


@click.command(epilog="Example: headrace miner status hrl1...")
@click.argument("address")
@remote_options
def status(address: str, url: str | None, testnet_dir: Path | None, *, as_json: bool) -> None:
    """Show a miner's bond: how much its open commits put at stake, and how much is free for more.

    What a commit puts at stake burns if its proof never comes, and is free again with the proof. With
    --testnet, ADDRESS may be a miner's name.
    """
    remote = Remote.of(url, testnet_dir)
    address = remote.address(address)
    params = remote.call(ChainParams, "params")
    miner = _registered(remote, address)
    work = remote.call(MinerWork, "miner_work", address=address)
    at_stake = sum(commit.stake for commit in work.commits)
    document: dict[str, Json] = {
        "miner": wire.write(MinerView, miner, prefix=remote.prefix),
        "bond": work.bond, "at_stake": at_stake, "free": work.bond - at_stake, "least": params.min_bond,
        "balance": work.balance, "height": work.height,
        "commits": [
            {"id": commit.id.hex(), "stake": commit.stake, "tasks": len(commit.tasks),
             "shards": commit.commons_count, "due": commit.due}
            for commit in work.commits
        ],
    }  # fmt: skip
    lines = pairs(
        [
            ("miner", address),
            ("status", miner.status.name),
            ("consensus key", f"{miner.consensus_key.hex()[:16]}, {miner.seats} seats"),
            ("bond", f"{coins(work.bond)} coins (the least is {coins(params.min_bond)})"),
            ("at stake", f"{coins(at_stake)} coins in {len(work.commits)} open commits"),
            ("free", f"{coins(work.bond - at_stake)} coins"),
            ("balance", f"{coins(work.balance)} coins"),
            ("work", f"{miner.units / 1e6:.1f} M units; {len(work.tasks)} tasks in hand"),
        ]
    )
    if work.commits:
        head = ("commit", "at stake", "tasks", "shards", "proof due by")
        rows = [
            (c.id.hex()[:16], coins(c.stake), len(c.tasks), c.commons_count, f"height {c.due}")
            for c in sorted(work.commits, key=lambda commit: (commit.due, commit.id))
        ]
        lines += ["", *table(head, rows)]
    if miner.status is MinerStatus.SUSPENDED:
        missing = coins(params.min_bond - work.bond)
        lines += ["", f"suspended until the bond is the least one again: headrace miner bond {missing}"]
    emit(document, lines, as_json=as_json)


@click.command(epilog="Example: headrace miner bond 100 --key miner.json --wait")
@click.argument("amount", type=Amount())
@click.option(
    "--key", "key_name", metavar="FILE", required=True,
    help="Key file of the miner's account; with --testnet also a miner's name.",
)  # fmt: skip
@click.option("--wait", is_flag=True, help="Return when the bond is final.")
@fee_options
@password_option
@remote_options
def bond(
    amount: int,
    key_name: str,
    fees: Fees,
    password_file: Path | None,
    url: str | None,
    testnet_dir: Path | None,
    *,
    wait: bool,
    as_json: bool,
) -> None:
    """Add AMOUNT coins to a miner's bond, from its own balance, while it works.

    The miner registers again under the same consensus key; so the node at --rpc must be the one that holds
    that key, on this machine. A suspended miner needs what is missing to the least bond, and is active again.
    """
    remote, choice = _place(url, testnet_dir, key_name, password_file)
    if not amount:
        raise click.BadParameter("nothing would be added", param_hint="AMOUNT")
    secret = choice.open(KeyRole.MINER, KeyRole.ACCOUNT)
    address = encode_address(secret.public_key, prefix=remote.prefix)
    miner = _registered(remote, address)
    params = remote.call(ChainParams, "params")
    _check(miner, remote.call(MinerWork, "miner_work", address=address), amount=amount, params=params)
    word = remote.call(Possession, "possession", miner=address)
    if word.consensus_key != miner.consensus_key:
        raise CliError(
            f"this node votes with {word.consensus_key.hex()}, the miner is tied to "
            f"{miner.consensus_key.hex()}",
            code="OTHER_CONSENSUS_KEY",
            next_step="name the miner's own node with --rpc",
        )
    body = RegisterMiner(word.consensus_key, word.possession, amount, miner.models)
    waiting = partial(wait_until_final, remote, quiet=as_json) if wait else None
    signed, final = _submitted(remote, secret, body, fees, waiting=waiting)
    document = {
        "id": signed.id.hex(), "nonce": signed.transaction.nonce, "miner": address, "added": amount,
        "bond": miner.bond + amount,
    }  # fmt: skip
    if final is not None:
        document |= {"height": final.height, "fee": final.fee}
    shown = document | {name: f"{coins(int(str(document[name])))} coins" for name in ("added", "bond", "fee")
                        if name in document}  # fmt: skip
    state = "handed in; follow it" if final is None else "final; all of it"
    follow = f"headrace miner status {address}{remote.flags}"
    emit(document, [*pairs(shown.items()), f"{state}: {follow}"], as_json=as_json)


def _place(
    url: str | None, testnet_dir: Path | None, key_name: str, password_file: Path | None
) -> tuple[Remote, KeyChoice]:
    """The node and the key; a miner of a local testnet brings along its own of both."""
    remote = Remote.of(url, testnet_dir)
    testnet = remote.testnet
    miner = None if testnet is None else next((m for m in testnet.miners if m.name == key_name), None)
    if testnet is None or miner is None:
        return remote, KeyChoice(Path(key_name), password_file)
    keys = Path(miner.dir) / "keys"
    own = next(node.rpc for node in testnet.nodes if node.name == miner.node)
    return Remote.of(url or own, testnet_dir), KeyChoice(
        keys / "miner.json", password_file or keys / "password"
    )


def _registered(remote: Remote, address: str) -> MinerView:
    """The miner of an address.

    Raises:
        CliError: It has none.
    """
    for miner in remote.call(tuple[MinerView, ...], "miners"):
        if encode_address(miner.address, prefix=remote.prefix) == address:
            return miner
    raise CliError(
        f"{address} is no miner", code="NOT_A_MINER",
        next_step="`headrace miner run` registers one, with a bond from its balance",
    )  # fmt: skip


def _check(miner: MinerView, work: MinerWork, *, amount: int, params: ChainParams) -> None:
    """Refuse what the ledger would refuse for a fee.

    Raises:
        CliError: The bond cannot be added to, or not by so much.
    """
    if miner.status not in (MinerStatus.ACTIVE, MinerStatus.SUSPENDED):
        is_slashed = miner.status is MinerStatus.SLASHED
        raise CliError(
            "the miner was slashed: it has no bond that could be added to" if is_slashed
            else f"the miner is leaving: its bond comes back at height {miner.unbonds_at}",
            code=f"MINER_{miner.status.name}",
            next_step="`headrace miner run` registers anew"
            + ("; `headrace why ADDRESS` says what was wrong" if is_slashed else ", after that height"),
        )  # fmt: skip
    if miner.bond + amount < params.min_bond:
        raise CliError(
            f"the bond would be {coins(miner.bond + amount)} coins, the least is {coins(params.min_bond)}",
            code="BOND_TOO_LOW",
            next_step=f"add {coins(params.min_bond - miner.bond)} coins at least",
        )
    if work.balance < amount:
        raise CliError(
            f"{coins(amount)} coins would be added, the account has {coins(work.balance)}",
            code="INSUFFICIENT_FUNDS",
            next_step="add less and leave something for fees, or send the account coins",
            exit_code=Exit.ERROR,
        )


def _submitted(
    remote: Remote,
    secret: SecretKey,
    body: RegisterMiner,
    fees: Fees,
    *,
    waiting: Callable[[bytes], TransactionView] | None,
) -> tuple[SignedTransaction, TransactionView | None]:
    """Hand it in, and wait if asked to; again with the next nonce, if the running miner took this one.

    Raises:
        CliError: The node refuses it.
    """
    for lost in range(TRIES):
        try:
            signed = submit_body(remote, secret, body, fees, ahead=min(lost, MOST_AHEAD))
            return signed, None if waiting is None else waiting(signed.id)
        except CliError as error:
            if fees.nonce is not None or error.code not in _TAKEN or lost == TRIES - 1:
                raise
    raise AssertionError("the last try returns or raises")
