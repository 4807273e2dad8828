import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl import bindings

from chain.crypto import vrf
from chain.crypto.ed25519 import SecretKey

# RFC 9381, appendix B.3, examples 16, 17 and 18: secret key, public key, alpha, pi, beta.
RFC_9381 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        (
            "8657106690b5526245a92b003bb079ccd1a92130477671f6fc01ad16f26f723f"
            "26f8a57ccaed74ee1b190bed1f479d9727d2d0f9b005a6e456a35d4fb0daab12"
            "68a1b0db10836d9826a528ca76567805"
        ),
        (
            "90cf1df3b703cce59e2a35b925d411164068269d7b2d29f3301c03dd757876ff"
            "66b71dda49d2de59d03450451af026798e8f81cd2e333de5cdf4f3e140fdd8ae"
        ),
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        (
            "f3141cd382dc42909d19ec5110469e4feae18300e94f304590abdced48aed593"
            "3bf0864a62558b3ed7f2fea45c92a465301b3bbf5e3e54ddf2d935be3b67926d"
            "a3ef39226bbc355bdc9850112c8f4b02"
        ),
        (
            "eb4440665d3891d668e7e0fcaf587f1b4bd7fbfe99d0eb2211ccec90496310eb"
            "5e33821bc613efb94db5e5b54c70a848a0bef4553a41befc57663b56373a5031"
        ),
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        (
            "9bc0f79119cc5604bf02d23b4caede71393cedfbb191434dd016d30177ccbf80"
            "96bb474e53895c362d8628ee9f9ea3c0e52c7a5c691b6c18c9979866568add7a"
            "2d41b00b05081ed0f58ee5e31b3a970e"
        ),
        (
            "645427e5d00c62a23fb703732fa5d892940935942101e456ecca7bb217c61c45"
            "2118fec1219202a0edcf038bb6373241578be7217ba85a2687f7a0310b2df19f"
        ),
    ),
]

IDENTITY = (1).to_bytes(32, "little")
ORDER_TWO = (2**255 - 20).to_bytes(32, "little")
ORDER_FOUR = bytes(32)
ORDER_EIGHT = bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a")
NON_CANONICAL_IDENTITY = (2**255 - 18).to_bytes(32, "little")
NOT_ON_CURVE = (2).to_bytes(32, "little")
BAD_POINTS = [
    IDENTITY,
    ORDER_TWO,
    ORDER_FOUR,
    ORDER_EIGHT,
    NON_CANONICAL_IDENTITY,
    NOT_ON_CURVE,
    b"\xff" * 32,
]
GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493

KEY = SecretKey(bytes(range(32)))
ALPHA = b"the beacon before"
PROOF = vrf.prove(KEY, ALPHA)
SEEDS = st.binary(min_size=32, max_size=32)


@pytest.mark.parametrize(("secret", "public", "alpha", "pi", "beta"), RFC_9381)
def test_rfc_9381(secret: str, public: str, alpha: str, pi: str, beta: str) -> None:
    key = SecretKey(bytes.fromhex(secret))
    assert key.public_key.hex() == public
    assert vrf.prove(key, bytes.fromhex(alpha)).hex() == pi
    assert vrf.verify(key.public_key, bytes.fromhex(alpha), bytes.fromhex(pi)) == bytes.fromhex(beta)
    assert vrf.proof_to_hash(bytes.fromhex(pi)) == bytes.fromhex(beta)


@settings(max_examples=50)
@given(SEEDS, st.binary(max_size=200))
def test_a_proof_shows_one_output_for_its_key_and_input(seed: bytes, alpha: bytes) -> None:
    key = SecretKey(seed)
    proof = vrf.prove(key, alpha)
    output = vrf.verify(key.public_key, alpha, proof)
    assert len(proof) == vrf.PROOF_BYTES
    assert output is not None
    assert len(output) == vrf.OUTPUT_BYTES
    assert output == vrf.proof_to_hash(proof)
    assert vrf.prove(key, alpha) == proof
    assert vrf.verify(key.public_key, alpha + b"\x00", proof) is None
    if seed != KEY.seed:
        assert vrf.verify(KEY.public_key, alpha, proof) is None


