"""The model that the chain trains: how good it is, and its numbers."""

from chain.codec import U64
from chain.execution import queries, state_keys, training
from chain.execution.records import Point
from pouw.arithmetic.cross_entropy import NATS
from tools.rpc.commons_messages import CheckpointView, CommonsPoint, CommonsView
from tools.rpc.faults import Code, RpcFault
from tools.rpc.view import NodeView


def commons(node: NodeView) -> CommonsView:
    """How good the commons model was before its first step, is now, and became on the way."""
    state, params = node.state, node.genesis.params
    model, progress = node.models.get(node.models.commons.id), queries.progress(state)
    first, latest = _point(progress.first), tuple(map(_point, progress.latest))
    now = latest[-1] if latest else first
    return CommonsView(
        model=model.id,
        name=model.name,
        round=training.round_of(node.head.height + 1, params=params),
        round_length=params.round_length,
        steps=now.step,
        images=progress.images,
        first=first,
        now=now,
        waiting_votes=sum(1 for _ in state.keys(state_keys.proven_vote())),
        history=latest,
    )


def commons_checkpoint(node: NodeView, step: U64) -> CheckpointView:
    """The numbers of the commons model after so many steps, as long as the ledger keeps them."""
    numbers = queries.checkpoint(node.state, step)
    if numbers is None:
        raise RpcFault(
            Code.NOT_FOUND,
            f"the ledger does not hold the commons model after {step} steps, or not any more",
            next_step="it keeps those of the last rounds, as long as a proof may need them",
        )
    return CheckpointView(step, numbers)


def _point(point: Point) -> CommonsPoint:
    return CommonsPoint(point.round, point.step, point.shards, point.loss * 1000 >> NATS, point.right)
