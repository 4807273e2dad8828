"""Where a node's signing log lies, and who makes it: never the node itself.

A log is made once, when its key is made (`headrace node init`, `headrace testnet up`) or by an order of its
own (`headrace guard create`, `headrace guard import`). A node that finds none refuses to start: it cannot
tell a key that never signed from a log that was lost.
"""

from pathlib import Path
from typing import Final

from chain.crypto import vrf
from chain.crypto.ed25519 import SecretKey
from consensus.signing.disk import FileDisk
from consensus.signing.signer import Signer
from consensus.signing.signing_guard import create_log, open_log

SUFFIX: Final = ".signed"


def log_path(key_file: Path) -> Path:
    """The log of a key file: beside the key, where nobody wipes it to sync anew, and outside the database."""
    return key_file.with_name(key_file.name + SUFFIX)


def make_log(key_file: Path, *, chain_id: str, public_key: bytes) -> Path:
    """Make the log of a key that never signed on this chain; returns where it lies.

    Raises:
        consensus.signing.signing_guard.GuardError: LOG_EXISTS or LOG_IN_USE.
    """
    path = log_path(key_file)
    create_log(FileDisk(path), chain_id=chain_id, public_key=public_key).close()
    return path


def open_signer(key_file: Path, secret: SecretKey, *, chain_id: str) -> Signer:
    """The key behind its guard.

    Raises:
        consensus.signing.signing_guard.GuardError: LOG_MISSING, LOG_CORRUPT, LOG_IN_USE or WRONG_OWNER.
    """
    guard = open_log(FileDisk(log_path(key_file)), chain_id=chain_id, public_key=secret.public_key)
    return Signer(secret, guard, chain_id=chain_id, prove=lambda alpha: vrf.prove(secret, alpha))
