"""Addresses: a 32-byte public key in bech32m (BIP 350), with the network's prefix in front.

`hr1qp5...` reads as prefix `hr`, the separator `1`, 52 characters of key and 6 of checksum. The checksum
finds every error in up to four characters, and the prefix keeps an address of one network from being used on
another.
"""

import enum
from typing import Final

KEY_BYTES: Final = 32
MAX_PREFIX_CHARACTERS: Final = 31
"""BIP 173 allows 90 characters in all: 90 less the separator, 52 of key and 6 of checksum."""

_CHARACTERS: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_VALUES: Final = {character: value for value, character in enumerate(_CHARACTERS)}
_GENERATOR: Final = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_BECH32M: Final = 0x2BC830A3
"""What the checksum polynomial of a valid bech32m string leaves."""
_CHECKSUM_CHARACTERS: Final = 6
_MAX_CHARACTERS: Final = 90


class AddressReason(enum.Enum):
    """Why a text is no address of this network."""

    BAD_CHARACTER = "bad_character"
    """A character outside the alphabet, or a prefix with one outside printable ASCII."""
    MIXED_CASE = "mixed_case"
    """Upper and lower case in one address: only one of them at a time, so that a typing error shows."""
    NO_SEPARATOR = "no_separator"
    """No `1` between a prefix and the rest."""
    BAD_LENGTH = "bad_length"
    """Too long for the checksum, too short to hold one, or not a key of 32 bytes."""
    BAD_CHECKSUM = "bad_checksum"
    """The checksum does not fit: a typing error."""
    BAD_PADDING = "bad_padding"
    """The bits left over after the key are not zero."""
    WRONG_PREFIX = "wrong_prefix"
    """An address of another network."""


class AddressError(ValueError):
    """A text that is no address of this network."""

    def __init__(self, reason: AddressReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def encode_address(key: bytes, *, prefix: str) -> str:
    """Write a 32-byte public key as an address.

    Raises:
        ValueError: The key is not 32 bytes long, or the prefix is not 1 to 31 lower-case printable
            characters.
    """
    if len(key) != KEY_BYTES:
        raise ValueError(f"a key has {KEY_BYTES} bytes, got {len(key)}")
    if not 1 <= len(prefix) <= MAX_PREFIX_CHARACTERS or prefix != prefix.lower() or not _is_printable(prefix):
        raise ValueError(f"a prefix has 1 to {MAX_PREFIX_CHARACTERS} lower-case characters, got {prefix!r}")
    bits = int.from_bytes(key, "big") << 4  # 256 bits are 51.2 groups of five: four zero bits fill the last
    groups = [bits >> shift & 31 for shift in range(255, -1, -5)]
    return encode_groups(prefix, groups)


def decode_address(text: str, *, prefix: str) -> bytes:
    """Read the 32-byte public key out of an address of the network with this prefix.

    Raises:
        AddressError: BAD_CHARACTER, MIXED_CASE, NO_SEPARATOR, BAD_LENGTH, BAD_CHECKSUM, BAD_PADDING or
            WRONG_PREFIX.
    """
    found, groups = decode_groups(text)
    if found != prefix:
        raise AddressError(
            AddressReason.WRONG_PREFIX, f"an address of network {found!r}, expected {prefix!r}"
        )
    if len(groups) != 52:
        raise AddressError(
            AddressReason.BAD_LENGTH, f"an address holds 52 characters of key, got {len(groups)}"
        )
    bits = 0
    for group in groups:
        bits = bits << 5 | group
    if bits & 15:
        raise AddressError(AddressReason.BAD_PADDING, f"four zero bits follow the key, got {bits & 15:04b}")
    return (bits >> 4).to_bytes(KEY_BYTES, "big")


def encode_groups(prefix: str, groups: list[int]) -> str:
    """Write groups of five bits as a bech32m string (BIP 350)."""
    polymod = _polymod([*_expanded(prefix), *groups, *[0] * _CHECKSUM_CHARACTERS]) ^ _BECH32M
    checksum = [polymod >> 5 * (_CHECKSUM_CHARACTERS - 1 - i) & 31 for i in range(_CHECKSUM_CHARACTERS)]
    return prefix + "1" + "".join(_CHARACTERS[group] for group in [*groups, *checksum])


def decode_groups(text: str) -> tuple[str, list[int]]:
    """Read the prefix and the groups of five bits out of a bech32m string (BIP 350).

    Raises:
        AddressError: BAD_CHARACTER, MIXED_CASE, NO_SEPARATOR, BAD_LENGTH or BAD_CHECKSUM.
    """
    if len(text) > _MAX_CHARACTERS:
        raise AddressError(
            AddressReason.BAD_LENGTH, f"an address has at most {_MAX_CHARACTERS} characters, got {len(text)}"
        )
    if not _is_printable(text):
        raise AddressError(
            AddressReason.BAD_CHARACTER, f"an address is printable ASCII without spaces, got {text!r}"
        )
    if text.lower() != text and text.upper() != text:
        raise AddressError(
            AddressReason.MIXED_CASE, f"an address is all lower or all upper case, got {text!r}"
        )
    prefix, separator, data = text.lower().rpartition("1")
    if not separator or not prefix:
        raise AddressError(AddressReason.NO_SEPARATOR, f"expected a prefix and a 1 in {text!r}")
    if len(data) < _CHECKSUM_CHARACTERS:
        raise AddressError(
            AddressReason.BAD_LENGTH, f"a checksum has {_CHECKSUM_CHARACTERS} characters, got {len(data)}"
        )
    groups: list[int] = []
    for character in data:
        if character not in _VALUES:
            raise AddressError(AddressReason.BAD_CHARACTER, f"{character!r} in {text!r} stands in no address")
        groups.append(_VALUES[character])
    if _polymod([*_expanded(prefix), *groups]) != _BECH32M:
        raise AddressError(
            AddressReason.BAD_CHECKSUM, f"the checksum of {text!r} does not fit: a typing error"
        )
    return prefix, groups[:-_CHECKSUM_CHARACTERS]


def _is_printable(text: str) -> bool:
    return all("!" <= character <= "~" for character in text)


def _expanded(prefix: str) -> list[int]:
    codes = prefix.encode("ascii")
    return [*[code >> 5 for code in codes], 0, *[code & 31 for code in codes]]


def _polymod(values: list[int]) -> int:
    """The remainder of the checksum polynomial (BIP 173, "Checksum")."""
    remainder = 1
    for value in values:
        top = remainder >> 25
        remainder = (remainder & 0x1FFFFFF) << 5 ^ value
        for bit, term in enumerate(_GENERATOR):
            if top >> bit & 1:
                remainder ^= term
    return remainder
