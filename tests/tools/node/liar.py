"""A validator with two faces: it tells half of the committee one thing and the other half another."""

from dataclasses import dataclass, field, replace

from chain.types.block import Block
from chain.types.statement import NOTHING, Kind, Statement
from consensus.messages import Proposal, Vote, decode_message, encode_message
from consensus.simplex.leader import leader_of
from p2p.network import MAX_CONSENSUS_FRAME, Lane, Network
from tests.tools.node.cluster import Cluster, consensus_key, peer_of

FAKE = b"\xfa" * 32


@dataclass
class Liar:
    """Speaks with the consensus key of validator ``index``, whose own node must not vote.

    ``kinds`` are the two things that it signs in a view: the first for node 0, the second for all others. Of
    two proposals the first slips through to node 1 as well: proposals that nobody notarizes are passed on by
    nobody, so without that no node would ever hold both.
    """

    cluster: Cluster
    index: int
    kinds: tuple[Kind, Kind]
    lied_at: list[int] = field(default_factory=list)
    """Height of node 0 at each lie."""

    async def run(self) -> None:
        network = self.cluster.hub.join(peer_of(100 + self.index))
        async for frame in network.inbound:
            if frame.lane is Lane.CONSENSUS:
                message = decode_message(frame.payload, limit=MAX_CONSENSUS_FRAME)
                if isinstance(message, Proposal):
                    self._lie(network, message)

    def _lie(self, network: Network, seen: Proposal) -> None:
        if Kind.PROPOSE not in self.kinds:
            honest = seen.block.digest
            view = seen.view
            faces = [self._vote(kind, seen.epoch, view, honest) for kind in self.kinds]
            if self.kinds[0] is self.kinds[1]:
                faces[0] = self._vote(self.kinds[0], seen.epoch, view, FAKE)
        else:
            view = seen.view + 1
            if self._leader(seen.epoch, view) != self._key.public_key:
                return
            faces = [self._proposal(seen, view, late) for late in (1, 2)]
        self.lied_at.append(self.cluster.nodes[0].head.height)
        for peer in network.peers():
            network.send(peer, Lane.CONSENSUS, encode_message(faces[peer != peer_of(0)]))
            if Kind.PROPOSE in self.kinds and peer == peer_of(1):
                network.send(peer, Lane.CONSENSUS, encode_message(faces[0]))

    @property
    def _key(self):
        return consensus_key(self.index)

    def _leader(self, epoch: int, view: int) -> bytes:
        store = self.cluster.nodes[0].store
        params = self.cluster.genesis.params
        before = store.block(epoch * params.epoch_length)
        return leader_of(store.committee(epoch), beacon=before.header.beacon, epoch=epoch, view=view)

    def _sign(self, statement: Statement) -> bytes:
        return self._key.sign(statement.signing_bytes(self.cluster.genesis.params.chain_id))

    def _vote(self, kind: Kind, epoch: int, view: int, digest: bytes) -> Vote:
        named = NOTHING if kind is Kind.NULLIFY else digest
        signature = self._sign(Statement(kind, epoch, view, named))
        return Vote(kind, epoch, view, named, self._key.public_key, signature)

    def _proposal(self, seen: Proposal, view: int, late: int) -> Proposal:
        header = replace(seen.block.header, view=view, timestamp_ms=seen.block.header.timestamp_ms + late)
        block = Block(header, seen.block.transactions)
        signature = self._sign(Statement(Kind.PROPOSE, seen.epoch, view, block.digest))
        return Proposal(seen.epoch, view, block, signature)
