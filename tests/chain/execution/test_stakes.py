"""No lie pays: the stake against every lie there is, and what the ledger makes of it."""

from dataclasses import replace
from fractions import Fraction
from itertools import chain, combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.execution import open_commits, queries
from chain.execution.records import MinerStatus
from chain.execution.run import Run
from chain.execution.stakes import Item, least_stake, shards_item, stake_of, task_item
from chain.reasons import Reason
from pouw.proofs.sampling import draw_cells, in_order
from tests.chain.execution.world import COMMONS, MODEL, MODELS, PARAMS, TINY, World, key

items_of_a_commit = st.lists(
    st.builds(Item, units=st.integers(1, 1000), tensors=st.integers(1, 40), reward=st.integers(0, 1000)),
    min_size=1,
    max_size=5,
)
samples = st.integers(6, 28)


def found(faked: list[Item], items: list[Item], count: int) -> Fraction:
    """The chance that a liar is found by a lie of one tensor each in some items of a commit."""
    units = sum(item.units for item in items)
    hit = sum((Fraction(item.units, units * item.tensors) for item in faked), Fraction(0))
    return found_after_withholding(1 - (1 - hit) ** (count // 2))


def found_after_withholding(chance: Fraction, share: Fraction = Fraction(1, 3)) -> Fraction:
    """What is left of a chance where with that share a bad draw is withheld, and another made."""
    return chance * (1 - share) / (1 - share * chance)


def gain(faked: list[Item], items: list[Item], count: int, stake: int) -> Fraction:
    """What lies win over honest work, whose cost they save: at most what it earns."""
    chance = found(faked, items, count)
    return sum(item.reward for item in faked) - chance * (sum(item.reward for item in items) + stake)


def lies(items: list[Item]) -> list[list[Item]]:
    """Every choice of items to fake."""
    sizes = range(1, len(items) + 1)
    return [list(chosen) for chosen in chain.from_iterable(combinations(items, size) for size in sizes)]


@given(items_of_a_commit, samples)
def test_no_lie_pays_under_the_stake_and_one_does_just_below_it(items: list[Item], count: int):
    stake = least_stake(items, samples=count)
    assert max(gain(faked, items, count, stake) for faked in lies(items)) <= 0
    if stake:
        assert max(gain(faked, items, count, stake - 1) for faked in lies(items)) > 0


@given(items_of_a_commit, samples, st.data())
def test_no_lie_in_some_rows_pays_either(items: list[Item], count: int, data: st.DataObject):
    """Part of an item's rows saves that part of its work and is hit that much less often."""
    parts = [Fraction(data.draw(st.integers(0, 8)), 8) for _ in items]
    units = sum(item.units for item in items)
    hit = sum(
        part * Fraction(item.units, units * item.tensors) for part, item in zip(parts, items, strict=True)
    )
    saved = sum(part * item.reward for part, item in zip(parts, items, strict=True))
    at_risk = sum(item.reward for item in items) + least_stake(items, samples=count)
    assert saved - found_after_withholding(1 - (1 - hit) ** (count // 2)) * at_risk <= 0


@pytest.mark.parametrize("share", [Fraction(0), Fraction(1, 10), Fraction(1, 4), Fraction(1, 3)])
@pytest.mark.parametrize(("tensors", "count"), [(783, 64), (227, 64), (43, 64), (783, 256)])
def test_no_lie_pays_for_a_miner_with_less_than_a_third_of_the_seats(
    share: Fraction, tensors: int, count: int
):
    """Who leads the height whose beacon draws may keep its block to itself, and be drawn anew."""
    reward = 10**12
    stake = least_stake([Item(1, tensors, reward)], samples=count)
    hit = 1 - Fraction(tensors - 1, tensors) ** (count // 2)
    assert reward - found_after_withholding(hit, share) * (reward + stake) <= 0


@given(st.integers(1, 1000), st.integers(1, 500), st.integers(0, 10**6), st.integers(6, 128))
def test_one_item_alone_follows_the_formula(units: int, tensors: int, reward: int, count: int):
    drawn, every = (tensors - 1) ** (count // 2), tensors ** (count // 2)
    alone = least_stake([Item(units, tensors, reward)], samples=count)
    assert alone == -(-3 * reward * drawn // (2 * (every - drawn)))


@given(
    st.lists(st.integers(1, 1000), min_size=1, max_size=6), st.integers(1, 60), st.integers(1, 50), samples
)
def test_items_of_one_kind_are_worst_all_together(sizes: list[int], tensors: int, rate: int, count: int):
    items = [Item(units, tensors, units * rate) for units in sizes]
    together = Item(sum(sizes), tensors, sum(sizes) * rate)
    assert least_stake(items, samples=count) == least_stake([together], samples=count)


def test_a_dear_task_in_a_large_commit_needs_more_than_alone():
    dear, large = Item(10, 20, 1_000), Item(1_000_000, 20, 1_000)
    assert least_stake([dear], samples=64) == 361
    assert least_stake([dear, large], samples=64) > 1_000_000


@given(items_of_a_commit, st.lists(items_of_a_commit, max_size=3), samples)
def test_saying_nothing_after_a_bad_draw_does_not_pay(first, others, count: int):
    """Commits are at stake one by one: who lies in several and proves those alone whose draws were good."""
    commits = [first, *others]
    total = Fraction(0)
    for items in commits:
        reward, chance = sum(item.reward for item in items), found(items, items, count)
        total += (1 - chance) * reward - chance * least_stake(items, samples=count)
    assert total <= 0


@settings(max_examples=20)
@given(st.integers(1, 6), st.integers(0, 2**32))
def test_draws_hit_one_tensor_as_often_as_the_rule_says(rows: int, seed: int):
    """The chance that the rule counts on is that of the draws themselves: every other one, evenly."""
    program = TINY.model.program(rows)
    drawn = draw_cells(
        in_order([program]), seed=seed.to_bytes(8, "big"), root=bytes(32), units=program.units, samples=1024,
        claims=[],
    )  # fmt: skip
    hit = [cell.tensor for _, cell in drawn[1::2]]
    rounds = 512 // len(program.tensors)
    assert all(hit.count(tensor) in (rounds, rounds + 1) for tensor in range(len(program.tensors)))


# On the ledger ----------------------------------------------------------------------------------------

DEAR = replace(PARAMS, reward_per_million_units=50_000)


def dear_world(bond: int) -> World:
    world = World(params=DEAR)
    world.register("alice", bond=bond)
    return world


def shards_stake(shards: int) -> int:
    return stake_of([shards_item(shards, params=DEAR, commons=COMMONS)], params=DEAR)


def test_the_tensors_and_units_of_shards_are_those_of_their_program():
    roots = World().shards("alice", 1, 0).roots
    for shards in (1, 2, 7):
        program = COMMONS.program(roots, shards)
        assert (COMMONS.units(shards), COMMONS.tensors(shards)) == (program.units, len(program.tensors))


def test_a_commit_must_be_covered_by_what_no_other_has_at_stake():
    two, three = shards_stake(2), shards_stake(3)
    assert DEAR.missed_proof_penalty < two < three
    world = dear_world(two + three - 1)
    world.commit(world.work("alice", units=2))
    assert world.receipt.reason is Reason.OK
    run = Run(world.ledger, world.context(), world.params, MODELS)
    assert open_commits.at_stake(run, key("alice").public_key) == two
    world.commit(world.work("alice", units=3))
    assert world.receipt.reason is Reason.STAKE_NOT_COVERED
    assert world.receipt.events[-1].detail == (
        f"it puts {three} at stake, open commits {two}, the bond is {two + three - 1}: add 1 by registering "
        "again, prove what is open, or commit to less"
    )
    world.register("alice", bond=1)
    world.commit(world.work("alice", units=3))
    assert world.receipt.reason is Reason.OK


def test_proving_frees_what_was_at_stake():
    world = dear_world(DEAR.min_bond)
    most = max(count for count in range(1, 20) if shards_stake(count) <= DEAR.min_bond)
    work = world.work("alice", units=most)
    commit_id = world.commit(work)
    at = world.height
    world.commit(world.work("alice", units=2))
    assert world.receipt.reason is Reason.STAKE_NOT_COVERED
    world.until(at + DEAR.beacon_delay)
    assert world.prove(work, commit_id, committed_at=at).reason is Reason.OK
    world.commit(world.work("alice", units=most))
    assert world.receipt.reason is Reason.OK


def test_a_missing_proof_costs_what_was_at_stake():
    world = dear_world(10 * DEAR.min_bond)
    commit_id = world.commit(world.work("alice", units=3))
    assert queries.commit(world.state, commit_id).stake == shards_stake(3)
    world.until(open_commits.missing_at(world.height, params=DEAR))
    missing = next(event for event in world.outcome.opening if event.reason is Reason.PROOF_MISSING)
    assert missing.amount == shards_stake(3)
    miner = world.miner("alice")
    assert (miner.bond, miner.status) == (10 * DEAR.min_bond - shards_stake(3), MinerStatus.ACTIVE)


def test_a_false_claim_is_slashed_whether_or_not_it_is_covered():
    world = dear_world(DEAR.min_bond)
    world.commit(world.work("alice", units=30), units=1)
    assert world.receipt.reason is Reason.UNITS_OVERCLAIMED


def test_the_least_bond_covers_every_task():
    """So whoever the beacon draws can answer; a payment beyond that is refused before it is locked."""

    def stake(payment: int) -> int:
        return stake_of([task_item(MODELS.get(MODEL), rows=4, payment=payment, params=PARAMS)], params=PARAMS)

    most = next(payment for payment in range(10**6) if stake(payment + 1) > PARAMS.min_bond)
    world = World()
    world.register("bob", bond=PARAMS.min_bond)
    task_id = world.submit("alice", payment=most)
    world.block()
    world.earn("bob", units=0, tasks=[task_id])
    assert world.reasons(task_id)[-1] is Reason.TASK_PAID
    with pytest.raises(AssertionError, match="TASK_PAYMENT_TOO_HIGH"):
        world.submit("alice", payment=most + 1)
    assert world.receipt.events[-1].detail == (
        f"whoever answers for {most + 1} coins must put {stake(most + 1)} at stake, the least bond is "
        f"{PARAMS.min_bond}: pay less, or ask in parts"
    )
