"""The turn of an epoch: weights over the window become seats, and old things are dropped."""

from dataclasses import replace

import pytest

from chain.codec import encode
from chain.execution import queries, state_keys
from chain.execution.records import EpochUnits, MinerStatus, Weight
from chain.reasons import Reason
from chain.types.transaction import ProveWork, RegisterMiner, Unregister
from tests.chain.execution.world import COMMONS, MODEL, PARAMS, World, key, possession


def seats(world: World) -> dict[str, int]:
    committee = world.executions[-1].next_committee
    names = {key(name + "/consensus").public_key: name for name in world.accounts}
    names[key("validator").public_key] = "genesis"
    return {names[v.consensus_key]: v.seats for v in committee.validators}


def closing(world: World) -> list[Reason]:
    return [e.reason for e in world.outcome.closing if e.reason >= 500]


def test_the_genesis_committee_sits_as_long_as_genesis_says():
    world = World(params=replace(PARAMS, genesis_epochs=3))
    world.register("alice")
    world.earn("alice")
    world.until(10)
    assert (closing(world), seats(world)) == ([Reason.COMMITTEE_FROM_GENESIS], {"genesis": 8})
    world.until(20)
    assert (closing(world), seats(world)) == ([Reason.COMMITTEE_FROM_GENESIS], {"genesis": 8})
    world.until(30)
    assert (closing(world), seats(world)) == ([Reason.SEATS_APPORTIONED], {"alice": 8})


def test_the_committee_stays_if_nobody_worked():
    world = World()
    world.until(10)
    assert (closing(world), seats(world)) == ([Reason.COMMITTEE_KEPT], {"genesis": 8})


def test_the_committee_changes_in_the_last_block_and_not_before():
    world = World()
    world.register("alice")
    world.earn("alice")
    world.until(9)
    assert seats(world) == {"genesis": 8}
    world.block()
    assert seats(world) == {"alice": 8}
    world.block()
    assert seats(world) == {"alice": 8}
    assert queries.committee(world.state, 0).root != queries.committee(world.state, 1).root
    assert queries.committee(world.state, 2) is None


def test_three_times_the_work_gives_three_times_the_seats():
    world = World(params=replace(PARAMS, epoch_length=20, max_open_commits=4))
    world.register("alice")
    world.register("bob")
    world.earn("alice", units=30)
    world.earn("bob", units=10)
    world.until(20)
    assert seats(world) == {"alice": 6, "bob": 2}


def test_work_counts_for_the_window_and_no_longer():
    world = World()
    world.register("alice")
    world.earn("alice", units=2)
    consensus = key("alice/consensus").public_key
    for epoch in range(PARAMS.averaging_window):
        assert queries.weight(world.state, consensus).since(0) == COMMONS.units(2)
        world.until(PARAMS.last_height(epoch))
        assert seats(world) == {"alice": 8}
    world.until(PARAMS.last_height(PARAMS.averaging_window))
    assert closing(world) == [Reason.COMMITTEE_KEPT]
    assert queries.weight(world.state, consensus) == Weight(())


def test_work_of_several_epochs_adds_up():
    world = World()
    world.register("alice")
    world.earn("alice", units=2)
    world.until(10)
    world.earn("alice", units=3)
    consensus = key("alice/consensus").public_key
    assert queries.weight(world.state, consensus) == Weight(
        (EpochUnits(0, COMMONS.units(2)), EpochUnits(1, COMMONS.units(3)))
    )


@pytest.mark.parametrize("height", [19, 20])
def test_what_is_proven_once_the_miners_are_weighed_counts_for_the_next_epoch(height: int):
    """Who leads these blocks may know the beacon that draws the committee, and must not choose weights."""
    params = replace(PARAMS, epoch_length=20, proof_window=12)
    assert params.weighed_at(0) == 19
    seated = []
    for is_proven in (False, True):
        world = World(params=params)
        world.register("alice")
        world.register("bob")
        world.earn("alice", units=1)
        world.until(height - 5)
        work = world.work("bob", units=1)
        commit_id = world.commit(work)
        at = world.height
        world.until(height - 1)
        if is_proven:
            proof = work.proof(world.draw_of(at), samples=params.samples)
            world.block(world.sign("bob", ProveWork(commit_id, proof)))
            consensus = key("bob/consensus").public_key
            assert queries.weight(world.state, consensus) == Weight((EpochUnits(1, COMMONS.units(1)),))
        world.until(20)
        seated.append(seats(world))
        world.until(40)
        assert ("bob" in seats(world)) is is_proven
    assert seated == [{"alice": 8}, {"alice": 8}]


CROWD = tuple(f"miner-{number}" for number in range(12))


def crowd(*, suspended: tuple[str, ...] = ()) -> World:
    """Twelve miners of one weight, before the last block of their first epoch."""
    world = World(params=replace(PARAMS, unbonding_blocks=40), accounts=CROWD)
    world.block(*(world.sign(name, world.registration(name)) for name in CROWD))
    keys = [key(name + "/consensus").public_key for name in CROWD]
    weight = encode(Weight((EpochUnits(0, 1000),)))
    world.state = world.state.updated({state_keys.weight(consensus): weight for consensus in keys})
    for name in suspended:
        account, idle = key(name).public_key, replace(world.miner(name), status=MinerStatus.SUSPENDED)
        changes = {state_keys.miner(account): encode(idle), state_keys.server(MODEL, account): None}
        world.state = world.state.updated(changes)
    world.until(9)
    return world


