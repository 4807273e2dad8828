"""How messages travel: what a link does to each of them, and which links are cut."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from random import Random

Link = tuple[int, int]
"""Sender and receiver, by their numbers."""


@dataclass(frozen=True, slots=True)
class Wire:
    """Quality of every link: milliseconds, and thousandths of messages."""

    least_ms: int = 10
    most_ms: int = 200
    loss: int = 0
    repeat: int = 0
    slow: int = 0
    """Take up to four seconds: overtaken by everything that comes later."""


QUIET = Wire(least_ms=10, most_ms=40)
"""A good network."""


@dataclass(slots=True)
class Links:
    """What the network does at the moment beside the wire's quality."""

    blocked: frozenset[Link] = frozenset()
    clogged: dict[Link, int] = field(default_factory=dict)
    """Until when nothing arrives on a link; then all of it does."""

    def clear(self) -> None:
        self.blocked = frozenset()
        self.clogged = {}


def random_wire(rng: Random) -> Wire:
    """Anything from a good network to a dreadful one."""
    return Wire(
        least_ms=5, most_ms=rng.choice([100, 300, 1200]), loss=rng.choice([0, 0, 100, 300]),
        repeat=rng.choice([0, 50]), slow=rng.choice([0, 100]),
    )  # fmt: skip


def halves(rng: Random, nodes: int) -> frozenset[Link]:
    """Two or three groups that do not hear each other."""
    count = rng.choice([2, 2, 3])
    group = [rng.randrange(count) for _ in range(nodes)]
    return _links(nodes, lambda a, b: group[a] != group[b])


def isolated(rng: Random, nodes: int) -> frozenset[Link]:
    """One node alone."""
    alone = rng.randrange(nodes)
    return _links(nodes, lambda a, b: alone in (a, b))


def ring(rng: Random, nodes: int) -> frozenset[Link]:
    """Everyone hears two neighbours only."""
    place = list(range(nodes))
    rng.shuffle(place)
    return _links(nodes, lambda a, b: (place[a] - place[b]) % nodes not in (1, nodes - 1))


def one_way(rng: Random, nodes: int) -> frozenset[Link]:
    """Some are heard by nobody outside of their group, and hear everyone."""
    mute = [rng.random() < 0.5 for _ in range(nodes)]
    return _links(nodes, lambda a, b: mute[a] and not mute[b])


def bridge(rng: Random, nodes: int) -> frozenset[Link]:
    """Two halves with one node that both hear."""
    side = [rng.randrange(2) for _ in range(nodes)]
    both = rng.randrange(nodes)
    return _links(nodes, lambda a, b: side[a] != side[b] and both not in (a, b))


def ragged(rng: Random, nodes: int) -> frozenset[Link]:
    """A third of all one-way links, whichever."""
    return frozenset(link for link in _pairs(nodes) if rng.random() < 0.33)


SHAPES: dict[str, Callable[[Random, int], frozenset[Link]]] = {
    "halves": halves,
    "isolated": isolated,
    "ring": ring,
    "one_way": one_way,
    "bridge": bridge,
    "ragged": ragged,
}
"""Every shape of partition; a function of randomness and the number of nodes."""


def _pairs(nodes: int) -> Iterable[Link]:
    return ((a, b) for a in range(nodes) for b in range(nodes) if a != b)


def _links(nodes: int, is_cut: Callable[[int, int], bool]) -> frozenset[Link]:
    return frozenset(link for link in _pairs(nodes) if is_cut(*link))
