"""Which peers speak for the committee: learned from anybody, believed of its keys alone."""

import json
import random
from collections.abc import Mapping
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey
from trio.testing import MockClock

from p2p.limits import Limits
from p2p.memory import MemoryHub, open_hub
from p2p.memory_node import MemoryNetwork
from p2p.network import Lane, PeerId
from p2p.peers.committee_links import ASKING_SECONDS, METHOD, CommitteeLinks, LinkRules
from p2p.peers.credentials import Credential, decode_credentials, make_credential
from p2p.wire.faults import PeerFault
from tests.p2p.nodes import TAG, node, peers_are, until

KEYS = [SigningKey(bytes([n]) * 32) for n in range(8)]
PUBLIC = [bytes(key.verify_key) for key in KEYS]


def verify(key: bytes, message: bytes, signature: bytes) -> bool:
    try:
        VerifyKey(key).verify(message, signature)
    except (BadSignatureError, ValueError):
        return False
    return True


def credential(n: int, *, serial: int = 1, peer: str = "", tag: bytes = TAG, signer: int = -1) -> Credential:
    """What key `n` says, or key `signer` says in its name."""
    return make_credential(
        lambda message: KEYS[n if signer < 0 else signer].sign(message).signature,
        key=PUBLIC[n],
        chain_tag=tag,
        serial=serial,
        peer=PeerId(peer or f"peer{n}"),
        addresses=(f"/ip4/1.1.1.{n + 1}/tcp/1", "/ip4/0.0.0.0/tcp/1"),
    )


class Side:
    """One node of the hub with its links, in a committee of keys 0 to 3 until told otherwise."""

    def __init__(
        self, network: MemoryNetwork, own: Credential | None = None, *, path: Path | None = None
    ) -> None:
        self.network = network
        self.holders = frozenset(PUBLIC[:4])
        self.kept: Mapping[PeerId, tuple[str, ...]] = {}
        rules = LinkRules(TAG, verify, holders=lambda: self.holders)
        self.links = CommitteeLinks(network, rules, keep=self.keep, own=own, path=path)

    def keep(self, members: Mapping[PeerId, tuple[str, ...]]) -> None:
        self.kept = members


def join(hub: MemoryHub, n: int, *, own: bool = True) -> Side:
    return Side(hub.join(PeerId(f"peer{n}")), credential(n) if own else None)


def teller(network: MemoryNetwork, *credentials: Credential | bytes) -> None:
    """Have `network` answer with whatever this is."""
    body = b"".join(c if isinstance(c, bytes) else c.encode() for c in credentials)

    async def answer(_peer: PeerId, _payload: bytes) -> bytes:
        return body

    network.set_handler(METHOD, answer, limit=32)


async def test_an_observer_learns_the_committee_from_one_member(autojump_clock: MockClock) -> None:
    async with open_hub(rng=random.Random(1)) as hub, trio.open_nursery() as nursery:
        sides = [join(hub, n) for n in range(4)]
        observer = Side(hub.join(PeerId("observer"), connect=False))
        stranger = Side(hub.join(PeerId("peer7"), connect=False), credential(7))
        for side in (*sides, observer, stranger):
            nursery.start_soon(side.links.run)
        hub.connect(PeerId("observer"), PeerId("peer2"))
        hub.connect(PeerId("peer7"), PeerId("peer2"))
        await trio.sleep(2 * ASKING_SECONDS)
        everybody = {PeerId(f"peer{n}"): (f"/ip4/1.1.1.{n + 1}/tcp/1",) for n in range(4)}
        assert observer.kept == stranger.kept == everybody
        assert sides[2].kept == {p: a for p, a in everybody.items() if p != "peer2"}
        nursery.cancel_scope.cancel()


async def test_who_names_the_peer_of_another_takes_no_address_from_it(autojump_clock: MockClock) -> None:
    async with open_hub(rng=random.Random(1)) as hub, trio.open_nursery() as nursery:
        both = [credential(0), credential(1), credential(2, peer="peer1"), credential(3, peer="peer1")]
        teller(hub.join(PeerId("peer9")), *both)
        observer = Side(hub.join(PeerId("observer")))
        nursery.start_soon(observer.links.run)
        await trio.sleep(2 * ASKING_SECONDS)
        assert set(observer.kept[PeerId("peer1")]) == {f"/ip4/1.1.1.{n}/tcp/1" for n in (2, 3, 4)}
        nursery.cancel_scope.cancel()


