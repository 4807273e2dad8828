"""Keys that tests share."""

from chain.crypto.ed25519 import SecretKey

ALICE = SecretKey(b"a" * 32)
BOB = SecretKey(b"b" * 32)
CONSENSUS = SecretKey(b"c" * 32)
MINER = SecretKey(b"m" * 32)
