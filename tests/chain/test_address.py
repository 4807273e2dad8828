import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.address import (
    AddressError,
    AddressReason,
    decode_address,
    decode_groups,
    encode_address,
    encode_groups,
)

KEY = bytes(range(32))
ADDRESS = encode_address(KEY, prefix="hr")
KEYS = st.binary(min_size=32, max_size=32)

# BIP 350, "Test vectors for Bech32m".
VALID = [
    ("A1LQFN3A", "a", []),
    ("a1lqfn3a", "a", []),
    (
        "an83characterlonghumanreadablepartthatcontainsthetheexcludedcharactersbioandnumber11sg7hg6",
        "an83characterlonghumanreadablepartthatcontainsthetheexcludedcharactersbioandnumber1",
        [],
    ),
    ("abcdef1l7aum6echk45nj3s0wdvt2fg8x9yrzpqzd3ryx", "abcdef", list(range(31, -1, -1))),
    ("11" + "l" * 82 + "ludsr8", "1", [31] * 82),
    (
        "split1checkupstagehandshakeupstreamerranterredcaperredlc445v",
        "split",
        list(
            bytes.fromhex(
                "18171918161c01100b1d0819171d130d10171d16191c0110"
                "0b03191d1b1903031d130b190303190d181d01190303190d"
            )
        ),
    ),
    ("?1v759aa", "?", []),
]
INVALID = [
    (" 1xj0phk", AddressReason.BAD_CHARACTER),
    ("\x7f1g6xzxy", AddressReason.BAD_CHARACTER),
    ("\x801vctc34", AddressReason.BAD_CHARACTER),
    (
        "an84characterslonghumanreadablepartthatcontainsthetheexcludedcharactersbioandnumber11d6pts4",
        AddressReason.BAD_LENGTH,
    ),
    ("qyrz8wqd2c9m", AddressReason.NO_SEPARATOR),
    ("1qyrz8wqd2c9m", AddressReason.NO_SEPARATOR),
    ("y1b0jsk6g", AddressReason.BAD_CHARACTER),
    ("lt1igcx5c0", AddressReason.BAD_CHARACTER),
    ("in1muywd", AddressReason.BAD_LENGTH),
    ("mm1crxm3i", AddressReason.BAD_CHARACTER),
    ("au1s5cgom", AddressReason.BAD_CHARACTER),
    ("M1VUXWEZ", AddressReason.BAD_CHECKSUM),
    ("16plkw9", AddressReason.NO_SEPARATOR),
    ("1p2gdwpf", AddressReason.NO_SEPARATOR),
]


def refusal(text: str, *, prefix: str = "hr") -> tuple[AddressReason, str]:
    with pytest.raises(AddressError) as caught:
        decode_address(text, prefix=prefix)
    return caught.value.reason, str(caught.value)


@pytest.mark.parametrize(("text", "prefix", "groups"), VALID, ids=[text[:12] for text, _, _ in VALID])
def test_valid_strings_of_bip_350(text: str, prefix: str, groups: list[int]) -> None:
    assert decode_groups(text) == (prefix, groups)
    assert encode_groups(prefix, groups) == text.lower()


@pytest.mark.parametrize(("text", "reason"), INVALID, ids=[ascii(text[:12]) for text, _ in INVALID])
def test_invalid_strings_of_bip_350(text: str, reason: AddressReason) -> None:
    with pytest.raises(AddressError) as caught:
        decode_groups(text)
    assert caught.value.reason is reason


def test_the_form_of_an_address_is_pinned() -> None:
    assert ADDRESS == "hr1qqqsyqcyq5rqwzqfpg9scrgwpugpzysnzs23v9ccrydpk8qarc0sgzullx"
    assert len(ADDRESS) == 61


@given(KEYS, st.from_regex(r"[a-z][a-z0-9]{0,30}", fullmatch=True))
def test_every_key_reads_back(key: bytes, prefix: str) -> None:
    address = encode_address(key, prefix=prefix)
    assert decode_address(address, prefix=prefix) == key
    assert decode_address(address.upper(), prefix=prefix) == key


@given(KEYS, st.data())
def test_up_to_four_wrong_characters_are_always_found(key: bytes, data: st.DataObject) -> None:
    characters = list(encode_address(key, prefix="hr"))
    places = data.draw(st.sets(st.integers(3, len(characters) - 1), min_size=1, max_size=4))
    for place in sorted(places):
        others = [letter for letter in "qpzry9x8gf2tvdw0s3jn54khce6mua7l" if letter != characters[place]]
        characters[place] = data.draw(st.sampled_from(others))
    assert refusal("".join(characters))[0] is AddressReason.BAD_CHECKSUM


@given(st.text(max_size=100))
def test_arbitrary_text_ends_in_a_reason(text: str) -> None:
    assert isinstance(refusal(text)[0], AddressReason)


def test_an_address_of_another_network_is_refused() -> None:
    assert refusal(ADDRESS, prefix="hrtest") == (
        AddressReason.WRONG_PREFIX,
        "an address of network 'hr', expected 'hrtest'",
    )


def test_mixed_case_is_refused() -> None:
    assert refusal(ADDRESS[:-1] + ADDRESS[-1].upper())[0] is AddressReason.MIXED_CASE
    assert refusal("HR" + ADDRESS[2:])[0] is AddressReason.MIXED_CASE


def test_other_things_in_bech32m_are_no_keys() -> None:
    assert refusal(encode_groups("hr", [0] * 51)) == (
        AddressReason.BAD_LENGTH,
        "an address holds 52 characters of key, got 51",
    )
    assert refusal(encode_groups("hr", [0] * 53))[0] is AddressReason.BAD_LENGTH
    assert refusal(encode_groups("hr", [0] * 51 + [1])) == (
        AddressReason.BAD_PADDING,
        "four zero bits follow the key, got 0001",
    )


def test_the_older_checksum_is_refused() -> None:
    # Bech32 (BIP 173) differs from bech32m in one constant.
    assert refusal("a12uel5l", prefix="a")[0] is AddressReason.BAD_CHECKSUM


@pytest.mark.parametrize("prefix", ["", "HR", "h r", "hé", "h" * 32])
def test_bad_prefixes_are_refused(prefix: str) -> None:
    with pytest.raises(ValueError, match="a prefix has 1 to 31 lower-case characters, got"):
        encode_address(KEY, prefix=prefix)


def test_a_key_has_32_bytes() -> None:
    with pytest.raises(ValueError, match="a key has 32 bytes, got 31"):
        encode_address(bytes(31), prefix="hr")
