"""Addresses as text, and the book that keeps them."""

import json
import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.address_book import MAX_KNOWN, AddressBook, save
from p2p.addresses import Endpoint, clean_addresses, parse_endpoint, parse_peer_address, seen_from
from p2p.network import PeerId

A, B = PeerId("a"), PeerId("b")


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


def test_a_book_keeps_the_freshest_addresses_first() -> None:
    book = AddressBook()
    for port in (1, 2, 3, 4, 5, 2):
        book.see(A, [f"/ip4/1.1.1.1/tcp/{port}"])
    assert book.addresses(A) == tuple(f"/ip4/1.1.1.1/tcp/{port}" for port in (2, 5, 4, 3))
    book.see(B, ["nonsense", "/ip4/1.1.1.1/tcp/0"])
    book.hear(B, ["nonsense"])
    assert book.peers() == (A,)


def test_hearsay_comes_after_what_was_seen_and_cannot_push_it_out() -> None:
    book = AddressBook(pinned=frozenset([B]))
    book.see(B, ["/ip4/2.2.2.2/tcp/2"])
    book.see(A, ["/ip4/1.1.1.1/tcp/1"])
    for n in range(MAX_KNOWN + 10):
        book.hear(PeerId(str(n)), ["/ip4/1.1.1.1/tcp/1"])
    book.hear(A, [f"/ip4/6.6.6.6/tcp/{port}" for port in range(1, 100)])
    assert book.addresses(A)[0] == "/ip4/1.1.1.1/tcp/1"
    assert len(book.addresses(A)) == 5
    assert len(book) == MAX_KNOWN + 1
    for n in range(MAX_KNOWN + 10):
        book.see(PeerId(f"x{n}"), ["/ip4/1.1.1.1/tcp/1"])
    assert book.addresses(B) == ("/ip4/2.2.2.2/tcp/2",)
    assert "6.6.6.6" not in book.text()


def test_a_book_is_bounded() -> None:
    book = AddressBook()
    for n in range(MAX_KNOWN + 10):
        book.see(PeerId(str(n)), ["/ip4/1.1.1.1/tcp/1"])
    assert (len(book), book.addresses(PeerId("0"))) == (MAX_KNOWN, ())


def test_a_book_survives_its_file(tmp_path: Path) -> None:
    path, book = tmp_path / "peers.json", AddressBook()
    book.load(path)
    book.see(A, ["/ip4/1.1.1.1/tcp/1", "/dns/x/tcp/2"])
    assert book.changed
    save(path, book.text())
    again = AddressBook()
    again.load(path)
    assert (again.addresses(A), again.changed, book.changed) == (book.addresses(A), False, False)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "content", [b"", b"[]", b'{"version": 2}', b'{"version":1,"peers":{"a":1}}', b"\xff", b"[" * 100_000]
)
def test_an_unreadable_file_is_set_aside(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "peers.json"
    path.write_bytes(content)
    book = AddressBook()
    with caplog.at_level(logging.WARNING):
        book.load(path)
    assert "address_book_set_aside" in caplog.text
    assert (len(book), path.exists()) == (0, False)
    assert (tmp_path / "peers.json.unreadable").read_bytes() == content


def test_strange_entries_of_a_readable_file_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "peers.json"
    path.write_text(json.dumps({"version": 1, "peers": {"a": [1, "x", "/ip4/1.1.1.1/tcp/1"], "b": []}}))
    book = AddressBook()
    book.load(path)
    assert (book.peers(), book.addresses(A)) == ((A,), ("/ip4/1.1.1.1/tcp/1",))