@settings(max_examples=50)
@given(st.integers(1, GROUP_ORDER - 1))
def test_another_nonce_gives_another_proof_but_the_same_output(nonce: int) -> None:
    """The holder of the key can make many proofs; uniqueness is of the output."""
    digest = hashlib.sha512(KEY.seed).digest()
    scalar = vrf._clamped(digest[:32])
    point = vrf._encode_to_curve(KEY.public_key, ALPHA)
    gamma = PROOF[:32]
    k = nonce.to_bytes(32, "little")
    challenge = vrf._challenge(
        KEY.public_key,
        point,
        gamma,
        bindings.crypto_scalarmult_ed25519_base_noclamp(k),
        bindings.crypto_scalarmult_ed25519_noclamp(k, point),
    )
    response = (nonce + int.from_bytes(challenge, "little") * int.from_bytes(scalar, "little")) % GROUP_ORDER
    other = gamma + challenge + response.to_bytes(32, "little")
    assert vrf.verify(KEY.public_key, ALPHA, other) == vrf.proof_to_hash(PROOF)


@settings(max_examples=50)
@given(SEEDS)
def test_another_gamma_is_never_proven(seed: bytes) -> None:
    gamma = SecretKey(seed).public_key
    if gamma != PROOF[:32]:
        assert vrf.verify(KEY.public_key, ALPHA, gamma + PROOF[32:]) is None


def test_gamma_with_a_small_component_is_refused() -> None:
    # Valid by the letter of the RFC if the rest is made for it, with the same output; refused here.
    assert vrf.proof_to_hash(PROOF) is not None
    for torsion in (ORDER_TWO, ORDER_FOUR, ORDER_EIGHT):
        gamma = bindings.crypto_core_ed25519_add(PROOF[:32], torsion)
        assert gamma != PROOF[:32]
        assert vrf.proof_to_hash(gamma + PROOF[32:]) is None
        assert vrf.verify(KEY.public_key, ALPHA, gamma + PROOF[32:]) is None


@pytest.mark.parametrize("bit", range(0, 640, 7))
def test_no_bit_of_a_proof_can_change(bit: int) -> None:
    tampered = bytearray(PROOF)
    tampered[bit // 8] ^= 1 << bit % 8
    assert vrf.verify(KEY.public_key, ALPHA, bytes(tampered)) is None


@pytest.mark.parametrize("point", BAD_POINTS, ids=lambda point: point.hex()[:8])
def test_keys_and_gammas_that_are_no_good_points_are_refused(point: bytes) -> None:
    assert vrf.verify(point, ALPHA, PROOF) is None
    assert vrf.verify(KEY.public_key, ALPHA, point + PROOF[32:]) is None
    assert vrf.proof_to_hash(point + PROOF[32:]) is None


def test_a_key_with_a_small_component_is_refused() -> None:
    for torsion in (ORDER_TWO, ORDER_FOUR, ORDER_EIGHT):
        assert vrf.verify(bindings.crypto_core_ed25519_add(KEY.public_key, torsion), ALPHA, PROOF) is None


def test_responses_outside_the_group_order_are_refused() -> None:
    response = int.from_bytes(PROOF[48:], "little")
    for wrong in (response + GROUP_ORDER, GROUP_ORDER, 2**256 - 1, 0):
        assert vrf.verify(KEY.public_key, ALPHA, PROOF[:48] + wrong.to_bytes(32, "little")) is None
    assert vrf.verify(KEY.public_key, ALPHA, PROOF[:32] + bytes(16) + PROOF[48:]) is None
    assert vrf.proof_to_hash(PROOF[:48] + GROUP_ORDER.to_bytes(32, "little")) is None


@given(
    st.binary(max_size=40) | st.just(KEY.public_key) | st.sampled_from(BAD_POINTS),
    st.binary(max_size=40),
    st.binary(max_size=90)
    | st.binary(min_size=80, max_size=80)
    | st.binary(min_size=48, max_size=48).map(lambda rest: PROOF[:32] + rest),
)
def test_malformed_input_is_refused_and_never_raises(public: bytes, alpha: bytes, proof: bytes) -> None:
    assert vrf.verify(public, alpha, proof) is None
    vrf.proof_to_hash(proof)


def test_hashing_to_the_curve_decodes_points_as_rfc_8032_does() -> None:
    assert vrf._times_cofactor(NOT_ON_CURVE) is None
    assert vrf._times_cofactor(NON_CANONICAL_IDENTITY) is None
    assert vrf._times_cofactor((2**255 - 19).to_bytes(32, "little")) is None
    assert vrf._times_cofactor(ORDER_EIGHT) == IDENTITY
    assert vrf._times_cofactor(KEY.public_key) == bindings.crypto_scalarmult_ed25519_noclamp(
        (8).to_bytes(32, "little"), KEY.public_key
    )
