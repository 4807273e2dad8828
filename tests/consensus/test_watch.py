"""Two holders of one key: whoever starts second finds out before it signs, and nobody is convicted."""

import pytest
import trio
from trio.testing import MockClock

from consensus.halting import HaltReason
from consensus.inputs import EngineSettings
from consensus.sync.requests import MAX_REQUEST, STATUS
from consensus.watch import WATCHED_HEIGHTS
from p2p.network import PeerId
from tests.consensus.cluster import KEYS, Cluster, Machine, open_cluster


def _second_holder(cluster: Cluster, *, of: int, log: bool) -> Machine:
    """Another machine with the key of one of the validators, and with or without a copy of its log."""
    twin = Machine(cluster.hub, f"twin-of-{of}", KEYS[of])
    if log:
        twin.disk.data = cluster.machines[of].disk.data
    twin.disk.lies_at = bytes([7]) * 32
    cluster.machines.append(twin)
    return twin


@pytest.mark.parametrize("log", [False, True])
async def test_a_copy_of_a_running_key_stops_before_it_signs(log: bool, autojump_clock: MockClock) -> None:
    async with open_cluster() as cluster:
        cluster.start()
        await trio.sleep(8)
        twin = _second_holder(cluster, of=1, log=log)
        if not log:
            # An empty log that was made elsewhere.
            twin.disk.data = None
            twin.make_log_elsewhere()
        written = twin.disk.writes
        cluster.start(twin)
        await trio.sleep(20)
        assert twin.halted is not None
        assert twin.halted.reason is HaltReason.KEY_IN_USE_ELSEWHERE
        assert twin.disk.writes == written
        assert cluster.machines[1].halted is None


async def test_who_comes_back_to_a_key_in_use_stops(autojump_clock: MockClock) -> None:
    """The copy took over while the original was down: now the original is the second one."""
    async with open_cluster() as cluster:
        cluster.start()
        await trio.sleep(8)
        original = cluster.machines[1]
        await original.kill()
        twin = _second_holder(cluster, of=1, log=True)
        cluster.start(twin)
        await trio.sleep(40)
        assert twin.halted is None
        assert twin.engine.status().is_member
        cluster.start(original)
        await trio.sleep(20)
        assert original.halted is not None
        assert original.halted.reason is HaltReason.KEY_IN_USE_ELSEWHERE
        assert twin.halted is None


async def _never(_peer: PeerId, _payload: bytes) -> bytes:
    await trio.sleep_forever()
    raise AssertionError("unreachable")


@pytest.mark.parametrize("silent", [1, 3])
async def test_who_was_away_for_long_does_not_sign_before_it_knows(
    silent: int, autojump_clock: MockClock
) -> None:
    """Peers that do not say how far they are must not make it look as if there were nothing to catch up."""
    async with open_cluster() as cluster:
        cluster.start()
        await trio.sleep(8)
        original = cluster.machines[1]
        await original.kill()
        twin = _second_holder(cluster, of=1, log=True)
        cluster.start(twin)
        await trio.sleep(40)
        assert twin.engine.status().is_member
        for number in range(silent):
            cluster.stranger(f"a{number}").set_handler(STATUS, _never, limit=MAX_REQUEST)
        written = original.disk.writes
        cluster.start(original)
        await trio.sleep(25)
        assert original.halted is not None
        assert original.halted.reason is HaltReason.KEY_IN_USE_ELSEWHERE
        assert original.disk.writes == written
        assert twin.halted is None


async def test_a_short_absence_costs_two_delays(autojump_clock: MockClock) -> None:
    async with open_cluster() as cluster:
        cluster.start()
        await trio.sleep(8)
        machine = cluster.machines[2]
        await machine.kill()
        await trio.sleep(1)
        cluster.start(machine)
        await trio.sleep(1.9)
        assert not machine.engine.status().is_member
        await trio.sleep(1.5)
        assert machine.engine.status().is_member


async def test_a_log_that_moved_waits_for_heights(autojump_clock: MockClock) -> None:
    async with open_cluster() as cluster:
        cluster.start()
        await trio.sleep(8)
        machine = cluster.machines[2]
        await machine.kill()
        machine.disk.lies_at = bytes([9]) * 32
        cluster.start(machine)
        await trio.sleep(3.5)
        assert not machine.engine.status().is_member
        await trio.sleep(WATCHED_HEIGHTS)
        assert machine.engine.status().is_member
        # It has settled: the next start is as quick as any.
        await machine.kill()
        cluster.start(machine)
        await trio.sleep(3.5)
        assert machine.engine.status().is_member


async def test_a_chain_that_stands_still_without_us_goes_on(autojump_clock: MockClock) -> None:
    """Two of four moved to other machines at once: nobody makes heights, so time has to do."""
    async with open_cluster() as cluster:
        cluster.start()
        await trio.sleep(8)
        for machine in cluster.machines[:2]:
            await machine.kill()
            machine.disk.lies_at = bytes([9]) * 32
        height = max(cluster.heights())
        cluster.start(*cluster.machines[:2])
        await trio.sleep(30)
        assert min(cluster.heights()) > height + 10
        assert cluster.agree()


def test_the_watch_is_on_unless_it_is_turned_off() -> None:
    assert EngineSettings().watch_heights == WATCHED_HEIGHTS == 10
