"""The ways of traitors. Each is an honest node but for what it overrides, and only while it may betray."""

from dataclasses import replace
from typing import TYPE_CHECKING

from chain.hashing import digest
from chain.types.block import Block
from chain.types.statement import NOTHING, Kind, Statement
from chain.types.transaction import CommitWork, ProveWork, SignedTransaction
from consensus.ledger import BuildRequest
from consensus.messages import Certificate, ConsensusMessage, Proposal, Seal, Vote
from consensus.simplex import effects
from consensus.sync.requests import BlocksRequest, BlocksResponse
from tests.consensus.batches import make_batch
from tests.simulation.forging import (
    beacon_proof,
    forged_certificate,
    other_proposal,
    proposed,
    signed_vote,
)
from tests.simulation.keys import TagKey
from tests.simulation.questions import Answer, honest_fetch

if TYPE_CHECKING:
    from tests.simulation.node import Node


class Habit:
    """What a traitor does differently; as it stands, nothing."""

    def on_boot(self, node: "Node") -> None:
        """Before anything of a new life begins."""

    def broadcast(self, node: "Node", message: ConsensusMessage) -> None:
        node.world.broadcast(node, message)

    def send(self, node: "Node", to: int, message: ConsensusMessage) -> None:
        node.world.send(node, to, message)

    def make(self, node: "Node", request: BuildRequest) -> Block | None:
        return node.ledger.make(request)

    def answer_fetch(self, node: "Node", wanted: effects.Fetch) -> Answer:
        return honest_fetch(node, wanted)

    def answer_status(self, node: "Node") -> int:
        return node.height

    def answer_blocks(self, node: "Node", request: BlocksRequest) -> BlocksResponse | None:
        return make_batch(node.ledger, request)


class TwoFaced(Habit):
    """Two unmodified nodes with one key; the world decides who hears which of them."""


class Silent(Habit):
    """Listens and says nothing."""

    def broadcast(self, node: "Node", message: ConsensusMessage) -> None:
        node.world.faults["message withheld"] += 1

    def send(self, node: "Node", to: int, message: ConsensusMessage) -> None:
        node.world.faults["message withheld"] += 1


class Late(Habit):
    """Says everything, seconds after it would have helped."""

    def broadcast(self, node: "Node", message: ConsensusMessage) -> None:
        node.world.faults["message delayed"] += 1
        delay = node.world.rng.randrange(500, 5000)
        node.world.later(delay, node, lambda: node.world.broadcast(node, message))


class Withholding(Habit):
    """Says each thing to some only, and some things to nobody: proposals to a few, certificates never."""

    def broadcast(self, node: "Node", message: ConsensusMessage) -> None:
        world = node.world
        if isinstance(message, Certificate) or world.rng.random() < 0.2:
            world.faults["message withheld"] += 1
            return
        share = world.rng.random()
        for receiver in world.nodes:
            if receiver is not node and world.rng.random() < share:
                world.send(node, receiver.number, message)


class Equivocating(Habit):
    """Signs two things where it may sign one, and tells each half of the others another.

    Every third view it whispers: see `Whispering`.
    """

    def __init__(self) -> None:
        self._whispering = Whispering()

    def broadcast(self, node: "Node", message: ConsensusMessage) -> None:
        if message.view % 3 == 2:
            self._whispering.broadcast(node, message)
            return
        other = self._other(node, message)
        if other is None:
            node.world.broadcast(node, message)
            return
        node.world.faults["equivocation"] += 1
        both = node.world.rng.random() < 0.1
        for receiver in node.world.nodes:
            if receiver is node:
                continue
            first = node.world.rng.random() < 0.5
            for said in (message, other) if both else (message,) if first else (other,):
                node.world.send(node, receiver.number, said)

    def _other(self, node: "Node", message: ConsensusMessage) -> ConsensusMessage | None:
        if isinstance(message, Proposal):
            return other_proposal(node, message)
        if isinstance(message, Vote):
            return signed_vote(node, self._other_statement(node, message))
        return None

    def _other_statement(self, node: "Node", vote: Vote) -> Statement:
        other = [block for block in proposed(node, vote.view) if block != vote.digest]
        if vote.kind is Kind.NOTARIZE and other:
            return Statement(Kind.NOTARIZE, vote.epoch, vote.view, other[0])
        if vote.kind is Kind.FINALIZE:
            return Statement(Kind.NULLIFY, vote.epoch, vote.view, NOTHING)
        named = proposed(node, vote.view)
        if vote.kind is Kind.NULLIFY and named:
            return Statement(Kind.FINALIZE, vote.epoch, vote.view, named[0])
        return Statement(Kind.NULLIFY, vote.epoch, vote.view, NOTHING)


