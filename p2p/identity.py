"""The node's own ed25519 identity: 32 secret bytes in a file, and the peer id that follows from them.

This key proves who is at the end of a connection and nothing else; consensus, miner and account have others.
"""

import os
import secrets
import stat
from pathlib import Path
from typing import Final

from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.keys import KeyPair
from libp2p.peer.id import ID

from p2p.network import PeerId

SEED_SIZE: Final = 32


class UnusableIdentityError(RuntimeError):
    """The identity file is not one, or others may read it; the node must not start with it."""


def load_or_create_identity(path: Path) -> bytes:
    """The seed in the file at `path`, which is made with mode 0600 if there is none.

    Returns:
        32 secret bytes.

    Raises:
        UnusableIdentityError: The file has the wrong size, or other users may read it.
    """
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            seed = file.read(SEED_SIZE + 1)
    except FileNotFoundError:
        return _create(path)
    if len(seed) != SEED_SIZE:
        raise UnusableIdentityError(f"{path} does not hold exactly {SEED_SIZE} bytes")
    if mode & 0o077:
        raise UnusableIdentityError(f"{path} has mode {mode:04o}, expected 0600: other users may read it")
    return seed


def key_pair_of(seed: bytes) -> KeyPair:
    """The libp2p key pair of a 32-byte seed."""
    if len(seed) != SEED_SIZE:
        raise ValueError(f"identity seed has {len(seed)} bytes, expected {SEED_SIZE}")
    return create_new_key_pair(seed)


def peer_id_of(seed: bytes) -> PeerId:
    """The peer id that the owner of a 32-byte seed has."""
    return PeerId(str(ID.from_pubkey(key_pair_of(seed).public_key)))


def _create(path: Path) -> bytes:
    """Write a new seed, whole or not at all, and never over an existing file."""
    seed = secrets.token_bytes(SEED_SIZE)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}.draft")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(seed)
            file.flush()
            os.fsync(file.fileno())
        path.hardlink_to(draft)
    finally:
        draft.unlink()
    return seed
