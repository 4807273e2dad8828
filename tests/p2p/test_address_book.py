"""The book that keeps addresses, its shares, and its file."""

import json
import logging
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from p2p import files
from p2p.addresses.address_book import TRIED_SECONDS, AddressBook
from p2p.addresses.bucket_table import BUCKET_SIZE, BUCKETS, SHARE, BucketTable, Entry
from p2p.addresses.groups import group_of
from p2p.addresses.multiaddrs import parse_endpoint
from p2p.network import PeerId

A, B = PeerId("a"), PeerId("b")
FULL = BUCKETS * BUCKET_SIZE
FROM_A_GROUP = SHARE * BUCKET_SIZE
SOURCE, OTHER = "/ip4/8.8.1.1/tcp/1", "/ip4/9.9.1.1/tcp/1"


class Clock:
    def __init__(self) -> None:
        self.now = 1e9

    def __call__(self) -> float:
        return self.now


def book(secret: int = 7, clock: Clock | None = None) -> AddressBook:
    return AddressBook(now=clock or Clock(), secret=bytes([secret]) * 32)


def somewhere(n: int) -> str:
    """An address in a group of its own, for n up to 10,000."""
    return f"/ip4/{20 + n // 200}.{n % 200}.1.1/tcp/1"


def test_the_freshest_address_comes_first() -> None:
    known = book()
    for port in (1, 2, 3, 4, 5, 2):
        known.reached(A, [f"/ip4/1.1.1.1/tcp/{port}"])
    assert known.addresses(A) == tuple(f"/ip4/1.1.1.1/tcp/{port}" for port in (2, 5, 4, 3))
    known.reached(B, ["nonsense", "/ip4/1.1.1.1/tcp/0"])
    known.hear(B, ["nonsense"], source=SOURCE)
    assert known.peers() == (A,)


def test_hearsay_stands_beside_the_truth_and_after_it() -> None:
    known = book()
    known.reached(A, ["/ip4/1.1.1.1/tcp/1"])
    known.hear(A, [f"/ip4/6.6.6.6/tcp/{port}" for port in range(1, 100)], source=SOURCE)
    known.hear(A, ["/ip4/7.7.7.7/tcp/7"], source=OTHER)
    known.hear(A, ["/ip4/1.1.1.1/tcp/2"], source="/ip4/1.1.1.1/tcp/1", itself=True)
    assert known.addresses(A) == (
        "/ip4/1.1.1.1/tcp/1",
        "/ip4/1.1.1.1/tcp/2",
        *(f"/ip4/6.6.6.6/tcp/{port}" for port in range(1, 5)),
        "/ip4/7.7.7.7/tcp/7",
    )
    known.pin(A, ["/dns/a.example/tcp/9"])
    assert known.addresses(A)[:2] == ("/dns/a.example/tcp/9", "/ip4/1.1.1.1/tcp/1")
    known.unpin(A)
    assert known.addresses(A)[0] == "/ip4/1.1.1.1/tcp/1"


def test_a_source_changes_its_own_word_only() -> None:
    known = book()
    known.hear(A, [somewhere(1)], source=SOURCE)
    known.hear(A, [somewhere(2)], source=OTHER)
    known.hear(A, [somewhere(3)], source="/ip4/8.8.99.99/tcp/77")
    assert set(known.addresses(A)) == {somewhere(3), somewhere(2)}


def test_nobody_far_away_speaks_of_what_is_near() -> None:
    known = book()
    near = ["/ip4/127.0.0.1/tcp/22", "/ip4/192.168.1.1/tcp/80", "/ip6/fd00::1/tcp/1"]
    known.hear(A, near, source=SOURCE)
    assert known.peers() == ()
    known.hear(A, near, source="/ip4/192.168.1.7/tcp/1")
    assert known.addresses(A) == tuple(near)


NAMES = ["/dns/localhost/tcp/22", "/dns4/rebind.example/tcp/80", "/dns/127.1/tcp/1"]


def test_nobody_far_away_speaks_in_names() -> None:
    known = book()
    for itself in (False, True):
        known.hear(A, NAMES, source=SOURCE, itself=itself)
    assert known.peers() == ()
    known.hear(A, NAMES, source="/ip4/192.168.1.7/tcp/1")
    assert [parse_endpoint(address).host for address in known.addresses(A)] == [
        "localhost", "rebind.example", "127.1",
    ]  # fmt: skip


def test_whom_we_reached_far_away_is_believed_of_far_addresses_alone() -> None:
    near = ["/ip4/127.0.0.1/tcp/22", "/ip6/fd00::1/tcp/1"]
    known = book()
    known.reached(A, [somewhere(1), *NAMES, *near, somewhere(2)])
    assert known.addresses(A) == (somewhere(1), somewhere(2))
    # A name that we dialed stays; where it led says what else is believed.
    known.reached(B, ["/dns/b.example/tcp/1", *near, somewhere(3)])
    assert known.addresses(B) == ("/dns/b.example/tcp/1", somewhere(3))
    known.reached(B, ["/dns/b.example/tcp/1", *near], source="/ip4/10.0.0.7/tcp/0")
    assert known.addresses(B) == ("/dns/b.example/tcp/1", *near, somewhere(3))