async def test_who_loses_the_seat_is_kept_no_longer(autojump_clock: MockClock) -> None:
    async with open_hub(rng=random.Random(1)) as hub, trio.open_nursery() as nursery:
        sides = [join(hub, n) for n in range(5)]
        for side in sides:
            nursery.start_soon(side.links.run)
        await trio.sleep(2 * ASKING_SECONDS)
        assert set(sides[0].kept) == {"peer1", "peer2", "peer3"}
        for side in sides:
            side.holders = frozenset(PUBLIC[2:5])
        await trio.sleep(2 * ASKING_SECONDS)
        assert set(sides[0].kept) == {"peer2", "peer3", "peer4"}
        assert set(sides[4].kept) == {"peer2", "peer3"}
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("told", "kept", "points"),
    [
        ([credential(1)], {"peer1"}, 0),
        ([credential(1, serial=5, peer="new"), credential(1)], {"new"}, 0),
        ([credential(1), credential(1, serial=5, peer="new")], {"new"}, 0),
        ([credential(6)], set(), 0),
        ([credential(6, signer=7)], set(), 0),
        ([credential(1, signer=7)], set(), -50),
        ([credential(1, tag=b"another chain".ljust(32))], set(), -50),
        ([credential(1), credential(2, signer=7)], {"peer1"}, -50),
        ([credential(1).encode()[:-1]], set(), -50),
        ([b"\xff" * 1000], set(), -50),
        ([credential(7).encode() * 1025], set(), -50),
    ],
)
async def test_what_a_peer_tells(
    autojump_clock: MockClock, told: list[Credential | bytes], kept: set[str], points: int
) -> None:
    async with open_hub(rng=random.Random(1)) as hub, trio.open_nursery() as nursery:
        side = Side(hub.join(PeerId("me")))
        source = hub.join(PeerId("source"))
        teller(source, *told)
        nursery.start_soon(side.links.run)
        await trio.sleep(5)
        assert set(side.kept) == kept
        assert round(side.network.scores.score(PeerId("source"), trio.current_time()) / 50) * 50 == points
        nursery.cancel_scope.cancel()


async def test_nobody_else_says_who_we_are(autojump_clock: MockClock) -> None:
    async with open_hub(rng=random.Random(1)) as hub, trio.open_nursery() as nursery:
        side = join(hub, 0)
        teller(hub.join(PeerId("source")), credential(0, serial=9, peer="thief"))
        nursery.start_soon(side.links.run)
        await trio.sleep(5)
        assert (side.kept, side.links.known) == ({}, (credential(0),))
        nursery.cancel_scope.cancel()


def test_a_file_is_checked_like_any_stranger(tmp_path: Path) -> None:
    path = tmp_path / "committee.json"

    async def run(path: Path) -> set[str]:
        async with open_hub(rng=random.Random(1)) as hub, trio.open_nursery() as nursery:
            side = Side(hub.join(PeerId("me")), path=path)
            nursery.start_soon(side.links.run)
            with trio.fail_after(10):
                await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        return set(side.kept)

    good, forged = credential(1).encode().hex(), credential(2, signer=7).encode().hex()
    path.write_text(json.dumps({"version": 1, "credentials": [good, forged, credential(6).encode().hex()]}))
    assert trio.run(run, path) == {"peer1"}
    path.write_text(json.dumps({"version": 1, "credentials": [good, good[:-2]]}))
    assert trio.run(run, path) == set()
    assert (tmp_path / "committee.json.unreadable").exists()


async def test_two_real_nodes_tell_each_other(tmp_path: Path) -> None:
    async with node(1) as a, node(2, a) as b, trio.open_nursery() as nursery:
        await peers_are(a, b)
        rules = LinkRules(TAG, verify, holders=lambda: frozenset(PUBLIC[:2]))
        for n, here in enumerate((a, b)):
            own = make_credential(
                lambda message, n=n: KEYS[n].sign(message).signature,  # type: ignore[misc]
                key=PUBLIC[n], chain_tag=TAG, serial=1, peer=here.local_id, addresses=here.told_addresses,
            )  # fmt: skip
            path = tmp_path / f"{n}.json"
            nursery.start_soon(CommitteeLinks(here, rules, keep=here.keep, own=own, path=path).run)
        await until(lambda: a._roster.is_kept(b.local_id) and b._roster.is_kept(a.local_id))
        assert a._book.addresses(b.local_id)[0] == b.told_addresses[0]
        # A session that began as a stranger's has the committee's rate from now on.
        bucket = a._roster.sessions[b.local_id]._buckets[Lane.CONSENSUS]
        assert bucket._rate == Limits().consensus_rate
        await until(lambda: (tmp_path / "0.json").exists())
        nursery.cancel_scope.cancel()


@given(st.binary(max_size=400))
def test_any_bytes_are_credentials_or_a_fault(data: bytes) -> None:
    try:
        found = decode_credentials(data, limit=8)
    except PeerFault:
        return
    assert b"".join(one.encode() for one in found) == data
