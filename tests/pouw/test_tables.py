"""Tables against a second way of computing them: powers of whole numbers, and floating point."""

from fractions import Fraction

import numpy as np
import pytest
from blake3 import blake3

from pouw.arithmetic.fixed import even_headroom, reciprocal_root
from pouw.arithmetic.rotary_scaling import RotaryScaling
from pouw.arithmetic.tables import attention_weights, powers_of_two, rotary_table, silu_table


@pytest.mark.parametrize(("table", "one"), [(attention_weights(), 127), (powers_of_two(), 1 << 30)])
def test_powers_are_rounded_rightly(table: np.ndarray, one: int) -> None:
    """With e = round(one * 2^(-z/256)): (2e - 1)^256 * 2^z <= (2 * one)^256 < (2e + 1)^256 * 2^z."""
    middle = (2 * one) ** 256
    for z in range(0, len(table), 7):
        entry = int(table[z])
        assert max(2 * entry - 1, 0) ** 256 << z <= middle < (2 * entry + 1) ** 256 << z
    assert table[0] == one


def test_weights_end_at_nothing() -> None:
    assert attention_weights()[-1] == 0
    assert (np.diff(attention_weights().astype(int)) <= 0).all()


def test_silu() -> None:
    x = np.arange(-128, 128) / 16
    entries = np.frombuffer(silu_table(1, 16, 2048), "<i2")
    assert np.abs(entries - x / (1 + np.exp(-x)) * 2048).max() < 0.5 + 1e-6
    assert np.frombuffer(silu_table(1, 1, 32767), "<i2").max() == 32767


@pytest.mark.parametrize(("positions", "dim", "base"), [(700, 32, 10000), (300, 2, 500000)])
def test_turns(positions: int, dim: int, base: int) -> None:
    angles = np.arange(positions)[:, None] * float(base) ** (-2 * np.arange(dim // 2) / dim)
    real = np.concatenate([np.cos(angles), np.sin(angles)], axis=1) * 16384
    assert np.abs(rotary_table(positions, dim, base) - real).max() < 0.5 + 1e-6


def test_scaled_turns() -> None:
    """Linear scaling divides every frequency; that of Llama 3 the slow ones, and some of them in part."""
    plain, linear = rotary_table(400, 16, 5000), RotaryScaling(Fraction(4))
    assert np.array_equal(rotary_table(400, 16, 5000, scaling=RotaryScaling(Fraction(1))), plain)
    assert np.abs(rotary_table(400, 16, 5000, scaling=linear)[::4] - plain[:100]).max() <= 1
    llama = RotaryScaling(Fraction(8), 64, Fraction(1), Fraction(4))
    speeds = 5000.0 ** (-np.arange(8) / 8)
    kept = np.clip((64 * speeds / (2 * np.pi) - 1) / 3, 0, 1)
    assert {0.0, 1.0} < set(kept)
    angles = np.arange(400)[:, None] * speeds * (kept + (1 - kept) / 8)
    real = np.concatenate([np.cos(angles), np.sin(angles)], axis=1) * 16384
    assert np.abs(rotary_table(400, 16, 5000, scaling=llama) - real).max() < 0.5 + 1e-6
    for factor, low in ((Fraction(1, 2), 0), (Fraction(2), 1), (Fraction(2), -1)):
        with pytest.raises(ValueError, match="a factor of 1 or more"):
            RotaryScaling(factor, 64, Fraction(low), Fraction(1))


def test_vectors() -> None:
    """Every machine must build these bytes."""
    tables = (attention_weights(), powers_of_two(), rotary_table(256, 64, 10000))
    digests = [blake3(table.tobytes()).hexdigest()[:16] for table in tables]
    digests.append(blake3(silu_table(3, 50, 4000)).hexdigest()[:16])
    assert digests == ["a2e67e72ace4ed45", "65d25f1524d6073c", "91f2a812e6e0ac4d", "2323ce9700ac0f74"]


@pytest.mark.parametrize("mean", [1, 2, 3, 99, 2**20 - 1, 2**31, 10**15, 2**61, 2**62 - 1])
def test_a_reciprocal_has_thirty_bits_whatever_its_size(mean: int) -> None:
    """A narrow one once made a bit-identical model of another function."""
    inverse, shift = reciprocal_root(mean)
    assert 1 << 60 <= mean << 2 * even_headroom(mean) < 1 << 62
    real = inverse * 2.0 ** (shift - 61) * mean**0.5
    assert abs(real - 1) < 2e-9
    assert inverse <= 1 << 31