class Whispering(Habit):
    """Tells everybody something else, and nobody so much that it could be caught by one of them alone.

    As the leader it makes two blocks and shows each to every other node; it votes for blocks that are none,
    another one to each of two nodes; and it passes on nothing, so that none of its seals gets around.
    """

    def broadcast(self, node: "Node", message: ConsensusMessage) -> None:
        others = [other for other in node.world.nodes if other is not node]
        if isinstance(message, Proposal):
            second = other_proposal(node, message)
            if second is None:
                return
            for receiver in others:
                node.world.send(node, receiver.number, (message, second)[receiver.number % 2])
            told = others[:2]
        elif isinstance(message, Vote):
            told = node.world.rng.sample(others, 2)
            for receiver in told:
                fake = digest("simulation/whisper", receiver.number.to_bytes(8, "big"))
                statement = Statement(Kind.NOTARIZE, message.epoch, message.view, fake)
                node.world.send(node, receiver.number, signed_vote(node, statement))
        else:
            node.world.faults["message withheld"] += 1
            return
        node.world.faults["whisper"] += 1
        node.world.watch.told_apart(node, told)

    def send(self, node: "Node", to: int, message: ConsensusMessage) -> None:
        node.world.faults["message withheld"] += 1


class Amnesiac(Habit):
    """Forgets what it signed whenever it starts in an epoch in which it may betray, and starts often."""

    def on_boot(self, node: "Node") -> None:
        self._start_again(node)
        if not node.world.watch.is_corrupt(node.seat, node.ledger.params.epoch_of(node.height + 1)):
            return
        node.disk.data = None
        for database in node.ledger.databases:
            database.cut = None
        node.ledger.journal.save([(key, None) for key, _ in list(node.ledger.journal.load())])
        node.world.faults["amnesia"] += 1

    def _start_again(self, node: "Node") -> None:
        node.world.later(node.world.rng.randrange(3000, 12_000), node, lambda: self._restart(node))

    def _restart(self, node: "Node") -> None:
        if node.is_corrupt:
            node.die(None)
            node.boot()
        else:
            self._start_again(node)


class LyingSync(Habit):
    """Claims heights that nobody has, and answers questions with what was not asked for."""

    def answer_status(self, node: "Node") -> int:
        return node.height + node.world.rng.choice([0, 3, 1 << 40])

    def answer_blocks(self, node: "Node", request: BlocksRequest) -> BlocksResponse | None:
        world = node.world
        world.faults["sync lie"] += 1
        batch = make_batch(node.ledger, request)
        if batch is None or world.rng.random() < 0.2:
            return None
        block = batch.blocks[-1]
        lie = world.rng.randrange(6)
        if lie == 0:
            forged = Block(
                replace(block.header, timestamp_ms=block.header.timestamp_ms + 1), block.transactions
            )
            certificate = forged_certificate(node, batch.certificate, forged.digest)
            return BlocksResponse((*batch.blocks[:-1], forged), (), certificate)
        if lie == 1 and len(batch.blocks) > 1:
            return replace(batch, blocks=batch.blocks[1:])
        if lie == 2:
            return replace(
                batch, certificate=replace(batch.certificate, signatures=batch.certificate.signatures[:1])
            )
        if lie == 3:
            other = replace(batch.certificate, epoch=batch.certificate.epoch + 1)
            return replace(batch, certificate=other)
        if lie == 4:
            return replace(batch, blocks=())
        return batch

    def answer_fetch(self, node: "Node", wanted: effects.Fetch) -> Answer:
        node.world.faults["sync lie"] += 1
        head = node.ledger.final_block(node.height)
        if node.world.rng.random() < 0.5 or head is None or node.height == 0:
            return Answer((), ())
        return Answer(((head.digest, head),), ())


