"""Trouble, drawn from the world's seed: what may happen to network and machines, and its end."""

from collections.abc import Callable

from chain.types.statement import Kind
from consensus.messages import Certificate, ConsensusMessage, Proposal, Vote
from tests.simulation.node import Node
from tests.simulation.wire import SHAPES, Wire, random_wire
from tests.simulation.world import World

_HOUR_MS = 3_600_000


class Nemesis:
    """One time of trouble: begins at once, ends with `heal`."""

    def __init__(self, world: World, *, lasts_ms: int, strikes: int) -> None:
        self.world, self.rng = world, world.rng
        self.end = world.now + lasts_ms
        world.wire = random_wire(self.rng)
        self._strikes: list[tuple[float, Callable[[], None]]] = [
            (0.20, self.cut), (0.10, self.storm), (0.08, self.calm), (0.16, self.filter), (0.06, self.clog),
            (0.12, self.tear), (0.12, self.crash), (0.05, self.lose_power), (0.04, self.skew),
            (0.07, self.blackout),
        ]  # fmt: skip
        for _ in range(strikes):
            world.at(world.now + self.rng.randrange(lasts_ms), self.strike)

    def strike(self) -> None:
        if self.world.now >= self.end:
            return
        draw = self.rng.random()
        for weight, action in self._strikes:
            draw -= weight
            if draw < 0:
                action()
                return

    def heal(self) -> None:
        """The network is well, clocks are right, and whoever is down comes back."""
        world = self.world
        world.links.clear()
        world.drops, world.wire = None, Wire()
        for node in world.nodes:
            node.disk.cut = None
            for database in node.ledger.databases:
                database.cut = None
            node.clock_ahead_ms = node.clock_drift = 0

    def cut(self) -> None:
        if self.world.now < self.end:
            shape = self.rng.choice(sorted(SHAPES))
            self.world.links.blocked = SHAPES[shape](self.rng, len(self.world.nodes))
            self.world.faults[f"partition {shape}"] += 1

    def storm(self) -> None:
        """Another partition every second, for a while."""
        self.world.faults["partition storm"] += 1
        for second in range(self.rng.randrange(2, 8)):
            self.world.at(self.world.now + 1000 * second, self.cut)

    def calm(self) -> None:
        self.world.links.clear()
        self.world.drops = None

    def clog(self) -> None:
        """Some links deliver nothing for a while, and then everything at once."""
        nodes = range(len(self.world.nodes))
        until = self.world.now + self.rng.randrange(1000, 6000)
        self.world.links.clogged = {
            (a, b): until for a in nodes for b in nodes if a != b and self.rng.random() < 0.3
        }
        self.world.faults["clog"] += 1

    def filter(self) -> None:
        """Lose one kind of message to or from some nodes for a while: what plain loss hardly ever does."""
        world, rng = self.world, self.rng
        kinds = [Kind.NOTARIZE, Kind.NULLIFY, Kind.FINALIZE]
        what, kind = rng.choice([Vote, Certificate, Certificate, Proposal]), rng.choice(kinds)
        chosen = [rng.random() < 0.6 for _ in world.nodes]
        is_sender = rng.random() < 0.5

        def drops(sender: Node, receiver: Node, message: ConsensusMessage) -> bool:
            if not isinstance(message, what) or not chosen[(sender if is_sender else receiver).number]:
                return False
            return isinstance(message, Proposal) or message.kind is kind

        def stop() -> None:
            if world.drops is drops:
                world.drops = None

        world.drops = drops
        world.at(world.now + rng.randrange(1000, 8000), stop)
        world.faults["filter"] += 1

    def tear(self) -> None:
        """A machine loses power in the middle of its next write."""
        self._arm(self.rng.choice(self.world.nodes))

    def crash(self) -> None:
        self._strike_down(self.rng.choice(self.world.nodes), power=False)

    def lose_power(self) -> None:
        self._strike_down(self.rng.choice(self.world.nodes), power=True)

    def blackout(self) -> None:
        """Everybody loses power, some of them in the middle of the next write."""
        self.world.faults["blackout"] += 1
        for node in self.world.nodes:
            if self.rng.random() < 0.3:
                self._arm(node)
            else:
                self._strike_down(node, power=True)

    def skew(self) -> None:
        """A clock, or every clock, is wrong or runs fast or slow, by up to four hours and a twentieth."""
        nodes = self.world.nodes if self.rng.random() < 0.3 else [self.rng.choice(self.world.nodes)]
        most = self.rng.choice([500, 5000, 60_000, 4 * _HOUR_MS])
        for node in nodes:
            node.clock_ahead_ms = self.rng.randint(-most, most)
            node.clock_drift = self.rng.randint(-50_000, 50_000)
        self.world.faults["clock skew"] += 1

    def _arm(self, node: Node) -> None:
        drawn = self.rng.randrange(1001)
        place = self.rng.choice([node.disk, *node.ledger.databases])
        place.cut = drawn

    def _strike_down(self, node: Node, *, power: bool) -> None:
        if node.is_up:
            self.world.faults["power cut" if power else "kill"] += 1
            self.world.crash(node, power=power)