def test_one_source_group_cannot_fill_the_book() -> None:
    known = book()
    for n in range(300):
        known.hear(PeerId(f"honest{n}"), [somewhere(n)], source=somewhere(1000 + n))
    before = len(known)
    for n in range(5000):
        known.hear(PeerId(f"bad{n}"), [somewhere(2000 + n % 5000)], source=f"/ip4/66.6.{n % 200}.6/tcp/1")
    bad = [peer for peer in known.peers() if peer.startswith("bad")]
    honest = [peer for peer in known.peers() if peer.startswith("honest")]
    assert before > 290
    assert len(bad) <= FROM_A_GROUP
    assert before - len(honest) <= 10, "a flood pushes out itself"


def test_one_group_of_addresses_cannot_fill_what_was_tried() -> None:
    clock = Clock()
    known = book(clock=clock)
    for n in range(300):
        known.reached(PeerId(f"honest{n}"), [somewhere(n)])
    before = len(known)
    for n in range(5000):
        clock.now += 1
        known.reached(PeerId(f"bad{n}"), [f"/ip4/66.6.{n % 250}.{n // 250}/tcp/1"])
    counts = Counter(peer.rstrip("0123456789") for peer in known.peers())
    assert counts["bad"] <= FROM_A_GROUP
    assert before - counts["honest"] <= 10


def test_a_local_testnet_fits_although_it_is_one_host() -> None:
    known = book()
    for n in range(200):
        known.hear(PeerId(f"n{n}"), [f"/ip4/127.0.0.1/tcp/{20000 + n}"], source="/ip4/127.0.0.1/tcp/1")
    assert len(known) == 200
    for n in range(200):
        known.reached(PeerId(f"n{n}"), [f"/ip4/127.0.0.1/tcp/{20000 + n}"])
    assert all(known.was_tried(PeerId(f"n{n}")) for n in range(200))


def test_places_depend_on_the_secret() -> None:
    def places(secret: int) -> list[str]:
        known = book(secret)
        for n in range(50):
            known.hear(PeerId(f"p{n}"), [somewhere(n)], source=somewhere(500 + n))
        return [known.bucket(peer) for peer in known.peers()]

    assert places(1) == places(1)
    assert places(1) != places(2)
    assert len(set(places(1))) > 20


def test_what_was_once_reached_outlives_a_cut_line() -> None:
    clock = Clock()
    known = book(clock=clock)
    known.reached(A, [somewhere(1)])
    known.hear(A, [somewhere(2)], source=SOURCE)
    known.hear(B, [somewhere(3)], source=SOURCE)
    assert known.gave_up(B)
    assert not known.gave_up(A)
    assert known.addresses(A) == (somewhere(1),)
    clock.now += TRIED_SECONDS + 1
    assert known.gave_up(A)
    assert known.peers() == ()


def test_a_book_survives_its_file(tmp_path: Path) -> None:
    path, known = tmp_path / "peers.json", book()
    known.load(path)
    known.reached(A, ["/dns/x/tcp/2", "/ip4/1.1.1.1/tcp/1"])
    known.hear(B, [somewhere(5)], source=SOURCE)
    known.hear(B, [somewhere(6)], source=OTHER)
    known.pin(PeerId("c"), [somewhere(7)])
    assert known.changed
    files.save(path, known.document())
    again = AddressBook(now=Clock())
    again.load(path)
    assert (again.changed, known.changed) == (False, False)
    assert [again.addresses(p) for p in again.peers()] == [known.addresses(p) for p in (A, B)]
    assert [again.bucket(p) for p in again.peers()] == [known.bucket(p) for p in (A, B)]
    assert again.document() == known.document()
    assert list(tmp_path.iterdir()) == [path]


