"""Network groups, and who gets a place when places are short."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.addresses.groups import NAMES, Group, group_of, group_of_host
from p2p.limits import Limits
from p2p.network import Direction, PeerId
from p2p.peers.pairing import dials
from p2p.peers.slots import PROTECTED_GROUPS, PROTECTED_USEFUL, NoRoom, Room, Seat, loser, room_for

SECRET = b"secret of these tests"
LIMITS = Limits(max_outbound=8, outbound_per_group=2, max_inbound=40, inbound_per_group=6)
A, B = Group("1.2.0.0/16"), Group("3.4.0.0/16")


def seat(name: str, group: Group | None, since: float = 0, **rest: object) -> Seat:
    return Seat(PeerId(name), Direction.INBOUND, group, since, **rest)  # type: ignore[arg-type]


def chosen(name: str, group: Group | None = None, **rest: object) -> Seat:
    return Seat(PeerId(name), Direction.OUTBOUND, group, 0, **rest)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("address", "group"),
    [
        ("/ip4/1.2.3.4/tcp/1", "1.2.0.0/16"),
        ("/ip6/2a00:1450:4001:82b::200e/tcp/1", "2a00:1450::/32"),
        ("/ip6/::ffff:1.2.3.4/tcp/1", "1.2.0.0/16"),
        ("/ip6/2002:102:304::1/tcp/1", "1.2.0.0/16"),
        ("/ip6/64:ff9b::102:304/tcp/1", "1.2.0.0/16"),
        ("/dns/node.example.org/tcp/1", NAMES),
        ("/ip4/127.0.0.1/tcp/1", None),
        ("/ip4/10.1.2.3/tcp/1", None),
        ("/ip4/192.168.1.1/tcp/1", None),
        ("/ip6/::1/tcp/1", None),
        ("/ip6/fd00::1/tcp/1", None),
        ("nonsense", None),
    ],
)
def test_a_group_is_what_one_owner_gets_together(address: str, group: str | None) -> None:
    assert group_of(address) == group


def test_a_socket_without_a_host_has_no_group() -> None:
    assert group_of_host("") is None


def test_every_node_dials_about_half_of_the_others() -> None:
    peers = [PeerId(f"12D3Koo{n}") for n in range(200)]
    counts = [sum(dials(here, there) for there in peers if there != here) for here in peers]
    assert sum(counts) == 200 * 199 // 2, "of every two exactly one"
    assert min(counts) > 60


def test_outbound_places_are_counted_apart_and_by_group() -> None:
    crowd = [seat(f"in{n}", A) for n in range(40)]
    ours = [chosen(f"out{n}", Group(f"{n}.1.0.0/16")) for n in range(7)]
    assert room_for(chosen("x", A), crowd + ours, LIMITS, secret=SECRET) == Room()
    assert room_for(chosen("x", A), [*ours, chosen("y", B)], LIMITS, secret=SECRET) == NoRoom(
        "8 peers that we dialed are connected"
    )
    two = [chosen("a", A), chosen("b", A)]
    assert room_for(chosen("x", A), two, LIMITS, secret=SECRET) == NoRoom(
        "2 peers that we dialed are in 1.2.0.0/16"
    )
    assert room_for(chosen("x", B), two, LIMITS, secret=SECRET) == Room()
    near = [chosen(f"near{n}") for n in range(7)]
    assert room_for(chosen("x"), near, LIMITS, secret=SECRET) == Room(), "a local testnet is one group"


def test_kept_peers_need_no_place_and_take_none() -> None:
    kept = [chosen(f"kept{n}", A, is_kept=True) for n in range(50)]
    assert room_for(chosen("x", A), kept, LIMITS, secret=SECRET) == Room()
    full = [chosen(f"out{n}", Group(f"{n}.1.0.0/16")) for n in range(8)]
    assert room_for(chosen("x", A, is_kept=True), full, LIMITS, secret=SECRET) == Room()
    crowd = [seat(f"in{n}", None) for n in range(40)]
    assert room_for(seat("x", A, is_kept=True), crowd, LIMITS, secret=SECRET) == Room()


def test_the_youngest_of_the_largest_group_goes() -> None:
    old = [seat(f"old{n}", Group(f"{n}.1.0.0/16"), since=n) for n in range(20)]
    young = [seat(f"young{n}", A, since=100 + n) for n in range(20)]
    assert loser(old + young, secret=SECRET) == "young19"
    useful = [seat(f"young{n}", A, since=100 + n, answered_at=float(n)) for n in range(20)]
    assert loser(old + useful, secret=SECRET) == f"young{19 - PROTECTED_USEFUL}"


def test_who_has_earned_its_place_is_not_sent_away() -> None:
    few = [seat(f"a{n}", Group(f"{n}.1.0.0/16")) for n in range(PROTECTED_GROUPS)]
    limits = Limits(max_inbound=PROTECTED_GROUPS)
    assert loser(few, secret=SECRET) is None
    assert room_for(seat("x", B), few, limits, secret=SECRET) == NoRoom(
        "4 peers that dialed us are connected"
    )


def test_a_full_group_makes_room_within_itself() -> None:
    same = [seat(f"a{n}", A, since=n) for n in range(6)]
    others = [seat("b", B, since=9)]
    assert room_for(seat("x", A, since=10), same + others, LIMITS, secret=SECRET) == Room(PeerId("a5"))


def test_a_flood_from_everywhere_leaves_the_old_and_the_useful() -> None:
    """An attacker with a thousand identities in a hundred groups against ten honest peers."""
    rng = random.Random(7)
    honest = {f"h{n}" for n in range(10)}
    seats = [seat(f"h{n}", Group(f"50.{n}.0.0/16"), since=n, answered_at=float(n)) for n in range(10)]
    evicted = []
    for n in range(1000):
        new = seat(f"bad{n}", Group(f"{rng.randrange(60, 160)}.9.0.0/16"), since=100 + n)
        room = room_for(new, seats, LIMITS, secret=SECRET)
        if isinstance(room, NoRoom):
            continue
        if room.loser is not None:
            evicted.append(room.loser)
        seats = [s for s in seats if s.peer != room.loser] + [new]
    assert len(evicted) > 900
    assert not honest & set(evicted)
    assert len(seats) == LIMITS.max_inbound


GROUPS = st.sampled_from([None, A, B, Group("5.6.0.0/16")])
SEATS = st.builds(
    Seat,
    peer=st.integers(0, 60).map(lambda n: PeerId(f"p{n}")),
    direction=st.sampled_from(Direction),
    group=GROUPS,
    since=st.integers(0, 1000).map(float),
    answered_at=st.sampled_from([float("-inf"), 1.0, 2.0]),
    is_kept=st.booleans(),
)


@given(st.lists(SEATS, max_size=120))
def test_nobody_who_comes_costs_us_whom_we_chose(arrivals: list[Seat]) -> None:
    limits = Limits(max_outbound=5, outbound_per_group=2, max_inbound=9, inbound_per_group=4)
    taken: dict[PeerId, Seat] = {}
    for new in arrivals:
        if new.peer in taken:
            continue
        room = room_for(new, taken.values(), limits, secret=SECRET)
        if isinstance(room, NoRoom):
            assert not new.is_kept
            continue
        if room.loser is not None:
            gone = taken.pop(room.loser)
            assert gone.direction is new.direction is Direction.INBOUND
            assert not gone.is_kept
        taken[new.peer] = new
        ordinary = [s for s in taken.values() if not s.is_kept]
        ours = [s for s in ordinary if s.direction is Direction.OUTBOUND]
        assert len(ours) <= 5
        assert len(ordinary) - len(ours) <= 9
        for group in {s.group for s in ordinary if s.group}:
            assert sum(s.group == group for s in ours) <= 2
            assert sum(s.group == group for s in ordinary if s not in ours) <= 4
