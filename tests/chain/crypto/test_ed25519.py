import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.crypto.ed25519 import SecretKey, derive_seed, verify

# RFC 8032, section 7.1: tests 1, 2, 3 and "SHA(abc)": seed, public key, message, signature.
RFC_8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        (
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
            "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
        ),
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        (
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
            "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        ),
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        (
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
            "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
        ),
    ),
    (
        "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        (
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
            "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
        ),
        (
            "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b589"
            "09351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704"
        ),
    ),
]

# "Taming the many EdDSAs" (Chalkias, Garillot, Nikolaenko 2020), section 5.1: what tells verifiers apart.
# Only number 3 is valid under libsodium's rules: message, public key, signature, what is odd about it.
SPECCHECK = [
    (
        "8c93255d71dcab10e8f379c26200f3c7bd5f09d9bc3068d3ef4edeb4853022b6",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        (
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"
            "0000000000000000000000000000000000000000000000000000000000000000"
        ),
        "small A and R, S = 0",
    ),
    (
        "9bd9f44f4dcc75bd531b56b2cd280b0bb38fc1cd6d1230e14861d861de092e79",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        (
            "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43"
            "a5bb704786be79fc476f91d3f3f89b03984d8068dcf1bb7dfc6637b45450ac04"
        ),
        "small A",
    ),
    (
        "aebf3f2601a0c8c5d39cc7d8911642f740b78168218da8471772b35f9d35b9ab",
        "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43",
        (
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa"
            "8c4bd45aecaca5b24fb97bc10ac27ac8751a7dfe1baff8b953ec9f5833ca260e"
        ),
        "small R",
    ),
    (
        "9bd9f44f4dcc75bd531b56b2cd280b0bb38fc1cd6d1230e14861d861de092e79",
        "cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d",
        (
            "9046a64750444938de19f227bb80485e92b83fdb4b6506c160484c016cc1852f"
            "87909e14428a7a1d62e9f22f3d3ad7802db02eb2e688b6c52fcd6648a98bd009"
        ),
        "mixed A and R, holds without the cofactor too",
    ),
    (
        "e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec4011eaccd55b53f56c",
        "cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d",
        (
            "160a1cb0dc9c0258cd0a7d23e94d8fa878bcb1925f2c64246b2dee1796bed512"
            "5ec6bc982a269b723e0668e540911a9a6a58921d6925e434ab10aa7940551a09"
        ),
        "mixed A and R, holds with the cofactor only",
    ),
    (
        "e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec4011eaccd55b53f56c",
        "cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d",
        (
            "21122a84e0b5fca4052f5b1235c80a537878b38f3142356b2c2384ebad4668b7"
            "e40bc836dac0f71076f9abe3a53f9c03c1ceeeddb658d0030494ace586687405"
        ),
        "mixed A, holds with the cofactor only, and not where 8h is reduced first",
    ),
    (
        "85e241a07d148b41e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec40",
        "442aad9f089ad9e14647b1ef9099a1ff4798d78589e66f28eca69c11f582a623",
        (
            "e96f66be976d82e60150baecff9906684aebb1ef181f67a7189ac78ea23b6c0e"
            "547f7690a0e2ddcd04d87dbc3490dc19b3b3052f7ff0538cb68afb369ba3a514"
        ),
        "S above the group order",
    ),
    (
        "85e241a07d148b41e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec40",
        "442aad9f089ad9e14647b1ef9099a1ff4798d78589e66f28eca69c11f582a623",
        (
            "8ce5b96c8f26d0ab6c47958c9e68b937104cd36e13c33566acd2fe8d38aa1942"
            "7e71f98a473474f2f13f06f97c20d58cc3f54b8bd0d272f42b695dd7e89a8c22"
        ),
        "S far above the group order",
    ),
    (
        "9bedc267423725d473888631ebf45988bad3db83851ee85c85e241a07d148b41",
        "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43",
        (
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
            "03be9678ac102edcd92b0210bb34d7428d12ffc5df5f37e359941266a4e35f0f"
        ),
        "non-canonical R, reduced for the hash",
    ),
    (
        "9bedc267423725d473888631ebf45988bad3db83851ee85c85e241a07d148b41",
        "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43",
        (
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
            "ca8c5b64cd208982aa38d4936621a4775aa233aa0505711d8fdcfdaa943d4908"
        ),
        "non-canonical R, not reduced for the hash",
    ),
    (
        "e96b7021eb39c1a163b6da4e3093dcd3f21387da4cc4572be588fafae23c155b",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        (
            "a9d55260f765261eb9b84e106f665e00b867287a761990d7135963ee0a7d59dc"
            "a5bb704786be79fc476f91d3f3f89b03984d8068dcf1bb7dfc6637b45450ac04"
        ),
        "non-canonical A, reduced for the hash",
    ),
    (
        "39a591f5321bbe07fd5a23dc2f39d025d74526615746727ceefd6e82ae65c06f",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        (
            "a9d55260f765261eb9b84e106f665e00b867287a761990d7135963ee0a7d59dc"
            "a5bb704786be79fc476f91d3f3f89b03984d8068dcf1bb7dfc6637b45450ac04"
        ),
        "non-canonical A, not reduced for the hash",
    ),
]
VALID_UNDER_LIBSODIUM = {3}

GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493
KEY = SecretKey(bytes(range(32)))


@pytest.mark.parametrize(("seed", "public", "message", "signature"), RFC_8032)
def test_rfc_8032(seed: str, public: str, message: str, signature: str) -> None:
    key = SecretKey(bytes.fromhex(seed))
    assert key.public_key.hex() == public
    assert key.sign(bytes.fromhex(message)).hex() == signature
    assert verify(key.public_key, bytes.fromhex(message), bytes.fromhex(signature))


@pytest.mark.parametrize("number", range(12))
def test_edge_cases_are_decided_as_libsodium_does(number: int) -> None:
    message, public, signature, what = SPECCHECK[number]
    verdict = verify(bytes.fromhex(public), bytes.fromhex(message), bytes.fromhex(signature))
    assert verdict is (number in VALID_UNDER_LIBSODIUM), what


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=200))
def test_a_signature_holds_for_its_key_and_message_alone(seed: bytes, message: bytes) -> None:
    key = SecretKey(seed)
    signature = key.sign(message)
    assert key.sign(message) == signature
    assert verify(key.public_key, message, signature)
    assert not verify(key.public_key, message + b"\x00", signature)
    assert not verify(KEY.public_key, message, signature) or seed == KEY.seed


@given(st.integers(0, 511), st.sampled_from(["public", "signature"]))
def test_no_bit_of_key_or_signature_can_change(bit: int, part: str) -> None:
    message = b"message"
    public, signature = bytearray(KEY.public_key), bytearray(KEY.sign(message))
    target = public if part == "public" else signature
    target[bit // 8 % len(target)] ^= 1 << bit % 8
    assert not verify(bytes(public), message, bytes(signature))


def test_a_scalar_above_the_group_order_is_no_second_signature() -> None:
    signature = KEY.sign(b"message")
    scalar = int.from_bytes(signature[32:], "little") + GROUP_ORDER
    assert not verify(KEY.public_key, b"message", signature[:32] + scalar.to_bytes(32, "little"))


@given(st.binary(max_size=70), st.binary(max_size=70), st.binary(max_size=140))
def test_arbitrary_bytes_are_invalid_and_never_raise(public: bytes, message: bytes, signature: bytes) -> None:
    assert not verify(public, message, signature)


@pytest.mark.parametrize(
    ("public_bytes", "signature_bytes"), [(31, 64), (33, 64), (32, 63), (32, 65), (0, 0)]
)
def test_wrong_lengths_are_invalid(public_bytes: int, signature_bytes: int) -> None:
    public = (KEY.public_key + b"\x00")[:public_bytes]
    signature = (KEY.sign(b"") + b"\x00")[:signature_bytes]
    assert not verify(public, b"", signature)


def test_nothing_printed_holds_the_secret() -> None:
    expected = "SecretKey(public_key=03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8)"
    assert repr(KEY) == str(KEY) == expected
    assert not hasattr(KEY, "__dict__")


def test_generation_depends_on_all_entropy() -> None:
    assert SecretKey.generate(bytes(32)).public_key == SecretKey.generate(bytes(32)).public_key
    assert SecretKey.generate(bytes(33)).public_key != SecretKey.generate(bytes(32)).public_key
    assert SecretKey.generate(bytes(32)).seed != bytes(32)
    with pytest.raises(ValueError, match="a key needs at least 32 bytes of entropy, got 31"):
        SecretKey.generate(bytes(31))
    with pytest.raises(ValueError, match="an ed25519 seed has 32 bytes, got 33"):
        SecretKey(bytes(33))


def test_derived_seeds_are_pinned_and_distinct() -> None:
    # A testnet from a seed must be the same testnet in the next version.
    assert (
        derive_seed(bytes(32), "consensus", 0).hex()
        == "782e556919a1a750face96e1528481d9106d279e019335d9c4a5d1bc6317aa0e"
    )
    seeds = {
        derive_seed(seed, role, index)
        for seed in (bytes(32), b"\x01" * 32)
        for role in ("", "peer", "peer\x00", "miner", "account")
        for index in (0, 1, 256, 2**64 - 1)
    }
    assert len(seeds) == 40


@pytest.mark.parametrize(
    ("seed", "role", "index", "message"),
    [
        (bytes(31), "peer", 0, "a seed has 32 bytes, got 31"),
        (bytes(32), "r" * 256, 0, "a role has at most 255 bytes, got 256"),
        (bytes(32), "peer", -1, r"an index lies in 0..2\^64-1, got -1"),
        (bytes(32), "peer", 2**64, r"an index lies in 0..2\^64-1, got 18446744073709551616"),
    ],
)
def test_derivation_refuses_what_it_could_not_tell_apart(
    seed: bytes, role: str, index: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        derive_seed(seed, role, index)
