"""Verifiable randomness: ECVRF-EDWARDS25519-SHA512-TAI of RFC 9381, on libsodium's group operations.

Whoever holds a key turns an input `alpha` into a proof and a random-looking output `beta` of 64 bytes. There
is exactly one beta for a key and an input, so its maker cannot choose among several, and everybody can check
it. There are many proofs for that one beta: bind protocols to beta, never to the bytes of a proof.

Stricter than the RFC in one point: the key and the point gamma in a proof must lie in the prime-order
subgroup, in canonical form. Honest ones always do. The RFC lets gamma carry a component of small order, which
changes nothing but the bytes of the proof.
"""

import hashlib
from typing import Final

from nacl import bindings

from chain.crypto.ed25519 import PUBLIC_KEY_BYTES, SecretKey

PROOF_BYTES: Final = 80
OUTPUT_BYTES: Final = 64

_SUITE: Final = b"\x03"
_POINT_BYTES: Final = 32
_CHALLENGE_BYTES: Final = 16
_SCALAR_BYTES: Final = 32
_FIELD_PRIME: Final = 2**255 - 19
_GROUP_ORDER: Final = 2**252 + 27742317777372353535851937790883648493
_COFACTOR: Final = (8).to_bytes(_SCALAR_BYTES, "little")


def prove(secret: SecretKey, alpha: bytes) -> bytes:
    """Prove the output of a key for an input; deterministic, 80 bytes (RFC 9381, section 5.1)."""
    digest = hashlib.sha512(secret.seed).digest()
    scalar = _clamped(digest[:32])
    point = _encode_to_curve(secret.public_key, alpha)
    gamma = bindings.crypto_scalarmult_ed25519_noclamp(scalar, point)
    # Section 5.4.2.2: the nonce depends on secret and input alone, so the same proof always comes out.
    nonce = bindings.crypto_core_ed25519_scalar_reduce(hashlib.sha512(digest[32:] + point).digest())
    commitment = bindings.crypto_scalarmult_ed25519_base_noclamp(nonce)
    commitment_at_point = bindings.crypto_scalarmult_ed25519_noclamp(nonce, point)
    challenge = _challenge(secret.public_key, point, gamma, commitment, commitment_at_point)
    response = bindings.crypto_core_ed25519_scalar_add(
        nonce, bindings.crypto_core_ed25519_scalar_mul(_as_scalar(challenge), scalar)
    )
    return gamma + challenge + response


def verify(public_key: bytes, alpha: bytes, proof: bytes) -> bytes | None:
    """Return the 64-byte output that a proof shows for a key and an input, or None where it does not hold.

    Follows RFC 9381, section 5.3, with the key validation of section 5.4.5. Nothing a peer can send makes it
    raise.
    """
    parts = _decoded(proof)
    if parts is None or len(public_key) != PUBLIC_KEY_BYTES or not _is_valid_point(public_key):
        return None
    gamma, challenge, response = parts
    point = _encode_to_curve(public_key, alpha)
    scalar = _as_scalar(challenge)
    # U = s B - c Y and V = s H - c gamma: the commitments, if the proof is right.
    commitment = bindings.crypto_core_ed25519_sub(
        bindings.crypto_scalarmult_ed25519_base_noclamp(response),
        bindings.crypto_scalarmult_ed25519_noclamp(scalar, public_key),
    )
    commitment_at_point = bindings.crypto_core_ed25519_sub(
        bindings.crypto_scalarmult_ed25519_noclamp(response, point),
        bindings.crypto_scalarmult_ed25519_noclamp(scalar, gamma),
    )
    if _challenge(public_key, point, gamma, commitment, commitment_at_point) != challenge:
        return None
    return _output(gamma)


def proof_to_hash(proof: bytes) -> bytes | None:
    """Return the output of a proof that is known to hold, or None where it is malformed (section 5.2).

    It checks no key and no input: use `verify` for a proof from anybody else.
    """
    parts = _decoded(proof)
    return None if parts is None else _output(parts[0])


def _output(gamma: bytes) -> bytes:
    cleared = bindings.crypto_scalarmult_ed25519_noclamp(_COFACTOR, gamma)
    return hashlib.sha512(_SUITE + b"\x03" + cleared + b"\x00").digest()


def _decoded(proof: bytes) -> tuple[bytes, bytes, bytes] | None:
    """Cut a proof into gamma, challenge and response, or None where it is malformed (section 5.4.4)."""
    if len(proof) != PROOF_BYTES:
        return None
    gamma = proof[:_POINT_BYTES]
    challenge = proof[_POINT_BYTES : _POINT_BYTES + _CHALLENGE_BYTES]
    response = proof[_POINT_BYTES + _CHALLENGE_BYTES :]
    if int.from_bytes(response, "little") >= _GROUP_ORDER or not _is_valid_point(gamma):
        return None
    # libsodium does not multiply by zero, and no proof with a zero holds: the challenge is a hash of points
    # fixed before it, so hitting one chosen value takes 2^128 tries.
    if not any(response) or not any(challenge):
        return None
    return gamma, challenge, response


def _challenge(*points: bytes) -> bytes:
    """Hash five points to a challenge of 16 bytes (section 5.4.3)."""
    return hashlib.sha512(_SUITE + b"\x02" + b"".join(points) + b"\x00").digest()[:_CHALLENGE_BYTES]


def _encode_to_curve(salt: bytes, alpha: bytes) -> bytes:
    """Hash an input to a point of the prime-order subgroup by trying until one fits (section 5.4.1.1).

    Every second try fits, so 256 tries fail with probability 2^-256. Takes time that depends on alpha, which
    is public.
    """
    for counter in range(256):
        preimage = _SUITE + b"\x01" + salt + alpha + bytes([counter]) + b"\x00"
        cleared = _times_cofactor(hashlib.sha512(preimage).digest()[:_POINT_BYTES])
        if cleared is not None and _is_valid_point(cleared):
            return cleared
    raise AssertionError("256 hashes in a row are no points of the curve")


def _times_cofactor(encoded: bytes) -> bytes | None:
    """Decode a point (RFC 8032, section 5.1.3) and multiply it by 8, or None where it is no point.

    Three doublings: libsodium's multiplication refuses points outside the prime-order subgroup, its addition
    does not.
    """
    if int.from_bytes(encoded, "little") & ((1 << 255) - 1) >= _FIELD_PRIME:
        return None
    try:
        for _ in range(3):
            encoded = bindings.crypto_core_ed25519_add(encoded, encoded)
    except RuntimeError:  # libsodium's answer to bytes that are no point of the curve
        return None
    return encoded


def _is_valid_point(encoded: bytes) -> bool:
    """Whether 32 bytes are a point of the prime-order subgroup, not the identity, in canonical form."""
    return bool(bindings.crypto_core_ed25519_is_valid_point(encoded))


def _as_scalar(challenge: bytes) -> bytes:
    return challenge + bytes(_SCALAR_BYTES - len(challenge))


def _clamped(half: bytes) -> bytes:
    """Turn half of the hashed seed into the secret scalar (RFC 8032, section 5.1.5)."""
    return bytes([half[0] & 248]) + half[1:31] + bytes([half[31] & 63 | 64])
