"""How large a cell is: what one draw looks at of an op's output."""

from typing import Final

from pouw.ops.attention_mix import AttentionMix
from pouw.ops.gate import Gate
from pouw.ops.kind import OpKind
from pouw.ops.linear import Linear
from pouw.ops.matmul import MatmulNT
from pouw.ops.rotary import Rotary
from pouw.ops.transpose import Transpose

_BY_ELEMENT: Final = (AttentionMix, Gate, Linear, MatmulNT, Rotary, Transpose)


def by_element(kind: OpKind) -> bool:
    """Whether a cell of the op is one element; that of any other op is a row."""
    return isinstance(kind, _BY_ELEMENT)
