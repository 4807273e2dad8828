"""Addresses as text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.addresses.multiaddrs import Endpoint, clean_addresses, parse_endpoint, parse_peer_address, seen_from
from p2p.network import PeerId


@pytest.mark.parametrize(
    "address",
    ["/ip4/1.2.3.4/tcp/1", "/ip6/::1/tcp/65535", "/dns/node-1.example.org/tcp/4001", "/ip4/0.0.0.0/tcp/0"],
)
def test_good_addresses_survive(address: str) -> None:
    assert parse_endpoint(address).multiaddr == address
    assert parse_peer_address(f"{address}/p2p/12D3") == (PeerId("12D3"), address)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "/",
        "1.2.3.4:80",
        "/ip4/1.2.3/tcp/1",
        "/ip4/::1/tcp/1",
        "/ip4/1.2.3.4/udp/1",
        "/ip4/1.2.3.4/tcp/65536",
        "/ip4/1.2.3.4/tcp/-1",
        "/ip4/1.2.3.4/tcp/\u0661",
        "/ip4/1.2.3.4/tcp/1/ws",
        "/ip4/1.2.3.4/tcp/1/http/x",
        "/dns/-/../x/tcp/1",
        "/dns/a b/tcp/1",
        "/dns//tcp/1",
        "/dns/" + "a" * 200 + "/tcp/1",
    ],
)
def test_bad_addresses_are_named(address: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_endpoint(address)


@given(st.text(max_size=60))
def test_any_text_is_an_endpoint_or_a_value_error(text: str) -> None:
    try:
        assert isinstance(parse_endpoint(text), Endpoint)
    except ValueError:
        assert clean_addresses([text]) == ()


def test_a_bootstrap_address_names_its_peer() -> None:
    with pytest.raises(ValueError, match="does not end in /p2p/PEER_ID"):
        parse_peer_address("/ip4/1.2.3.4/tcp/1")


def test_any_of_mine_becomes_the_host_that_was_seen() -> None:
    told = ["/ip4/0.0.0.0/tcp/7", "/ip4/10.0.0.1/tcp/8", "junk", "/ip6/::/tcp/7"]
    assert seen_from(told, "9.9.9.9") == ("/ip4/9.9.9.9/tcp/7", "/ip4/10.0.0.1/tcp/8")


def test_a_name_becomes_the_host_that_was_seen_where_names_are_not_believed() -> None:
    told = ["/dns/x.example/tcp/7", "/ip4/9.9.9.9/tcp/7", "/ip4/9.9.9.8/tcp/8"]
    assert seen_from(told, "9.9.9.9") == tuple(told)
    assert seen_from(told, "9.9.9.9", names_too=True) == ("/ip4/9.9.9.9/tcp/7", "/ip4/9.9.9.8/tcp/8")
