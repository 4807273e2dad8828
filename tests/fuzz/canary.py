"""A bug planted in every decoder: a fuzzer that does not find it looks at nothing.

The bug: the decoder trips over some input that it should accept, though no seed is that input. So it is found
only by a fuzzer that changes its seeds and gets past every check of the decoder with the result. What carries
a checksum, or is a proof, cannot be got past; its canary sits right behind the checks of form.
"""

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tests.fuzz.target import Target
from tests.fuzz.targets import TARGETS

_BEHIND_FORM: dict[str, Callable[[bytes], bool]] = {
    "address": lambda data: data.startswith(b"hrt1") and len(data) == 62,
    "checked-work": TARGETS["work-proof"].accepts,
    "checked-state": TARGETS["state-proof"].accepts,
    "checked-pieces": TARGETS["pieces-response"].accepts,
    "checked-chain": TARGETS["chain-proof"].accepts,
}


class Canary(Exception):  # noqa: N818 - it is the thing to be found
    """The planted bug was hit."""


def canary(name: str) -> Target:
    """A target with a planted bug."""
    target = TARGETS[name]
    seeds = target.seeds(random.Random(0))
    known = frozenset(seeds)
    reached = _BEHIND_FORM.get(name, target.accepts)

    def read(data: bytes) -> Any:
        if data not in known and reached(data):
            raise Canary(f"{name} was taken past its checks with {data[:64].hex()}")
        return target.read(data)

    return replace(target, read=read, seeds=lambda _: seeds)