@pytest.mark.parametrize("leaving", [CROWD[:1], CROWD[3:6], CROWD[::2]])
def test_who_leaves_with_the_last_block_moves_nobody_elses_seats(leaving: tuple[str, ...]):
    """Its leader knows the draw: it must not be able to choose whose weights it is from."""
    others, world = crowd(), crowd()
    others.block()
    world.block(*(world.sign(name, Unregister()) for name in leaving))
    assert [receipt.reason for receipt in world.outcome.receipts] == [Reason.OK] * len(leaving)
    before = seats(others)
    assert seats(world) == {name: count for name, count in before.items() if name not in leaving}
    forfeited = {e.other: e.amount for e in world.outcome.closing if e.reason is Reason.SEATS_FORFEITED}
    assert forfeited == {key(name).public_key: before[name] for name in leaving if name in before}


def test_who_comes_back_with_the_last_block_gets_no_seat_and_moves_none():
    late = CROWD[2:5]
    others, world = crowd(suspended=late), crowd(suspended=late)
    others.block()
    world.block(*(world.sign(name, world.registration(name, bond=1)) for name in late))
    assert all(world.miner(name).status is MinerStatus.ACTIVE for name in late)
    assert seats(world) == seats(others)
    assert not set(seats(world)) & set(late)


def test_an_epoch_shorter_than_the_delay_is_weighed_in_its_first_block():
    params = replace(PARAMS, epoch_length=1, beacon_delay=3)
    assert [params.weighed_at(epoch) for epoch in (0, 1)] == [1, 2]
    world = World(params=params)
    world.register("alice")
    world.earn("alice", units=1)
    assert seats(world) == {"genesis": 8}, "what the epoch proves comes too late for its end"
    world.block()
    assert seats(world) == {"alice": 8}


def test_entries_older_than_the_window_are_dropped_as_new_ones_come():
    weight = Weight(tuple(EpochUnits(epoch, 1) for epoch in range(4)))
    assert weight.credited(4, 5, window=3).epochs == (
        EpochUnits(1, 1), EpochUnits(2, 1), EpochUnits(3, 1), EpochUnits(4, 5),
    )  # fmt: skip
    assert weight.credited(3, 5, window=3).epochs[-1] == EpochUnits(3, 6)


def test_only_active_miners_are_seated():
    world = World(params=replace(PARAMS, epoch_length=20, unbonding_blocks=40, max_open_commits=4))
    for name in ("alice", "bob", "carol"):
        world.register(name)
        world.earn(name, units=5)
    world.do("bob", Unregister())
    world.commit(world.work("carol"), units=1)
    world.until(20)
    assert seats(world) == {"alice": 8}
    told = {
        e.subject: (e.other, e.amount) for e in world.outcome.closing if e.reason is Reason.SEATS_APPORTIONED
    }
    assert told == {key("alice/consensus").public_key: (key("alice").public_key, 8)}


def test_committees_of_old_epochs_and_cursors_of_old_rounds_are_dropped():
    world = World()
    world.register("alice")
    for epoch in range(4):
        world.earn("alice", units=1)
        world.until(PARAMS.last_height(epoch))
    assert [epoch for epoch in range(6) if queries.committee(world.state, epoch) is not None] == [2, 3, 4]
    world.commit(world.work("alice", units=1))
    cursors = [key_[1:9] for key_ in world.state.keys(b"\x05")]
    assert cursors == [state_keys.number(PARAMS.last_height(3) // PARAMS.round_length)]


def test_tips_go_to_the_miner_behind_the_proposer():
    world = World()
    world.register("alice")
    world.earn("alice")
    world.until(10)
    before = world.balance("alice")
    world.block(world.sign("bob", Unregister(), tip=2))
    assert world.balance("alice") == before + 2 * world.receipt.weight


@pytest.mark.parametrize("others", [True, False])
def test_a_kept_committee_loses_those_that_left_unless_nobody_stays(others: bool):
    world = World(params=replace(PARAMS, epoch_length=20, unbonding_blocks=400, averaging_window=1))
    for name in ("alice", "bob") if others else ("bob",):
        world.register(name)
        world.earn(name, units=5)
    world.until(20)
    before = seats(world)
    world.do("bob", Unregister())
    world.until(40)
    assert closing(world) == [Reason.COMMITTEE_KEPT]
    assert seats(world) == ({"alice": before["alice"]} if others else before)


def test_a_slashed_member_gets_no_seat_back_by_registering_under_another_key():
    world = World(params=replace(PARAMS, epoch_length=20, averaging_window=1))
    for name in ("alice", "bob"):
        world.register(name)
        world.earn(name, units=5)
    world.until(20)
    before = seats(world)
    work = world.work("bob")
    world.commit(work, units=work.body.units + 1)
    assert world.miner("bob").status is MinerStatus.SLASHED
    other = key("bob/other")
    world.do("bob", RegisterMiner(other.public_key, possession(key("bob"), other), PARAMS.min_bond, (MODEL,)))
    assert world.receipt.reason is Reason.OK
    world.until(40)
    assert closing(world) == [Reason.COMMITTEE_KEPT]
    assert seats(world) == {"alice": before["alice"]}
