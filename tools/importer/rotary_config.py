"""What a configuration says of rotary turns: their base, and how frequencies are scaled."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import isfinite
from typing import Any, Final

from pouw.arithmetic.rotary_scaling import RotaryScaling
from tools.importer.config_file import count
from tools.importer.errors import ImportReason, ModelImportError

_REFUSED: Final = {
    "dynamic": "its turns depend on the length of the whole text, so no key is ever final",
    "yarn": "it scales attention together with the turns, which no integer program here does",
    "longrope": "its factors depend on the length of the whole text, so no key is ever final",
}
"""Kinds of scaling that are known and not read, each with its reason."""

_DEFAULT_BASE: Final = 10000

_MOST: Final = 1 << 24


@dataclass(frozen=True, slots=True)
class Rotary:
    """Which turns a model takes.

    Args:
        base: of the frequencies.
        scaling: None if they are as the base says.
    """

    base: int
    scaling: RotaryScaling | None


def read_rotary(config: Mapping[str, Any]) -> Rotary:
    """Base and scaling of a configuration.

    Both spellings are read: `rope_theta` with `rope_scaling`, and `rope_parameters` with everything in it.

    Raises:
        ModelImportError: UNSUPPORTED of a kind that is not read; MISSING, MALFORMED.
    """
    old, new = (_object(config, key) for key in ("rope_scaling", "rope_parameters"))
    if old and new and old != new:
        raise ModelImportError(
            ImportReason.MALFORMED,
            "rope_scaling and rope_parameters are both there and differ; leave one out",
        )
    given = new or old
    # Before transformers 4.45 the kind was called "type".
    kind = given.get("rope_type", given.get("type", "default"))
    if given.get("partial_rotary_factor", config.get("partial_rotary_factor", 1)) not in (None, 1):
        raise ModelImportError(
            ImportReason.UNSUPPORTED, "partial_rotary_factor is not 1: heads that turn in part are not read"
        )
    base = _base(given.get("rope_theta", config.get("rope_theta", _DEFAULT_BASE)))
    if kind == "default":
        return Rotary(base, None)
    if kind == "linear":
        return Rotary(base, RotaryScaling(_number(given, "factor", least=1)))
    if kind == "llama3":
        return Rotary(base, _llama3(given, config))
    reason = _REFUSED.get(str(kind), "known are default, linear and llama3")
    raise ModelImportError(ImportReason.UNSUPPORTED, f"rotary scaling {str(kind)[:40]!r}: {reason}")


def _llama3(given: Mapping[str, Any], config: Mapping[str, Any]) -> RotaryScaling:
    low, high = (_number(given, key, least=0) for key in ("low_freq_factor", "high_freq_factor"))
    if low >= high:
        raise ModelImportError(
            ImportReason.MALFORMED, f"low_freq_factor is {float(low)}, high_freq_factor {float(high)}"
        )
    key = "original_max_position_embeddings"
    context = given.get(key)
    if context is None:
        context = count(config, "max_position_embeddings")
    if type(context) is not int or not 1 <= context <= _MOST:
        raise ModelImportError(
            ImportReason.MALFORMED, f"{key} is {str(context)[:40]}, allowed are 1..{_MOST}"
        )
    return RotaryScaling(_number(given, "factor", least=1), context, low, high)


def _object(config: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = config.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ModelImportError(ImportReason.MALFORMED, f"{key} is {str(value)[:60]}, an object is due")
    return value


def _number(given: Mapping[str, Any], key: str, *, least: int) -> Fraction:
    value = given.get(key)
    if value is None:
        raise ModelImportError(ImportReason.MISSING, f"no {key} of the rotary scaling")
    if type(value) not in (int, float) or not isfinite(value) or not least <= value <= _MOST:
        raise ModelImportError(
            ImportReason.MALFORMED, f"{key} is {str(value)[:40]}, allowed are {least}..{_MOST}"
        )
    return Fraction(value)


def _base(value: Any) -> int:
    if type(value) not in (int, float) or not 2 <= value <= 1 << 31 or value != int(value):
        raise ModelImportError(
            ImportReason.UNSUPPORTED, f"rope_theta is {str(value)[:40]}, known are whole numbers, 2..2^31"
        )
    return int(value)