class WrongCommittee(Habit):
    """Forges: certificates of few or repeated seals, of other views or epochs, votes without a seat."""

    def broadcast(self, node: "Node", message: ConsensusMessage) -> None:
        node.world.broadcast(node, message)
        if node.world.rng.random() < 0.3:
            forged = self._forge(node, message)
            if forged is not None:
                node.world.faults["forgery"] += 1
                node.world.broadcast(node, forged)

    def _forge(self, node: "Node", message: ConsensusMessage) -> ConsensusMessage | None:
        rng = node.world.rng
        if isinstance(message, Vote):
            if rng.random() < 0.3:
                return replace(message, view=message.view + 1)
            statement = message.statement
            if rng.random() < 0.5:
                return signed_vote(node, statement, key=TagKey("nobody", 99))
            if rng.random() < 0.5:
                return forged_certificate(node, None, statement.digest, statement=statement)
            # One true seal, as often as it takes.
            index = node.simplex.committee.index_of(node.key.public_key)
            seals = (Seal(index or 0, message.signature),) * node.simplex.committee.seats
            return Certificate(statement.kind, statement.epoch, statement.view, statement.digest, seals)
        if isinstance(message, Certificate):
            draw = rng.random()
            if draw < 0.4:
                # A true certificate under the name of a view that it says nothing of.
                return replace(message, view=message.view + rng.choice([1, 1, 2]))
            if draw < 0.6:
                return replace(message, epoch=message.epoch + 1, view=rng.randrange(3))
            if draw < 0.8 and message.kind is Kind.NOTARIZE:
                return replace(message, kind=Kind.FINALIZE)
            seals = message.signatures[:1] * (len(message.signatures) + 1)
            return replace(message, signatures=seals, view=message.view + 1)
        return None


class Stale(Habit):
    """Speaks of the past: old votes, certificates and proposals that were all true once, and old parents."""

    def __init__(self) -> None:
        self._heard: list[ConsensusMessage] = []

    def broadcast(self, node: "Node", message: ConsensusMessage) -> None:
        self._heard = [*self._heard[-200:], message]
        node.world.broadcast(node, message)
        if node.world.rng.random() < 0.3:
            node.world.faults["stale message"] += 1
            node.world.broadcast(node, node.world.rng.choice(self._heard))

    def make(self, node: "Node", request: BuildRequest) -> Block | None:
        head = node.ledger.final_head
        if node.world.rng.random() < 0.5 and head.epoch == request.epoch and head.digest != request.parent:
            request = replace(
                request, parent=head.digest, timestamp_ms=max(request.timestamp_ms, head.timestamp_ms + 1),
                vrf_proof=beacon_proof(node, head, request.view),
            )  # fmt: skip
        return node.ledger.make(request)


