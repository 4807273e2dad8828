"""Situations that chance brings seldom, each made on purpose in a good network."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from chain.types.statement import Kind
from consensus.messages import ConsensusMessage, Hearsay, Proposal, Vote
from consensus.simplex import effects
from tests.simulation.node import Node
from tests.simulation.plan import Plan
from tests.simulation.planted import patch, swapped
from tests.simulation.play import crafted, play, world_of
from tests.simulation.world import World

PLAN = Plan(1, committees="whole")
"""Four of equal weight, a block every half second, epochs of four blocks."""


def told_of(world: World) -> list[object]:
    """Everything that one node said against another, or that its signing log refused."""
    return [*world.watch.reports, *world.watch.accusations, *world.watch.refusals]


def test_a_well_network_finalizes_every_block_in_its_interval() -> None:
    with crafted(PLAN) as world:
        world.start()
        world.run(60_000)
    # Every half second one block; an epoch of four blocks costs one more round trip.
    assert min(world.heights()) >= 110
    assert told_of(world) == []
    assert {node.simplex.view for node in world.nodes} <= {0, 1, 2, 3, 4}


@pytest.mark.parametrize("count", [4, 7])
def test_a_well_network_passes_nothing_on(count: int) -> None:
    heard: list[ConsensusMessage] = []

    def listen(_sender: Node, _receiver: Node, message: ConsensusMessage) -> bool:
        heard.append(message)
        return False

    with crafted(replace(PLAN, count=count)) as world:
        world.drops = listen
        world.start()
        world.run(60_000)
    assert min(world.heights()) > 40
    assert heard
    assert not any(isinstance(message, Hearsay) for message in heard)


def test_a_dead_validator_costs_little() -> None:
    with crafted(replace(PLAN, seed=2)) as world:
        world.start()
        world.nodes[3].die(None)
        world.run(60_000)
    # Its views cost 1.3 s until it is known to be silent: at worst one such view in four.
    assert min(node.height for node in world.nodes[:3]) >= 70


def test_a_validator_far_away_leads_as_often_as_the_others() -> None:
    def carry(
        world: World, sender: Node, receiver: Node, deliver: Callable[..., None], *what: object
    ) -> None:
        delay = 100 if 3 in (sender.number, receiver.number) else 10
        world.at(world.now + delay, receiver.hear, deliver, what)

    with crafted(replace(PLAN, seed=2, epoch_length=1000)) as world, swapped((World, "_carry", carry)):
        world.start()
        world.run(60_000)
        ledger = world.nodes[0].ledger
        made = Counter(ledger.final_header(height).proposer for height in range(1, world.nodes[0].height + 1))
    # Three of four are a quorum before it is heard, in every view; a network delay is four times as long.
    assert min(made[node.key.public_key] for node in world.nodes) >= 15
    assert told_of(world) == []


def test_one_validator_alone_is_a_chain() -> None:
    with crafted(replace(PLAN, count=1)) as world:
        world.start()
        world.run(20_000)
        assert world.nodes[0].height >= 35
        world.crash(world.nodes[0], power=True)
        world.run(40_000)
    assert world.nodes[0].height >= 60


@pytest.mark.parametrize("seed", range(2))
def test_a_committee_that_changes_entirely_at_every_epoch(seed: int) -> None:
    play(world_of(Plan(seed, count=8, committees="alternating", rounds=1)))


@pytest.mark.parametrize("seed", range(2))
def test_uneven_seats(seed: int) -> None:
    play(world_of(Plan(seed, committees="uneven", rounds=1)))


def test_the_two_faced_are_convicted_out_of_their_own_mouths() -> None:
    world = world_of(Plan(7, habits=("two_faced",), committees="whole", rounds=1))
    play(world)
    guilty = world.nodes[0].key.public_key
    assert {evidence.signer for _, evidence in world.watch.accusations} == {guilty}


def test_the_last_block_of_an_epoch_notarized_in_three_views_before_one_is_final() -> None:
    def loses(_sender: Node, _receiver: Node, message: ConsensusMessage) -> bool:
        return (
            isinstance(message, Vote)
            and message.kind is Kind.FINALIZE
            and message.epoch == 0
            and message.view < 3
        )

    with crafted(replace(PLAN, epoch_length=1)) as world:
        world.drops = loses
        world.start()
        world.run(20_000)
    # Made in view 0, proposed again in views 1 to 3, and final by the finalization of the last.
    for node in world.nodes:
        block, certificate = node.ledger.final_block(1), node.ledger.finalization(1)
        assert block is not None and certificate is not None
        assert (block.header.view, certificate.view) == (0, 3)
    assert min(world.heights()) > 5


@pytest.mark.parametrize(("count", "reached"), [(4, 2), (4, 3), (7, 3), (7, 4)])
def test_a_leader_that_proposes_to_some_only(count: int, reached: int) -> None:
    """Every proposal of validator 0 reaches the same few; the others fetch what was notarized."""
    with crafted(replace(PLAN, seed=6, count=count)) as world:
        world.drops = lambda sender, receiver, message: (
            isinstance(message, Proposal) and sender.number == 0 and receiver.number >= reached
        )
        world.start()
        world.run(60_000)
    assert min(world.heights()) > 40
    assert max(world.heights()) - min(world.heights()) <= 1
    assert told_of(world) == []


_PERFORM = Node.perform


def _perform_all_but_fetching(self: Node, effect: effects.Effect) -> None:
    if not isinstance(effect, effects.Fetch):
        _PERFORM(self, effect)


def lag_of_the_deaf() -> tuple[int, int]:
    """Heights that the others reach while node 3 hears no proposal, and how many it was behind at worst."""
    with crafted(replace(PLAN, seed=7, epoch_length=1000)) as world:
        world.drops = lambda _, receiver, message: isinstance(message, Proposal) and receiver.number == 3
        world.start()
        worst = 0
        for second in range(1, 31):
            world.run(1000 * second)
            worst = max(worst, max(world.heights()) - world.nodes[3].height)
    return max(world.heights()), worst


def test_a_node_that_hears_no_proposal_fetches_every_body() -> None:
    height, lag = lag_of_the_deaf()
    assert height > 20
    assert lag <= 1
    # The test has teeth: without fetching, what it lacks comes by sync alone, seconds late.
    with patch((Node, "perform", _perform_all_but_fetching))():
        assert lag_of_the_deaf()[1] >= 5


def test_a_leader_that_builds_on_junk_fills_no_memory() -> None:
    """It makes fifty ancestors for each of its blocks, and has them at hand for all who ask."""
    most = 0
    with crafted(replace(PLAN, seed=8, habits=("junk_ancestry",), epoch_length=1000)) as world:
        world.start()
        for second in range(1, 61):
            world.run(1000 * second)
            trees = [node.simplex._state.tree for node in world.honest]
            most = max(most, *(len(tree._blocks) for tree in trees))
    assert world.faults["junk ancestry"] >= 10
    assert most <= 8
    assert min(world.heights()) > 40


def test_power_loss_of_everyone_in_every_view_phase() -> None:
    """All machines lose power at once, again and again, at all moments of a view."""
    with crafted(replace(PLAN, seed=4)) as world:
        world.start()
        for moment in range(40):
            world.run(3000 + moment * 4000 + moment * 13)
            for node in world.nodes:
                if node.is_up:
                    world.crash(node, power=True)
        before = max(world.heights())
        world.run(world.now + 40_000)
    assert min(world.heights()) >= before + 20


def test_one_node_away_for_many_epochs_comes_back() -> None:
    with crafted(replace(PLAN, seed=5)) as world:
        world.start()
        away = world.nodes[0]
        away.die(None)
        world.run(120_000)
        assert away.height == 0
        away.boot()
        world.run(135_000)
    assert away.height > 80
    assert max(world.heights()) - min(world.heights()) <= 1


def test_who_must_behave_for_it_would_be_too_heavy_forgets_nothing() -> None:
    with crafted(replace(PLAN, habits=("amnesiac", "amnesiac"))) as world:
        world.start()
        world.run(5_000)
        traitor, behaving = world.nodes[:2]
        assert traitor.is_corrupt
        assert not behaving.is_corrupt
        remembered = behaving.disk.data
        for node in (traitor, behaving):
            assert node.habit is not None
            node.habit.on_boot(node)
        assert traitor.disk.data is None
        assert remembered is not None
        assert behaving.disk.data == remembered
