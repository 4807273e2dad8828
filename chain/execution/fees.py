"""What a transaction weighs, what it pays, and how the base fee follows demand.

Weight is one unit a byte of the signed transaction, plus `cell_weight` for each cell that every node must
recompute. (The cell that each claim draws for itself weighs by the rows that open it, a few hundred bytes.)
The base fee moves by at most an eighth a block (EIP-1559) and by at least 1 whenever the block was off
target: rounded down alone, a step at a small fee would be 0 and the fee would stick there (⌊p · 1.02⌋ = p for
every p < 50).
"""

from typing import Final

from chain.types.params import ChainParams
from chain.types.transaction import Body, ProveWork

MAX_BASE_FEE: Final = (1 << 64) - 1
_STEP: Final = 8


def weight_of(body: Body, size: int, *, params: ChainParams) -> int:
    """Weight of a signed transaction of ``size`` bytes."""
    cells = params.samples if isinstance(body, ProveWork) else 0
    return size + params.cell_weight * cells


def next_base_fee(base_fee: int, weight_used: int, *, params: ChainParams) -> int:
    """Base fee of the block after one that had ``base_fee`` and used ``weight_used``.

    Fixed points: every fee when the block is exactly on target, and the floor when it is below.
    """
    target = params.target_block_weight
    if weight_used == target:
        return base_fee
    off = min(abs(weight_used - target), target)
    step = max(1, base_fee * off // target // _STEP)
    if weight_used > target:
        return min(base_fee + step, MAX_BASE_FEE)
    return max(base_fee - step, params.base_fee_floor)
