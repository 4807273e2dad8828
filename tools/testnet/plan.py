"""What a testnet consists of, worked out before anything touches the disk.

Everything follows from the options, the ports and the seed: the same seed gives the same keys, addresses and
names on every machine, so that a test or a bug report can name them.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from chain.address import encode_address
from chain.crypto.ed25519 import SecretKey, derive_seed
from genesis.document import GenesisDocument
from genesis.presets import COIN, LOCAL_PARAMS, local_testnet_genesis
from tools.testnet.peer_id import peer_id

MAX_VALIDATORS: Final = 16
MAX_FULL_NODES: Final = 16
"""More processes than this no ordinary machine runs at the speed that the preset expects."""

ACCOUNT_NAMES: Final = ("alice", "bob", "carol")
ACCOUNT_COINS: Final = 10_000
MINER_COINS: Final = 1_000
"""Six times the least bond and more: a miner that lost the one that it locked can bond again."""

DEFAULT_DUTY: Final = 0.05
"""Part of one core's time that a miner spends on work; four of them leave two cores free to vote."""


class PlanError(ValueError):
    """The options do not describe a testnet; the message says what to change."""


@dataclass(frozen=True, slots=True)
class TestnetOptions:
    """What the user chose."""

    __test__ = False  # the name is ours, not pytest's

    validators: int = 4
    full_nodes: int = 0
    duties: tuple[float, ...] = (DEFAULT_DUTY,)
    """One for all miners, or one each."""
    seed: str = "1"
    base_port: int | None = None
    """First of the ports; None takes free ones."""


@dataclass(frozen=True, slots=True)
class NodePlan:
    """One node process."""

    name: str
    p2p_port: int
    rpc_port: int
    peer: SecretKey
    consensus: SecretKey | None
    """None for a node that only verifies."""

    @property
    def rpc(self) -> str:
        """Where its RPC answers."""
        return f"http://127.0.0.1:{self.rpc_port}"


@dataclass(frozen=True, slots=True)
class MinerPlan:
    """One miner process, working for one validator's consensus key."""

    name: str
    node: str
    """Name of the validator it is tied to."""
    rpc: str
    key: SecretKey
    duty: float


@dataclass(frozen=True, slots=True)
class AccountPlan:
    """A funded account for the developer."""

    name: str
    key: SecretKey
    coins: int


@dataclass(frozen=True, slots=True)
class TestnetPlan:
    """All of it."""

    __test__ = False

    options: TestnetOptions
    nodes: tuple[NodePlan, ...]
    miners: tuple[MinerPlan, ...]
    accounts: tuple[AccountPlan, ...]


def check_options(options: TestnetOptions) -> None:
    """Refuse options that cannot work.

    Raises:
        PlanError: A number is out of bounds, or there are neither one duty nor one a miner.
    """
    if not 1 <= options.validators <= MAX_VALIDATORS:
        raise PlanError(f"--validators {options.validators}: expected 1 to {MAX_VALIDATORS}")
    if not 0 <= options.full_nodes <= MAX_FULL_NODES:
        raise PlanError(f"--full-nodes {options.full_nodes}: expected 0 to {MAX_FULL_NODES}")
    if len(options.duties) not in (1, options.validators):
        raise PlanError(
            f"--duty names {len(options.duties)} miners, the testnet has {options.validators}: "
            "give one number for all of them, or one each"
        )
    for duty in options.duties:
        if not 0 < duty <= 1:
            raise PlanError(f"--duty {duty}: expected more than 0 and at most 1, the part of one core's time")
    highest = 65536 - port_count(options)
    if options.base_port is not None and not 1024 <= options.base_port <= highest:
        raise PlanError(f"--base-port {options.base_port}: expected 1024 to {highest}")


def port_count(options: TestnetOptions) -> int:
    """How many ports it takes: one for peers and one for people, each node."""
    return 2 * (options.validators + options.full_nodes)


