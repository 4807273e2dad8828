"""Timing exact work, in rounds of everything, so that what else the machine does hits all alike."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median
from typing import Final

from pouw.backends.backend import Backend
from pouw.hashing import HASH_BYTES
from pouw.models.llama import LlamaShape
from pouw.ops.linear import Linear
from pouw.proofs.commitment import CommitBuilder
from pouw.trace import run_program
from tools.bench.layer import layer_input, layer_program, layer_shape

_HELD_BYTES: Final = 8 << 30
_PEAK_SIDE: Final = {"cpu": 2048, "cuda": 8192}


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure of some rounds."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: list[float]) -> "Spread":
        """From a figure per round."""
        return cls(median(values), min(values), max(values))

    def text(self, places: int = 2) -> str:
        """For people."""
        return f"{self.median:.{places}f} ({self.least:.{places}f}..{self.most:.{places}f})"


@dataclass(frozen=True, slots=True)
class Case:
    """One layer, measured.

    Args:
        width: of the layer.
        tokens: read at once.
        units: work units of the program.
        seconds: of each way, the fastest round.
        units_per_second: with commitments.
        commit_share: how much of the time of committed work goes without commitments; below 0 where chance is
            larger than that.
        ratios: committed work by each other way, within a round.
        product_share: how much of the rate of plain int8 products the run's own products reach.
    """

    width: int
    tokens: int
    units: int
    seconds: dict[str, float]
    units_per_second: Spread
    commit_share: Spread
    ratios: dict[str, Spread]
    product_share: Spread


def rounds(
    backend: Backend, device: str, *, width: int, tokens: int, repeats: int, threads: int | None
) -> Iterator[Case | int]:
    """Measure one size.

    Args:
        backend: what computes.
        device: as torch calls it, for what it is compared with.
        width: of the layer, a multiple of 32.
        tokens: read at once.
        repeats: rounds, at least 1; one more before them is not counted.
        threads: of the host; None for all.

    Yields:
        The number of each round that is done, and last the result.
    """
    shape = layer_shape(width, tokens)
    program, weights = layer_program(shape)
    inputs = layer_input(shape)

    # Both wait for the answer: a device is done when that is here.
    def plain() -> None:
        assert len(run_program(program, weights, inputs, backend).answer)

    def committed() -> None:
        builder = CommitBuilder(b"bench", b"miner", held_bytes=_HELD_BYTES)
        assert len(builder.work(bytes(HASH_BYTES), program, weights, inputs, backend).answer)
        assert builder.root

    others, peak = _others(device, shape, threads)
    ways = {"plain": plain, "committed": committed, **others}
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(repeats + 1):
        for name, way in ways.items():
            seconds = _timed(way)
            if number:
                spent[name].append(seconds)
        yield number
    whole = spent["committed"]
    multiplied = (s for s in (*program.steps, *program.inlines) if isinstance(s.op.kind, Linear))
    products = sum(step.cost * step.output.spec.rows for step in multiplied)
    rates = zip(spent["plain"], spent["products"], strict=True)
    yield Case(
        width=width,
        tokens=tokens,
        units=program.units,
        seconds={name: min(values) for name, values in spent.items()},
        units_per_second=Spread.of([program.units / seconds for seconds in whole]),
        commit_share=Spread.of([1 - a / b for a, b in zip(spent["plain"], whole, strict=True)]),
        ratios={
            name: Spread.of([a / b for a, b in zip(whole, spent[name], strict=True)])
            for name in ("float32", "bf16", "plain")
        },
        product_share=Spread.of([products / run * product / peak for run, product in rates]),
    )


def _others(
    device: str, shape: LlamaShape, threads: int | None
) -> tuple[dict[str, Callable[[], object]], int]:
    """What exact work is compared with, and how much the plain products multiply."""
    # torch is met here and not before: a command that is only asked for help has no second to spare.
    from pouw.backends.baseline import FloatLayer, Int8Product

    sizes = (shape.width, shape.hidden, shape.head_dim, shape.positions)
    products = Int8Product(_PEAK_SIDE[device.partition(":")[0]], device=device, threads=threads)
    return {
        "float32": FloatLayer(*sizes, kind="float32", device=device, threads=threads),
        "bf16": FloatLayer(*sizes, kind="bf16", device=device, threads=threads),
        "products": products,
    }, products.macs


def _timed(way: Callable[[], object]) -> float:
    before = time.perf_counter()
    way()
    return time.perf_counter() - before
