"""Nodes that are known by name, over real sockets: whose names may lead near us."""

from collections.abc import Iterator

import pytest

from p2p.addresses.multiaddrs import parse_endpoint
from p2p.libp2p_network import Libp2pNetwork
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


async def test_who_tells_a_public_address_lives_in_no_local_network() -> None:
    async with node(1, advertise=("/ip4/8.8.8.8/tcp/1",)) as a, node(2, a) as b:
        await peers_are(a, b)
        await peers_are(b, a)
        assert b._is_local()
        assert not a._is_local()