class InvalidBlocks(Habit):
    """Proposes what breaks a rule, and has it signed properly."""

    def make(self, node: "Node", request: BuildRequest) -> Block | None:
        rng, block = node.world.rng, node.ledger.make(request)
        if rng.random() < 0.4:
            return block
        node.world.faults["invalid block"] += 1
        if node.worker is not None and rng.random() < 0.4:
            return self._with_bad_transactions(node, request)
        parent = node.ledger.block(request.parent)
        if node.worker is not None and parent is not None and rng.random() < 0.3:
            # The beacon of the block before, once more.
            return node.ledger.make(replace(request, vrf_proof=parent.header.vrf_proof))
        header = block.header
        changes: list[dict[str, object]] = [
            {"state_root": rng.randbytes(32)}, {"receipts_root": rng.randbytes(32)},
            {"next_committee_root": rng.randbytes(32)}, {"base_fee": header.base_fee + 1},
            {"timestamp_ms": 0}, {"height": header.height + 1}, {"transactions_root": rng.randbytes(32)},
            {"proposer": node.world.honest[0].key.public_key}, {"chain_id": "another"}, {"version": 2},
            {"parent": rng.randbytes(32)}, {"epoch": header.epoch + 1},
        ]  # fmt: skip
        return Block(replace(header, **rng.choice(changes)), block.transactions)  # type: ignore[arg-type]

    def _with_bad_transactions(self, node: "Node", request: BuildRequest) -> Block:
        """Old ones again, and ones that nobody signed: the ledger's own maker must leave them out."""
        old = node.ledger.final_block(node.world.rng.randint(max(0, node.height - 20), node.height))
        again = () if old is None else old.transactions

        def choose(honest: list[SignedTransaction]) -> list[SignedTransaction]:
            unsigned = [replace(signed, signature=bytes(64)) for signed in honest]
            return [*again, *unsigned, *honest]

        return node.ledger.make_of(request, choose)


class JunkAncestry(Habit):
    """Proposes on blocks of its own that nobody certified, and has every one of them for whoever asks."""

    def __init__(self) -> None:
        self._made: dict[bytes, Block] = {}

    def make(self, node: "Node", request: BuildRequest) -> Block | None:
        node.world.faults["junk ancestry"] += 1
        block, parent = node.ledger.make(request), node.world.rng.randbytes(32)
        for _ in range(50):
            junk = Block(replace(block.header, parent=parent, height=1 << 63), block.transactions)
            parent = junk.digest
            self._made[parent] = junk
        # The highest that its header may claim: one just above the final block shows at once that it is none.
        height = node.ledger.params.last_height(request.epoch)
        return Block(replace(block.header, parent=parent, height=height), block.transactions)

    def answer_fetch(self, node: "Node", wanted: effects.Fetch) -> Answer:
        made = tuple((digest, self._made[digest]) for digest in wanted.digests if digest in self._made)
        return Answer(made, ()) if made else honest_fetch(node, wanted)


class BeaconWithholding(Habit):
    """Makes its block only if it likes the randomness that comes with it."""

    def make(self, node: "Node", request: BuildRequest) -> Block | None:
        if request.vrf_proof[0] & 1:
            node.world.faults["beacon withheld"] += 1
            return None
        return node.ledger.make(request)


class ProofCensoring(Habit):
    """Leaves out the commits and proofs of everybody else."""

    def make(self, node: "Node", request: BuildRequest) -> Block | None:
        def choose(honest: list[SignedTransaction]) -> list[SignedTransaction]:
            kept = [
                signed for signed in honest if not isinstance(signed.transaction.body, ProveWork | CommitWork)
            ]
            node.world.faults["proof censored"] += len(honest) - len(kept)
            return kept

        return node.ledger.make_of(request, choose)


HABITS: dict[str, type[Habit]] = {
    "two_faced": TwoFaced,
    "silent": Silent,
    "late": Late,
    "withholding": Withholding,
    "equivocating": Equivocating,
    "whispering": Whispering,
    "amnesiac": Amnesiac,
    "lying_sync": LyingSync,
    "wrong_committee": WrongCommittee,
    "stale": Stale,
    "invalid_block": InvalidBlocks,
    "junk_ancestry": JunkAncestry,
    "beacon_withholding": BeaconWithholding,
    "proof_censoring": ProofCensoring,
    "invalid_work": Habit,
    "stolen_work": Habit,
    "replayed_work": Habit,
}
"""Every way. Those about work cheat in `tests.simulation.cheats`."""


def habit_of(name: str) -> Habit:
    return HABITS[name]()
