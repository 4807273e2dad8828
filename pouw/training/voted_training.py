"""A model that votes move: where it starts, and what one sum of votes makes of it.

    agreement = votes summed, each as often as it has shards, over all shards      -1..1, scale 14
    leaning'  = leaning + (agreement - leaning) / 2^memory
    master'   = master - size of the step, where (3 leaning + agreement) / 4 is clearly not 0, by its sign

So every number moves by the same small step or stays, as in signSGD with majority vote (Bernstein et al.,
2018), with the blend and the memory of Lion (Chen et al., 2023). Sums do not care about order; votes may be a
round or two older than the model they move. All of it is integers, a few thousand additions a round: every
node computes it for itself, and nothing needs to be proven.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pouw.arithmetic.cross_entropy import LOGIT, loss_gradient, row_losses
from pouw.hashing import domain, framed, keyed, u32, u64
from pouw.models.mlp import bias_name, weight_name
from pouw.tensors import Array
from pouw.training.mlp_training import (
    ACTIVATION,
    BIAS_LIMIT,
    MASTER,
    WEIGHT,
    WEIGHT_LIMIT,
    MlpTraining,
    constants,
    master_bias_name,
    master_weight_name,
    start_training,
)
from pouw.training.vote_program import in_use_specs
from pouw.training.votes import VoteShape
from pouw.weights import Weights

AGREEMENT: Final = 14
"""Scale of agreement and leaning: both fit int16."""

CLEAR: Final = 1 << (AGREEMENT - 6)
"""A leaning below a 64th moves nothing: what nobody votes on any more must come to rest."""

_MODEL: Final = domain("voted training")


@dataclass(frozen=True)
class VotedTraining:
    """All that is fixed for the whole life of a model that votes move.

    Args:
        training: network and shards; its rates are not used.
        seed: of the first weights.
        step_size: what a number moves in one update, at scale 20.
        slower: updates from which on it is half as much, each.
        memory: a leaning forgets 2^-memory of itself in each update.
    """

    training: MlpTraining
    seed: bytes
    step_size: int
    slower: tuple[int, ...]
    memory: int

    @property
    def digest(self) -> bytes:
        """32 bytes that bind all of it: the model's name on a chain, whatever it learns."""
        training = self.training
        return keyed(
            _MODEL,
            framed(
                training.name.encode(),
                b"".join(map(u32, training.widths)),
                u32(training.batch) + u32(self.step_size) + u32(self.memory),
                b"".join(map(u64, self.slower)),
                self.seed,
            ),
        )

    @cached_property
    def shape(self) -> VoteShape:
        """The layout of votes, masters and leanings."""
        return VoteShape(self.training.widths)

    def start(self) -> "Learned":
        """The model before the first update."""
        first = start_training(self.training, self.seed).weights
        masters = np.zeros((self.shape.rows, self.shape.cols), np.int32)
        for layer, rows, inputs in self._layers():
            masters[rows, :inputs] = first.array(master_weight_name(layer))
            masters[rows, inputs] = first.array(master_bias_name(layer))[:, 0]
        return Learned(masters, np.zeros_like(masters, np.int16))

    def updated(self, learned: "Learned", votes: Array, *, shards: int, step: int) -> "Learned":
        """The model after an update.

        Args:
            learned: before.
            votes: int64 [rows, cols]: the sum of all votes, each as often as it has shards.
            shards: of all votes together, at least 1.
            step: updates so far.
        """
        assert shards >= 1, "nobody voted"
        agreement = (votes.astype(np.int64) << AGREEMENT) // shards
        before = learned.leaning.astype(np.int64)
        blend = 3 * before + agreement >> 2
        moves = np.where(np.abs(blend) >= CLEAR, np.sign(blend), 0)
        size = self.step_size >> sum(step >= slower for slower in self.slower)
        masters = learned.masters - moves * size
        for _, rows, inputs in self._layers():
            np.clip(masters[rows, :inputs], -WEIGHT_LIMIT, WEIGHT_LIMIT, out=masters[rows, :inputs])
            np.clip(masters[rows, inputs], -BIAS_LIMIT, BIAS_LIMIT, out=masters[rows, inputs])
        leaning = before + (agreement - before >> self.memory)
        return Learned(masters.astype(np.int32), leaning.astype(np.int16))

    def in_use(self, learned: "Learned") -> bytes:
        """The tensors that a forward pass reads, one after the other, in the order of `in_use_specs`."""
        parts = []
        for _, rows, inputs in self._layers():
            weights = _shifted(learned.masters[rows, :inputs], MASTER - WEIGHT)
            parts.append(np.clip(weights, -127, 127).astype(np.int8).tobytes())
            parts.append(_shifted(learned.masters[rows, inputs], MASTER - LOGIT).astype("<i4").tobytes())
        return b"".join(parts)

    def weights(self, raw: bytes) -> Weights:
        """Tensors from the bytes of `in_use`, ready to work with.

        Raises:
            ValueError: The bytes are not as many.
        """
        return Weights({**self.arrays(raw), **constants(self.training)})

    def arrays(self, raw: bytes) -> dict[str, Array]:
        """Tensors by name from the bytes of `in_use`.

        Raises:
            ValueError: The bytes are not as many.
        """
        specs = in_use_specs(self.training)
        expected = sum(spec.rows * spec.row_bytes for _, spec, _ in specs)
        if len(raw) != expected:
            raise ValueError(f"{len(raw)} bytes, the model in use takes {expected}")
        arrays: dict[str, Array] = {}
        start = 0
        for name, spec, _ in specs:
            values = np.frombuffer(raw, spec.dtype.numpy, count=spec.rows * spec.cols, offset=start)
            arrays[name] = values.reshape(spec.rows, spec.cols)
            start += arrays[name].nbytes
        return arrays

    def roots(self, raw: bytes) -> tuple[bytes, ...]:
        """Roots of the tensors in use, in the order of `in_use_specs`."""
        weights = Weights(self.arrays(raw))
        return tuple(weights.tree(name).root for name, _, _ in in_use_specs(self.training))

    def _layers(self) -> list[tuple[int, slice, int]]:
        """Number, rows in a vote, and inputs of each layer."""
        found, start = [], 0
        for layer, units in enumerate(self.shape.units):
            found.append((layer, slice(start, start + units), self.training.widths[layer]))
            start += units
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Learned:
    """What a model has learned.

    Args:
        masters: int32 [rows, cols], in the layout of votes, at scale 20.
        leaning: int16 [rows, cols], where votes pointed of late, at scale AGREEMENT.
    """

    masters: Array
    leaning: Array


