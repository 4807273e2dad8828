"""Text as bytes: the tokenizer of models that have none of their own."""

import numpy as np
from numpy.typing import NDArray

from pouw.tensors import index_dtype

VOCABULARY = 256
"""One token per byte of UTF-8."""


def encode(text: str) -> NDArray[np.signedinteger]:
    """The tokens of a text, [n]."""
    data = np.frombuffer(text.encode(), np.uint8)
    tokens: NDArray[np.signedinteger] = data.astype(index_dtype(VOCABULARY).numpy)
    return tokens


def decode(tokens: NDArray[np.signedinteger]) -> str:
    """The text of some tokens; what is no UTF-8, as the end of a cut text may be, becomes U+FFFD."""
    return bytes(int(token) & 255 for token in tokens.reshape(-1)).decode(errors="replace")
