"""What the RPC answers with about the model that the chain trains; the rest is in `messages`."""

from dataclasses import dataclass

from chain.codec import U16, U32, U64, Hash32
from tools.rpc.messages import Encoded


@dataclass(frozen=True, slots=True)
class CommonsPoint:
    """How good the commons model was after a step, on images that no shard shows."""

    round: U64
    """At whose end the step was taken."""
    step: U64
    shards: U64
    """Whose votes it followed."""
    loss_millinats: U64
    """Mean cross-entropy, in thousandths; a guess among ten costs 2303."""
    right: U32


@dataclass(frozen=True, slots=True)
class CommonsView:
    """The model that the chain trains."""

    model: Hash32
    name: str
    round: U64
    """That the next block belongs to."""
    round_length: U16
    """Blocks."""
    steps: U64
    """Taken so far."""
    images: U32
    """By which it is judged."""
    first: CommonsPoint
    """Before any step."""
    now: CommonsPoint
    """After the latest one."""
    waiting_votes: U32
    """Proven, and counted at the end of this round."""
    history: tuple[CommonsPoint, ...]
    """After the latest steps, oldest first."""


@dataclass(frozen=True, slots=True)
class CheckpointView:
    """The commons model in use after some steps."""

    step: U64
    numbers: Encoded
    """Weights int8 and biases int32 of each layer, raw, one after the other."""
