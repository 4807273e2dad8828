"""Amounts as people read them."""

from typing import Final

COIN_DIGITS: Final = 6
"""A coin has 10**6 base units; every amount in JSON is in base units."""


def coins(amount: int) -> str:
    """An amount of base units in coins."""
    whole, rest = divmod(amount, 10**COIN_DIGITS)
    return f"{whole}.{rest:0{COIN_DIGITS}d}".rstrip("0").rstrip(".") if rest else str(whole)
