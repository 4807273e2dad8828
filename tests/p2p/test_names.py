"""Nodes that are known by name: whose names are believed, and whose may lead near us."""

from collections.abc import Iterator

import pytest
from trio.testing import MockClock

from p2p.addresses.multiaddrs import parse_endpoint
from p2p.libp2p_network import Libp2pNetwork
from tests.p2p.internet import Internet, victim
from tests.p2p.nodes import node, peers_are, until
from tests.p2p.test_lookups import Servers, name_servers

SEED = "seed.example"


@pytest.fixture(autouse=True)
def servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Servers]:
    """All that is near us has one name."""
    with name_servers(monkeypatch) as found:
        found.names[SEED] = ["127.0.0.1"]
        yield found


def named(network: Libp2pNetwork) -> str:
    """Where a node listens, by name."""
    return f"/dns/{SEED}/tcp/{parse_endpoint(network.listen_addrs[0]).port}"


async def test_the_operators_names_may_lead_near() -> None:
    async with node(1) as a, node(2, bootstrap=(f"{named(a)}/p2p/{a.local_id}",)) as b:
        await peers_are(b, a)
        assert b.stats().peers[0].address == named(a)


async def test_a_member_of_the_committee_is_dialed_by_name_near_us_only_in_a_local_network() -> None:
    async with node(1) as a, node(2) as b:

        def dial_now() -> None:
            a._dialer._targets[b.local_id].next_at = 0
            a._dialer._changed.set()

        a.keep({b.local_id: (named(b),)})
        dial_now()
        await until(lambda: a._dialer._targets[b.local_id].failures > 0)
        assert b.peers() == ()
        async with node(3, a) as c:
            await peers_are(a, c)
            assert a._is_local()
            dial_now()
            await peers_are(a, b, c)


async def test_what_a_far_peer_says_of_itself_is_passed_on_without_names(autojump_clock: MockClock) -> None:
    internet = Internet()
    first, second = (internet.add(f"far{n}", f"30.{n}.1.1", honest=False) for n in range(2))
    far = ("/dns/localhost/tcp/4001", "/dns/x.example/tcp/9", "/ip4/127.0.0.1/tcp/22", "/ip4/9.9.9.9/tcp/9")
    first.says = second.says = far
    near = internet.add("near", "192.168.1.7", honest=True)
    near.says = ("/dns/near.lan/tcp/1", "/ip4/192.168.1.7/tcp/1")
    async with victim(internet, second) as here:
        assert here.arrive(first)
        assert here.arrive(near)
        await until(lambda: len(here.roster.sessions) == 3)
        # A name stands for the host that we see, as "any of mine" does.
        assert here.book.addresses(first.peer) == (first.address, "/ip4/30.0.1.1/tcp/9", "/ip4/9.9.9.9/tcp/9")
        assert here.book.addresses(second.peer) == (
            second.address, "/ip4/30.1.1.1/tcp/9", "/ip4/9.9.9.9/tcp/9",
        )  # fmt: skip
        assert here.book.addresses(near.peer) == near.says
        news = here.roster._news_for(here.roster.sessions[near.peer])
        assert {peer: told for message in news for peer, told in message.peers} == {
            remote.peer: here.book.addresses(remote.peer) for remote in (first, second)
        }


async def test_who_tells_a_public_address_lives_in_no_local_network() -> None:
    async with node(1, advertise=("/ip4/8.8.8.8/tcp/1",)) as a, node(2, a) as b:
        await peers_are(a, b)
        await peers_are(b, a)
        assert b._is_local()
        assert not a._is_local()
