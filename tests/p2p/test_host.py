"""The host: streams that do not come about, and who makes room among connections being set up."""

from types import SimpleNamespace

import pytest
import trio
from trio.testing import MockClock

from p2p.host import Host, oldest_of_the_most
from p2p.limits import Limits
from p2p.wire.faults import Fault, PeerFault
from tests.p2p.test_yamux import two_sides


def host_whose_peers(negotiate: object) -> Host:
    client = SimpleNamespace(select_one_of=negotiate)
    basic = SimpleNamespace(get_network=lambda: None, multiselect_client=client)
    return Host(basic, (), limits=Limits())


async def never(*_: object) -> None:
    await trio.sleep_forever()


async def refuse(*_: object) -> None:
    raise ValueError("no such protocol")


@pytest.mark.parametrize(("negotiate", "fault"), [(never, Fault.TIMED_OUT), (refuse, Fault.CONNECTION_LOST)])
async def test_a_stream_that_is_not_negotiated_is_given_up(
    negotiate: object, fault: Fault, autojump_clock: MockClock
) -> None:
    async with two_sides() as (a, b):
        with pytest.raises(PeerFault) as caught:
            await host_whose_peers(negotiate).open_stream(a, "/x/1")
        assert caught.value.fault is fault
        await trio.testing.wait_all_tasks_blocked()
        assert (a._streams, a._windows, b._streams) == ({}, 0, {})


async def test_a_stream_is_given_up_if_its_opening_is_cancelled(autojump_clock: MockClock) -> None:
    async with two_sides() as (a, _):
        with trio.move_on_after(1):
            await host_whose_peers(never).open_stream(a, "/x/1")
        assert a._streams == {}


async def test_a_flood_from_one_place_pushes_out_itself() -> None:
    scopes = [trio.CancelScope() for _ in range(6)]
    shares = ["honest", "flood", "other", "flood", "flood", "other"]
    pending = dict(zip(scopes, shares, strict=True))
    for expected in (1, 2, 0):
        loser = oldest_of_the_most(pending)
        assert loser is scopes[expected]
        del pending[loser]
        pending.pop(scopes[3], None)
        if expected == 2:
            pending.pop(scopes[5], None)
