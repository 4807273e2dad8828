"""Who contradicted itself: consensus keys convicted of equivocation."""

from typing import Final

from chain.execution import queries
from chain.execution.records import Conviction
from chain.types.transaction import ReportEquivocation
from tools.rpc.messages import ConvictionView
from tools.rpc.view import NodeView

SHOWN: Final = 256


def evidence(node: NodeView) -> tuple[ConvictionView, ...]:
    """The latest convictions of consensus keys that contradicted themselves, newest first."""
    found = sorted(queries.convictions(node.state), key=lambda item: (-item[1].height, item[0]))
    return tuple(_view(node, key, conviction) for key, conviction in found[:SHOWN])


def _view(node: NodeView, key: bytes, conviction: Conviction) -> ConvictionView:
    first, second = _statements(node, conviction.report)
    return ConvictionView(
        consensus_key=key,
        miner=conviction.miner or None,
        height=conviction.height,
        epoch=conviction.epoch,
        view=conviction.view,
        first=first,
        second=second,
        report=conviction.report,
        burned=conviction.burned,
        seats=node.status().committee.seats_of(key),
    )


def _statements(node: NodeView, report: bytes) -> tuple[str, str]:
    """What the report's statements say; empty where this node no longer has the block."""
    place = node.store.find_transaction(report)
    block = None if place is None else node.store.block(place[0])
    if place is None or block is None:
        return "", ""
    body = block.transactions[place[1]].transaction.body
    assert isinstance(body, ReportEquivocation), "the conviction names another transaction"
    return str(body.evidence.first), str(body.evidence.second)