GOOD: dict[str, Any] = {"version": 2, "secret": "07" * 32, "tried": [], "heard": []}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        b" " * (files.MAX_FILE + 1),
        b'{"version": 1, "peers": {}}',
        *(
            json.dumps(GOOD | wrong).encode()
            for wrong in (
                {"secret": "07"},
                {"secret": 7},
                {"tried": None},
                {"tried": [["a", 1]]},
                {"tried": [["a", "1", []]]},
                {"tried": [["", 1, []]]},
                {"tried": [["a" * 65, 1, []]]},
                {"heard": [["a", 5, 1, []]]},
                {"heard": [["a", "x", 1, "y"]]},
            )
        ),
    ],
)
def test_an_unreadable_file_is_set_aside(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "peers.json"
    path.write_bytes(content)
    known = book()
    with caplog.at_level(logging.WARNING):
        known.load(path)
    assert "file_set_aside" in caplog.text
    assert (len(known), path.exists()) == (0, False)
    assert (tmp_path / "peers.json.unreadable").read_bytes() == content


def test_strange_addresses_in_a_readable_file_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "peers.json"
    rows = [["a", 1, [1, "x", "/ip4/1.1.1.1/tcp/1"]], ["b", 10**12, []]]
    path.write_text(json.dumps(GOOD | {"tried": rows}))
    known = book()
    known.load(path)
    assert (known.peers(), known.addresses(A)) == ((A,), ("/ip4/1.1.1.1/tcp/1",))


def test_a_file_that_claims_too_much_fills_no_more_than_the_tables() -> None:
    rows = [[f"p{n}", f"s{n}", 1, [somewhere(n % 9000)]] for n in range(4000)]
    known = book()
    known._take(GOOD | {"heard": rows})
    assert len(known) <= FULL


ADDRESSES = st.builds(
    lambda a, b, c: f"/ip4/{a}.{b}.1.{c}/tcp/1", st.integers(20, 22), st.integers(0, 3), st.integers(1, 3)
) | st.sampled_from(["/ip4/127.0.0.1/tcp/5", "/dns/x/tcp/1", "/ip6/2a00:1::1/tcp/1", "junk"])
PEERS = st.integers(0, 40).map(lambda n: PeerId(f"p{n}"))


class Books(RuleBasedStateMachine):
    """Any order of what can happen to a book."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.book = book(clock=self.clock)
        self.pinned: set[PeerId] = set()

    @rule(peer=PEERS, where=st.lists(ADDRESSES, max_size=6), source=ADDRESSES, itself=st.booleans())
    def hear(self, peer: PeerId, where: list[str], source: str, itself: bool) -> None:
        self.book.hear(peer, where, source=source, itself=itself)

    @rule(peer=PEERS, where=st.lists(ADDRESSES, max_size=6))
    def reach(self, peer: PeerId, where: list[str]) -> None:
        self.book.reached(peer, where)

    @rule(peer=PEERS, where=st.lists(ADDRESSES, max_size=6))
    def pin(self, peer: PeerId, where: list[str]) -> None:
        self.book.pin(peer, where)
        self.pinned.add(peer)

    @rule(peer=PEERS)
    def unpin(self, peer: PeerId) -> None:
        self.book.unpin(peer)
        self.pinned.discard(peer)

    @rule(peer=PEERS)
    def give_up(self, peer: PeerId) -> None:
        gone = self.book.gave_up(peer)
        assert gone == (not self.book.knows(peer))

    @rule(seconds=st.sampled_from([1, 1000, TRIED_SECONDS]))
    def wait(self, seconds: int) -> None:
        self.clock.now += seconds

    @rule(first=st.integers(0, 900))
    def flood(self, first: int) -> None:
        for n in range(40):
            self.book.hear(PeerId(f"x{first + n}"), [somewhere(first)], source=somewhere(first % 3))

    @rule()
    def restart(self) -> None:
        document = json.loads(json.dumps(self.book.document()))
        again = book(9, self.clock)
        again._take(document)
        before = {p: self.book.addresses(p) for p in self.book.peers() if p not in self.pinned}
        after = {p: again.addresses(p) for p in again.peers() if p not in self.pinned}
        # Hearsay of different sources may come back in another order, but all of it does.
        assert {p: sorted(a) for p, a in before.items()} == {p: sorted(a) for p, a in after.items()}

    @invariant()
    def is_sound(self) -> None:
        for table in (self.book._tried, self.book._heard):
            assert sum(len(bucket) for bucket in table._buckets) == len(table)
            assert all(len(bucket) <= BUCKET_SIZE for bucket in table._buckets)
            for key in table:
                entry = table.get(key)  # type: ignore[arg-type]
                assert entry is not None
                assert key in table._buckets[table.bucket_of(key)]  # type: ignore[arg-type]
        assert set(self.book._sources) == {peer for peer, _ in self.book._heard}
        assert self.pinned <= set(self.book.peers())
        for peer in self.book.peers():
            assert self.book.knows(peer)
            assert self.book.bucket(peer)


Books.TestCase.settings = settings(max_examples=15, stateful_step_count=20, deadline=None)
TestBooks = Books.TestCase


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 300), st.integers(0, 9)), max_size=300))
def test_no_group_takes_more_than_its_share(puts: list[tuple[int, int, int]]) -> None:
    table: BucketTable[tuple[str]] = BucketTable(b"s" * 32, "t")
    for group, key, at in puts:
        table.put((f"{key}",), Entry((), f"g{group}", at))
    taken: dict[str, set[int]] = {}
    for name in table:
        entry = table.get(name)
        assert entry is not None
        taken.setdefault(entry.group, set()).add(table.bucket_of(name))
    assert all(len(buckets) <= SHARE for buckets in taken.values())


def test_the_addresses_of_these_tests_are_public() -> None:
    groups = {group_of(somewhere(n)) for n in random.Random(1).sample(range(10_000), 500)}
    assert len(groups - {None}) >= 495
