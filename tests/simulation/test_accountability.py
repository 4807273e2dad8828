"""A fork has authors: what the honest heard convicts at least a third of the seats, and nobody honest.

With half of the seats lying no protocol stands, so these worlds come to certificates that exclude each other.
Two quorums share more than a third, and whoever is in both said two things that no honest validator says.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from chain.types.evidence import Evidence
from chain.types.statement import Statement
from consensus.messages import Certificate, ConsensusMessage, Hearsay
from consensus.simplex.witness import Witness
from p2p.network import PeerId
from tests.simulation.judge import CONTROL, FIRST_SEED, plan_for
from tests.simulation.node import Node
from tests.simulation.planted import swapped
from tests.simulation.play import play, simulated, world_of
from tests.simulation.watch import Violation
from tests.simulation.world import World

FORKS = 10
FORKED = ("forks at height", "has both")


class Court:
    """What the honest have heard, all of it together, by epoch."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._witnesses: dict[int, Witness] = {}
        self.evidence: dict[tuple[int, bytes], Evidence] = {}
        """By epoch and signer."""

    def hear(self, origin: PeerId, message: ConsensusMessage) -> None:
        """Note every signature in a message."""
        committee = self._world.watch.committees.get(message.epoch)
        if committee is None or isinstance(message, Hearsay):
            return  # hearsay repeats what somebody heard
        if isinstance(message, Certificate):
            keys = [validator.consensus_key for validator in committee.validators]
            for seal in message.signatures:
                self._note(keys[seal.validator], message.statement, seal.signature)
        else:
            signer = self._world.nodes[int(origin)].key.public_key
            self._note(getattr(message, "signer", signer), message.statement, message.signature)

    def _note(self, signer: bytes, statement: Statement, signature: bytes) -> None:
        found = self._witnesses.setdefault(statement.epoch, Witness()).note(signer, statement, signature)
        if found is not None:
            self.evidence[found.epoch, signer] = found


@contextmanager
def listening(court: Court) -> Iterator[None]:
    """Let the court hear whatever an honest node hears."""
    receive: Callable[..., None] = Node.receive

    def heard(node: Node, origin: PeerId, message: ConsensusMessage, digest: bytes | None) -> None:
        if node.is_honest:
            court.hear(origin, message)
        receive(node, origin, message, digest)

    with swapped((Node, "receive", heard)):
        yield


def forked(seed: int) -> tuple[World, Court] | None:
    """A world whose honest nodes hold what excludes itself, and the court that listened; None for others.

    A fork of final blocks is rarer than a node that stops because it sees both certificates before.
    """
    world = world_of(plan_for(CONTROL, seed))
    court = Court(world)
    with listening(court):
        try:
            play(world)
        except Violation as violation:
            told = str(violation)
            by_honest = any(f"ms: node {node.number} " in told for node in world.honest)
            return (world, court) if by_honest and any(word in told for word in FORKED) else None
    return None


def test_a_fork_names_a_third_of_the_seats_and_no_honest_key() -> None:
    seed, seen = FIRST_SEED, 0
    while seen < FORKS:
        assert seed < FIRST_SEED + 10 * FORKS, f"only {seen} forks in {10 * FORKS} seeds"
        found = forked(seed)
        seed += 1
        if found is None:
            continue
        world, court = found
        seen += 1
        honest = {node.key.public_key for node in world.honest}
        guilty = {signer for _, signer in court.evidence}
        assert not guilty & honest, f"seed {seed - 1} accuses the honest"
        convicted = [
            (committee.seats, sum(committee.seats_of(key) for at, key in court.evidence if at == epoch))
            for epoch, committee in world.watch.committees.items()
        ]
        assert any(3 * seats >= total for total, seats in convicted), f"seed {seed - 1}: {convicted}"
        with simulated():
            assert all(item.is_authentic(world.params.chain_id) for item in court.evidence.values())
