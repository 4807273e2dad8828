"""testnet.json: what runs where, for people and for the programs that test against a testnet.

Its schema is the dataclasses below, by their field names. Paths are absolute. Keys and passwords are not in
it, only the files that hold them.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from tools.testnet.plan import (
    AccountPlan,
    MinerPlan,
    NodePlan,
    TestnetOptions,
    TestnetPlan,
    address_of,
    dial_address,
    plan_testnet,
)
from tools.testnet.watch import Target

FILE_NAME: Final = "testnet.json"
VERSION: Final = 1


class RecordError(Exception):
    """There is no testnet in the folder, or its file is not ours; the message says which."""


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """One node."""

    name: str
    rpc: str
    rpc_port: int
    p2p: str
    """Multiaddress under which peers find it, its identity included."""
    p2p_port: int
    dir: str
    log: str
    consensus_key: str | None
    """Hexadecimal; null for a node that only verifies."""
    pid: int | None
    """Null while it does not run."""


@dataclass(frozen=True, slots=True)
class MinerRecord:
    """One miner."""

    name: str
    node: str
    """The validator it works for."""
    address: str
    duty: float
    dir: str
    log: str
    pid: int | None


@dataclass(frozen=True, slots=True)
class AccountRecord:
    """One funded account."""

    name: str
    address: str
    coins: int
    key_file: str
    password_file: str


@dataclass(frozen=True, slots=True)
class TestnetRecord:
    """The whole testnet."""

    __test__ = False

    version: int
    seed: str
    genesis: str
    nodes: tuple[NodeRecord, ...]
    miners: tuple[MinerRecord, ...]
    accounts: tuple[AccountRecord, ...]
    pid: int | None
    """The process that supervises it; null once it has ended."""


def record_of(folder: Path, plan: TestnetPlan) -> TestnetRecord:
    """The record of a planned testnet of which nothing runs yet."""
    return TestnetRecord(
        version=VERSION,
        seed=plan.options.seed,
        genesis=str(folder / "genesis.json"),
        nodes=tuple(_node_record(folder, node) for node in plan.nodes),
        miners=tuple(_miner_record(folder, miner) for miner in plan.miners),
        accounts=tuple(_account_record(folder, account) for account in plan.accounts),
        pid=None,
    )


def write_record(folder: Path, record: TestnetRecord) -> None:
    """Write testnet.json so that a reader sees the old one or the new one, never half of one."""
    temporary = folder / f".{FILE_NAME}"
    temporary.write_text(json.dumps(asdict(record), indent=2) + "\n", encoding="utf-8")
    temporary.replace(folder / FILE_NAME)


def read_record(folder: Path) -> TestnetRecord:
    """Read a folder's testnet.json.

    Raises:
        RecordError: There is none, or it is another version's.
    """
    path = folder / FILE_NAME
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecordError(f"no testnet in {folder}: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{path} is not JSON: {error}") from None
    if not isinstance(document, dict) or document.get("version") != VERSION:
        raise RecordError(f"{path} is not the record of a testnet of this version ({VERSION})")
    try:
        return TestnetRecord(
            **{
                **document,
                "nodes": tuple(NodeRecord(**node) for node in document["nodes"]),
                "miners": tuple(MinerRecord(**miner) for miner in document["miners"]),
                "accounts": tuple(AccountRecord(**account) for account in document["accounts"]),
            }
        )
    except (KeyError, TypeError) as error:
        raise RecordError(f"{path} has members missing or unknown: {error}") from None


def plan_of(record: TestnetRecord) -> TestnetPlan:
    """The plan that a record came from, for a testnet that goes on: its keys follow from the seed again."""
    options = TestnetOptions(
        validators=len(record.miners),
        full_nodes=len(record.nodes) - len(record.miners),
        duties=tuple(miner.duty for miner in record.miners),
        seed=record.seed,
    )
    return plan_testnet(options, [port for node in record.nodes for port in (node.p2p_port, node.rpc_port)])


def targets_of(record: TestnetRecord) -> list[Target]:
    """Its nodes, to be asked."""
    return [
        Target(node.name, node.rpc, None if node.consensus_key is None else bytes.fromhex(node.consensus_key))
        for node in record.nodes
    ]


def _node_record(folder: Path, node: NodePlan) -> NodeRecord:
    return NodeRecord(
        name=node.name,
        rpc=node.rpc,
        rpc_port=node.rpc_port,
        p2p=dial_address(node),
        p2p_port=node.p2p_port,
        dir=str(folder / node.name),
        log=str(folder / "logs" / f"{node.name}.log"),
        consensus_key=None if node.consensus is None else node.consensus.public_key.hex(),
        pid=None,
    )


def _miner_record(folder: Path, miner: MinerPlan) -> MinerRecord:
    return MinerRecord(
        name=miner.name,
        node=miner.node,
        address=address_of(miner.key),
        duty=miner.duty,
        dir=str(folder / miner.name),
        log=str(folder / "logs" / f"{miner.name}.log"),
        pid=None,
    )


def _account_record(folder: Path, account: AccountPlan) -> AccountRecord:
    return AccountRecord(
        name=account.name,
        address=address_of(account.key),
        coins=account.coins,
        key_file=str(folder / "accounts" / f"{account.name}.json"),
        password_file=str(folder / "accounts" / "password"),
    )
