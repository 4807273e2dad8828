"""How large a cell is: what one draw looks at of an op's output."""

from typing import Final

from pouw.ops.attention_mix import AttentionMix
from pouw.ops.attention_shares import AttentionShares
from pouw.ops.ballot import Ballots, Majority
from pouw.ops.columns import Columns
from pouw.ops.elementwise import block_of
from pouw.ops.embedding_gradient import EmbeddingGradient
from pouw.ops.gate import Gate
from pouw.ops.gate_gradient import GateGradient
from pouw.ops.heads_product import HeadsProduct
from pouw.ops.heads_turned import HeadsTurned, ScoresTurned
from pouw.ops.kind import OpKind
from pouw.ops.linear import Linear
from pouw.ops.lion import Lion, Momentum
from pouw.ops.matmul import MatmulNT
from pouw.ops.narrowed import Narrowed
from pouw.ops.optimiser import Descend
from pouw.ops.part_products import PartProducts
from pouw.ops.part_sums import PartSums
from pouw.ops.rotary import Rotary
from pouw.ops.rotary_gradient import RotaryGradient
from pouw.ops.rounded import Rounded
from pouw.ops.stochastic_requant import StochasticRequant
from pouw.ops.total import Total
from pouw.ops.transpose import Transpose
from pouw.ops.turned_rows import TurnedRows
from pouw.ops.wide_linear import WideLinear

_BY_ELEMENT: Final = (
    AttentionMix,
    AttentionShares,
    Ballots,
    EmbeddingGradient,
    Gate,
    HeadsProduct,
    HeadsTurned,
    Linear,
    MatmulNT,
    PartProducts,
    PartSums,
    Rotary,
    RotaryGradient,
    ScoresTurned,
    Transpose,
    TurnedRows,
    WideLinear,
)

_BY_BLOCK: Final = (
    Columns,
    Descend,
    GateGradient,
    Lion,
    Majority,
    Momentum,
    Narrowed,
    Rounded,
    StochasticRequant,
    Total,
)


def by_element(kind: OpKind) -> bool:
    """Whether a cell of the op is one element."""
    return isinstance(kind, _BY_ELEMENT)


def cell_at(kind: OpKind, col: int, *, cols: int) -> range:
    """The columns that the cell of an op has in which an element lies.

    Args:
        kind: the op.
        col: of the element.
        cols: of the op's output.
    """
    if by_element(kind):
        return range(col, col + 1)
    if isinstance(kind, _BY_BLOCK):
        block = block_of(col)
        return range(block.start, min(block.stop, cols))
    return range(cols)
