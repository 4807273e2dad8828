"""Ed25519 signatures under libsodium's verification rules.

Ed25519 libraries disagree on malformed keys and signatures (4 of the 12 published edge vectors between
libsodium and OpenSSL), so which signatures are valid is a consensus rule here: what libsodium's
`crypto_sign_open` accepts is valid, nothing else. It refuses a public key of small order or in non-canonical
form, a commitment R of small order, a scalar S that is not below the group order, and checks the equation
without the cofactor. The tests pin this with vectors. Never verify with a second library: where the two
differ, the chain splits.
"""

import hashlib
from typing import Final, Self

from nacl import bindings
from nacl.exceptions import BadSignatureError

SEED_BYTES: Final = 32
PUBLIC_KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64

_GENERATE_TAG: Final = b"headrace/generate-seed/1"
_DERIVE_TAG: Final = b"headrace/derive-seed/1"


class SecretKey:
    """An Ed25519 signing key (RFC 8032), held as its 32-byte seed.

    Its `repr` shows the public key alone, so that a key in a log line or a traceback gives nothing away.
    """

    __slots__ = ("_expanded", "_public_key", "_seed")

    def __init__(self, seed: bytes) -> None:
        """Take the key of a 32-byte seed.

        Raises:
            ValueError: The seed is not 32 bytes long.
        """
        if len(seed) != SEED_BYTES:
            raise ValueError(f"an ed25519 seed has {SEED_BYTES} bytes, got {len(seed)}")
        self._seed = bytes(seed)
        self._public_key, self._expanded = bindings.crypto_sign_seed_keypair(self._seed)

    @classmethod
    def generate(cls, entropy: bytes) -> Self:
        """Make a new key from at least 32 bytes of entropy, which the caller takes from the operating system.

        Raises:
            ValueError: Fewer than 32 bytes were given.
        """
        if len(entropy) < SEED_BYTES:
            raise ValueError(f"a key needs at least {SEED_BYTES} bytes of entropy, got {len(entropy)}")
        return cls(hashlib.sha256(_GENERATE_TAG + entropy).digest())

    @property
    def seed(self) -> bytes:
        """The secret itself: for the key file and the VRF only."""
        return self._seed

    @property
    def public_key(self) -> bytes:
        """The 32-byte public key."""
        return self._public_key

    def sign(self, message: bytes) -> bytes:
        """Sign a message; deterministic, 64 bytes. The caller puts its domain tag into the message."""
        return bindings.crypto_sign(message, self._expanded)[:SIGNATURE_BYTES]

    def __repr__(self) -> str:
        return f"SecretKey(public_key={self._public_key.hex()})"


def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether a signature is valid for a message under a public key; False for a wrong length."""
    if len(public_key) != PUBLIC_KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    try:
        bindings.crypto_sign_open(signature + message, public_key)
    except BadSignatureError:
        return False
    return True


def derive_seed(seed: bytes, role: str, index: int) -> bytes:
    """Derive the seed of one of many keys from one seed, for testnets that must be the same on every run.

    Distinct (role, index) pairs give unrelated keys. Real keys are generated one by one: whoever holds the
    one seed here holds every key made from it.

    Raises:
        ValueError: The seed is not 32 bytes long, the role has more than 255 bytes, or the index is outside
            0..2^64-1.
    """
    if len(seed) != SEED_BYTES:
        raise ValueError(f"a seed has {SEED_BYTES} bytes, got {len(seed)}")
    name = role.encode()
    if len(name) > 255:
        raise ValueError(f"a role has at most 255 bytes, got {len(name)}")
    if not 0 <= index < 1 << 64:
        raise ValueError(f"an index lies in 0..2^64-1, got {index}")
    return hashlib.sha256(_DERIVE_TAG + bytes([len(name)]) + name + index.to_bytes(8, "big") + seed).digest()