@dataclass(frozen=True, slots=True)
class Judgement:
    """How good a model is on images that no shard shows.

    Args:
        loss: mean cross-entropy, nats at scale 16.
        right: images whose greatest logit is the label's.
        images: how many there were.
    """

    loss: int
    right: int
    images: int


def judge(
    training: MlpTraining, arrays: Mapping[str, Array], images: NDArray[np.int8], labels: NDArray[np.int8]
) -> Judgement:
    """Judge a model, in integers: the same on every machine.

    Args:
        training: its network.
        arrays: from `VotedTraining.arrays`.
        images: int8 [n, pixels].
        labels: int8 [n].
    """
    values = images.astype(np.int32)
    for layer in range(training.layers):
        sums = values @ arrays[weight_name(layer)].astype(np.int32).T + arrays[bias_name(layer)].T
        values = (
            sums if layer == training.layers - 1 else ACTIVATION.apply(sums.astype(np.int64)).astype(np.int32)
        )
    losses = row_losses(loss_gradient(values, labels, scale=LOGIT), labels)
    right = int((values.argmax(axis=1) == labels).sum())
    return Judgement(int(losses.sum()) // len(labels), right, len(labels))


def _shifted(values: Array, bits: int) -> NDArray[np.int64]:
    """Times 2^-bits, rounded half up."""
    return values.astype(np.int64) + (1 << bits >> 1) >> bits
