"""A testnet's folder.

```
DIR/
  testnet.json                 what runs where: the one file that other programs read
  control.sock                 orders to the running testnet (down, kill, start)
  genesis.json
  validator-0/ config.toml  keys/{consensus,peer}.json  keys/consensus.json.signed  keys/password  data/
  full-0/      config.toml  keys/peer.json              keys/password  data/
  miner-0/     keys/miner.json  keys/password
  accounts/    alice.json  ...  password
  logs/        validator-0.log  miner-0.log  ...
```

The keys follow from the seed and are worth nothing. They are encrypted all the same, so that a testnet's
files are those of a real network.
"""

import os
from pathlib import Path
from typing import Final

from chain.crypto.ed25519 import SecretKey
from chain.crypto.keystore import ENTROPY_BYTES, KdfStrength, KeyRole, write_key_file
from genesis.document import write_genesis
from tools.node.signing import make_log
from tools.testnet.plan import TestnetPlan, genesis_of, node_config

PASSWORD: Final = "testnet"  # noqa: S105  -- of keys that everybody can derive from the seed
"""Password of every key file of a testnet."""


def write_keys(folder: Path, plan: TestnetPlan) -> None:
    """Write every key and password of a plan into a fresh folder, readable by its owner alone."""
    for node in plan.nodes:
        keys = key_folder(folder / node.name / "keys")
        write_key(keys / "peer.json", node.peer, KeyRole.PEER)
        if node.consensus is not None:
            write_key(keys / "consensus.json", node.consensus, KeyRole.CONSENSUS)
    for miner in plan.miners:
        write_key(key_folder(folder / miner.name / "keys") / "miner.json", miner.key, KeyRole.MINER)
    accounts = key_folder(folder / "accounts")
    for account in plan.accounts:
        write_key(accounts / f"{account.name}.json", account.key, KeyRole.ACCOUNT)


def write_configs(folder: Path, plan: TestnetPlan, timestamp_ms: int) -> None:
    """Write the genesis document, each node's configuration, and the empty log of each consensus key."""
    genesis = genesis_of(plan, timestamp_ms)
    write_genesis(folder / "genesis.json", genesis)
    for node in plan.nodes:
        if node.consensus is not None:
            key_file = folder / node.name / "keys" / "consensus.json"
            make_log(key_file, chain_id=genesis.params.chain_id, public_key=node.consensus.public_key)
    (folder / "logs").mkdir()
    for node in plan.nodes:
        (folder / node.name / "config.toml").write_text(node_config(plan, node), encoding="utf-8")


def key_folder(folder: Path) -> Path:
    """Make a folder for key files, with the password in it."""
    folder.mkdir(parents=True, mode=0o700)
    with os.fdopen(os.open(folder / "password", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(PASSWORD + "\n")
    return folder


def write_key(path: Path, secret: SecretKey, role: KeyRole) -> None:
    """Write one key file; a testnet starts in seconds, so guessing its password may be cheap."""
    write_key_file(
        path,
        secret,
        role=role,
        password=PASSWORD.encode(),
        kdf=KdfStrength.LIGHT,
        entropy=os.urandom(ENTROPY_BYTES),
    )
