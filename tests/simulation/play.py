"""One seed from beginning to end: trouble, healing, and proof that the chain goes on, several times over."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.simulation.auditor import Auditor
from tests.simulation.keys import tags_are_signatures
from tests.simulation.nemesis import Nemesis
from tests.simulation.plan import Plan
from tests.simulation.sharing import shared_results
from tests.simulation.wire import QUIET, Wire
from tests.simulation.world import World

PROGRESS = 5
"""Heights that every honest node must gain after healing ..."""

RECOVERY_MS = 30_000
"""... within this time."""

_FACES_TURN_MS = 700
_QUIET_MS = 12_000
_TROUBLE_MS = (28_000, 65_000)
_STRIKES = 12


@dataclass
class Result:
    """What one seed showed."""

    seed: int
    profile: str
    count: int
    simulated_ms: int
    steps: int
    heights: int
    trace: str
    faults: dict[str, int]
    habits: tuple[str, ...]
    recoveries_ms: list[int] = field(default_factory=list)
    accusations: int = 0
    convicted_after: list[int] = field(default_factory=list)
    """Heights from each contradiction to its conviction."""
    ledger: dict[str, int] = field(default_factory=dict)
    """Events on the final chain, by kind."""


def play(world: World) -> Result:
    """Let the nemesis loose and heal, as often as the plan says, and check what must hold.

    Raises:
        tests.simulation.watch.Violation: With the seed, and what went wrong.
    """
    plan, recoveries = world.plan, list[int]()
    with simulated():
        world.start()
        if any(node.is_twin for node in world.nodes):
            world.at(0, _turn_faces, world)
        for _ in range(plan.rounds):
            lasts = world.rng.randrange(*_TROUBLE_MS)
            nemesis = Nemesis(world, lasts_ms=lasts, strikes=_STRIKES)
            world.run(world.now + lasts)
            nemesis.heal()
            recoveries.append(_recover(world))
            world.run(world.now + _QUIET_MS)
            world.watch.check_convictions()
        return result_of(world, recoveries, _audited(world))


def result_of(world: World, recoveries: list[int], ledger: dict[str, int]) -> Result:
    plan = world.plan
    return Result(
        seed=plan.seed, profile=plan.profile, count=plan.count, simulated_ms=world.now, steps=world.steps,
        heights=max(world.heights(), default=0), trace=world.trace, faults=dict(world.faults),
        habits=plan.habits, recoveries_ms=recoveries, accusations=len(world.watch.accusations), ledger=ledger,
        convicted_after=world.watch.convicted_after,
    )  # fmt: skip


@contextmanager
def simulated() -> Iterator[None]:
    """Where worlds live: their keys are tags, and their nodes share what they may."""
    with tags_are_signatures(), shared_results():
        yield


@contextmanager
def crafted(plan: Plan, *, wire: Wire = QUIET) -> Iterator[World]:
    """A world that has not started, and whose only trouble is what is made inside."""
    with simulated():
        yield World(plan, wire=wire)


def world_of(plan: Plan) -> World:
    """The world of a plan, for `play`."""
    with tags_are_signatures():
        return World(plan)


def _recover(world: World) -> int:
    """Milliseconds until every honest node has gained `PROGRESS` heights over what anybody had."""
    began, goal = world.now, max(world.heights()) + PROGRESS
    world.watch.healed_at = goal - PROGRESS
    world.run_while(lambda: min(world.heights()) < goal, began + RECOVERY_MS)
    if min(world.heights()) < goal:
        places = [(n.simplex.epoch, n.simplex.view, n.is_up) for n in world.honest]
        world.watch.fail(f"stall: {goal - PROGRESS} at heal, now {world.heights()}, at {places}")
    return world.now - began


def _audited(world: World) -> dict[str, int]:
    """Read the longest honest chain again; a chain without transactions has nothing to read."""
    if world.plan.profile != "ledger":
        return {}
    auditor = Auditor(world, max(world.honest, key=lambda node: node.height))
    auditor.audit()
    return dict(auditor.events)


def _turn_faces(world: World) -> None:
    world.faces = [world.rng.randrange(2) for _ in world.faces]
    world.at(world.now + _FACES_TURN_MS, _turn_faces, world)
