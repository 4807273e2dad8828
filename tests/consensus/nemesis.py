"""Trouble, drawn from the world's seed: what may happen to networks and machines, and its end."""

from chain.types.params import ChainParams
from chain.types.statement import Kind
from consensus.messages import Certificate, ConsensusMessage, Proposal, Vote
from consensus.signing_guard import GuardReason
from tests.consensus.fakes import params
from tests.consensus.node import Node
from tests.consensus.world import Violation, Wire, World

HEAL_MS = 60_000
END_MS = 140_000
PROGRESS = 5
"""Heights that every honest node must gain between the two."""


class Nemesis:
    """Partitions, filters, crashes and power cuts until ``heal``."""

    def __init__(self, world: World, *, heal: int = HEAL_MS, strikes: int = 16) -> None:
        self.world, self.heal = world, heal
        for _ in range(strikes):
            world.at(world.rng.randrange(heal), self.strike)
        if len(world.nodes) > len(world.honest):
            for when in range(0, 3 * heal, 700):
                world.at(when, self.turn_faces)
        world.at(heal, self.end)

    def turn_faces(self) -> None:
        world = self.world
        world.faces = [world.rng.randrange(2) for _ in world.faces]

    def strike(self) -> None:
        world, rng = self.world, self.world.rng
        draw = rng.random()
        if draw < 0.25:
            self.cut()
        elif draw < 0.35:
            # A storm: another partition every second, for a while.
            for second in range(rng.randrange(2, 8)):
                world.at(world.now + 1000 * second, self.cut)
        elif draw < 0.45:
            world.groups, world.drops = None, None
        elif draw < 0.6:
            self.filter()
        elif draw < 0.75:
            rng.choice(world.nodes).disk.cut = rng.randrange(1001)
        elif draw < 0.92:
            self.crash(rng.choice(world.nodes))
        else:
            for node in world.nodes:
                if rng.random() < 0.3:
                    node.disk.cut = rng.randrange(1001)
                else:
                    self.crash(node)

    def cut(self) -> None:
        if self.world.now < self.heal:
            self.world.groups = [self.world.rng.randrange(2) for _ in self.world.faces]

    def filter(self) -> None:
        """Lose one kind of message to or from some nodes for a while: what plain loss hardly ever does."""
        world, rng = self.world, self.world.rng
        kinds = [Kind.NOTARIZE, Kind.NULLIFY, Kind.FINALIZE]
        what, kind = rng.choice([Vote, Certificate, Certificate, Proposal]), rng.choice(kinds)
        chosen = [rng.random() < 0.6 for _ in world.nodes]
        is_sender = rng.random() < 0.5

        def drops(sender: Node, receiver: Node, message: ConsensusMessage) -> bool:
            if not isinstance(message, what) or not chosen[sender.number if is_sender else receiver.number]:
                return False
            return isinstance(message, Proposal) or message.kind is kind

        def stop() -> None:
            if world.drops is drops:
                world.drops = None

        world.drops = drops
        world.at(world.now + rng.randrange(1000, 8000), stop)

    def crash(self, node: Node) -> None:
        if node.is_up:
            self.world.crashed(node)

    def end(self) -> None:
        world = self.world
        world.groups, world.drops, world.wire = None, None, Wire()
        for node in world.nodes:
            node.disk.cut = None


def random_wire(world: World) -> Wire:
    """Anything from a good network to a dreadful one."""
    rng = world.rng
    return Wire(
        least_ms=5, most_ms=rng.choice([100, 300, 1500]), loss=rng.choice([0, 0, 100, 300]),
        repeat=rng.choice([0, 50]), slow=rng.choice([0, 100]),
    )  # fmt: skip


def play(world: World) -> World:
    """Let the nemesis loose, heal, and check what must hold at the end.

    Raises:
        Violation: With the seed, and what went wrong.
    """
    world.wire = random_wire(world)
    world.start()
    Nemesis(world)
    world.run(HEAL_MS)
    reached = max(world.heights(), default=0)
    world.run(END_MS)
    if min(world.heights()) < reached + PROGRESS:
        places = [(n.simplex.epoch, n.simplex.view, n.is_up) for n in world.honest]
        raise Violation(f"seed {world.seed}: stall, {reached} at heal, now {world.heights()}, at {places}")
    guilty = {node.key.public_key for node in world.nodes if not node.is_honest}
    for number, evidence in world.accusations:
        if evidence.signer not in guilty:
            raise Violation(f"seed {world.seed}: node {number} accuses an honest validator: {evidence}")
    for number, origin, reason in world.reports:
        if world.nodes[origin].is_honest:
            raise Violation(f"seed {world.seed}: node {number} reports honest node {origin}: {reason}")
    for number, error in world.refusals:
        if error.reason is GuardReason.CONFLICT and world.nodes[number].is_honest:
            raise Violation(f"seed {world.seed}: node {number} asked its guard for a contradiction: {error}")
    return world


def world_of(seed: int, count: int = 4, **options: object) -> World:
    """A world with blocks every half second, a delay of one second, and epochs of four blocks."""
    chain_params: ChainParams = params(epoch_length=4)
    return World(seed, count, params=chain_params, **options)  # type: ignore[arg-type]