def plan_testnet(options: TestnetOptions, ports: Sequence[int]) -> TestnetPlan:
    """Work out names, keys and places.

    Args:
        options: Checked by `check_options`.
        ports: As many as `port_count` says.
    """
    assert len(ports) == port_count(options), "two ports a node"
    seed = seed_bytes(options.seed)
    names = [f"validator-{index}" for index in range(options.validators)]
    names += [f"full-{index}" for index in range(options.full_nodes)]
    nodes = tuple(
        NodePlan(
            name=name,
            p2p_port=ports[2 * index],
            rpc_port=ports[2 * index + 1],
            peer=SecretKey(derive_seed(seed, "peer", index)),
            consensus=SecretKey(derive_seed(seed, "consensus", index))
            if index < options.validators
            else None,
        )
        for index, name in enumerate(names)
    )
    duties = options.duties * options.validators if len(options.duties) == 1 else options.duties
    miners = tuple(
        MinerPlan(
            name=f"miner-{index}",
            node=nodes[index].name,
            rpc=nodes[index].rpc,
            key=SecretKey(derive_seed(seed, "miner", index)),
            duty=duty,
        )
        for index, duty in enumerate(duties)
    )
    accounts = tuple(
        AccountPlan(name, SecretKey(derive_seed(seed, "account", index)), ACCOUNT_COINS)
        for index, name in enumerate(ACCOUNT_NAMES)
    )
    return TestnetPlan(options, nodes, miners, accounts)


def seed_bytes(seed: str) -> bytes:
    """The 32 bytes that every key of the testnet is derived from."""
    return hashlib.sha256(b"headrace/testnet-seed/1" + seed.encode()).digest()


def genesis_of(plan: TestnetPlan, timestamp_ms: int) -> GenesisDocument:
    """The testnet's genesis: even seats for its validators, coins for its miners and accounts."""
    validators = [node.consensus.public_key for node in plan.nodes if node.consensus is not None]
    payouts = [miner.key.public_key for miner in plan.miners]
    balances = {miner.key.public_key: MINER_COINS * COIN for miner in plan.miners}
    balances |= {account.key.public_key: account.coins * COIN for account in plan.accounts}
    return local_testnet_genesis(
        validators=tuple(zip(validators, payouts, strict=True)), balances=balances, timestamp_ms=timestamp_ms
    )


def address_of(key: SecretKey) -> str:
    """The account of a key, as people write it."""
    return encode_address(key.public_key, prefix=LOCAL_PARAMS.address_prefix)


def listen_address(node: NodePlan) -> str:
    """Multiaddress on which a node accepts peers."""
    return f"/ip4/127.0.0.1/tcp/{node.p2p_port}"


def dial_address(node: NodePlan) -> str:
    """Multiaddress under which others find a node, its identity included."""
    return f"{listen_address(node)}/p2p/{peer_id(node.peer.public_key)}"


def node_config(plan: TestnetPlan, node: NodePlan) -> str:
    """Text of a node's configuration file; its paths are seen from the file's own folder."""
    others = [dial_address(other) for other in plan.nodes if other is not node]
    # Names and addresses are plain ASCII: as JSON they are TOML too.
    lines = [
        f"# {node.name} of a local testnet with the seed {plan.options.seed!r}.",
        f"moniker = {json.dumps(node.name)}",
        'genesis = "../genesis.json"',
        'data_dir = "data"',
        "",
        "[p2p]",
        f"listen = {json.dumps([listen_address(node)])}",
        f"bootstrap = {json.dumps(others)}",
        "",
        "[rpc]",
        'host = "127.0.0.1"',
        f"port = {node.rpc_port}",
        "",
        "[keys]",
        'peer = "keys/peer.json"',
        'password_file = "keys/password"',
    ]
    if node.consensus is not None:
        lines.insert(-2, 'consensus = "keys/consensus.json"')
    return "\n".join([*lines, "", "[log]", 'level = "info"', ""])


def node_command(python: str, home: Path) -> tuple[str, ...]:
    """How a node is started."""
    return (python, "-m", "tools.cli.main", "node", "run", "--home", str(home))


def miner_command(python: str, miner: MinerPlan, home: Path) -> tuple[str, ...]:
    """How a miner is started."""
    keys = home / "keys"
    return (
        *(python, "-m", "tools.cli.main", "miner", "run", "--node", miner.rpc),
        *("--key", str(keys / "miner.json"), "--password-file", str(keys / "password")),
        *("--duty", f"{miner.duty:g}"),
    )
