"""An attacker with nearly all addresses cannot come between a node and the honest (Heilman et al. 2015)."""

import json
import random
from pathlib import Path

import trio
from trio.testing import MockClock

from p2p.addresses.bucket_table import BUCKET_SIZE, SHARE
from p2p.keepsakes import ANCHORS, SAVING_PAUSE
from p2p.limits import Limits
from p2p.network import Direction, PeerId
from p2p.peers.anchors import LASTING_SECONDS
from p2p.wire.faults import Fault
from tests.p2p.internet import Internet, Remote, Victim, victim

HONEST, BAD = 20, 380
"""The attacker has 95 % of all addresses."""

LIMITS = Limits(max_outbound=12, max_inbound=24, inbound_per_group=8, ping_interval=300)


def world(*, groups: int) -> tuple[Internet, list[Remote], list[Remote]]:
    """Honest peers in a group each; the attacker's in so many others."""
    internet = Internet()
    honest = [internet.add(f"honest{n}", f"{30 + n}.1.1.1", honest=True) for n in range(HONEST)]
    bad = [
        internet.add(
            f"bad{n}", f"{60 + n % groups}.9.{n // groups % 200}.{9 + n // groups // 200}", honest=False
        )
        for n in range(BAD)
    ]
    rumours = [(remote.peer, (remote.address,)) for remote in bad]
    rng = random.Random(3)
    for remote in bad:
        remote.tells = rng.sample(rumours, 16)
    return internet, honest, bad


async def storm(here: Victim, bad: list[Remote], *, seconds: int) -> None:
    """All that the attacker has, again and again: connections, and rumours of itself."""
    rng = random.Random(5)
    for _ in range(seconds // 20):
        for remote in rng.sample(bad, 10):
            if remote.peer not in here.roster.sessions:
                here.arrive(remote)
        await trio.sleep(20)


async def settle(here: Victim, honest: list[Remote]) -> None:
    """A node that met honest peers and has been up for a while."""
    for remote in honest[:3]:
        remote.tells = [(other.peer, (other.address,)) for other in honest]
    await trio.sleep(LASTING_SECONDS + 60)


async def test_places_that_were_chosen_outlive_a_storm(autojump_clock: MockClock) -> None:
    internet, honest, bad = world(groups=160)
    async with victim(internet, honest[0], limits=LIMITS) as here:
        await settle(here, honest)
        chosen = here.honest(Direction.OUTBOUND)
        callers = [remote for remote in honest if remote.peer not in here.roster.sessions]
        assert len(chosen) >= 8
        assert all(here.arrive(remote) for remote in callers)
        await trio.sleep(60)
        before = here.honest()
        assert len(before) == HONEST
        await storm(here, bad, seconds=400)
        assert here.honest(Direction.OUTBOUND) == chosen
        assert len(here.honest() & before) >= len(chosen) + len(callers) // 2
        assert len(list(here.sessions(Direction.INBOUND))) <= LIMITS.max_inbound


async def test_places_that_get_free_are_not_all_the_attackers(autojump_clock: MockClock) -> None:
    internet, honest, bad = world(groups=5)
    async with victim(internet, honest[0], limits=LIMITS) as here:
        await settle(here, honest)
        await storm(here, bad, seconds=600)
        for peer in sorted(here.honest(Direction.OUTBOUND)):
            here.roster.sessions[peer].link.connection.end("cable pulled")
        await trio.sleep(300)
        ours = list(here.sessions(Direction.OUTBOUND))
        assert len(ours) >= 8
        # Five groups, two places in each.
        assert sum(not remote.is_honest for remote in ours) <= 5 * LIMITS.outbound_per_group
        assert len(here.honest(Direction.OUTBOUND)) >= 3


async def test_committee_links_hold_and_are_made_in_the_middle_of_a_storm(autojump_clock: MockClock) -> None:
    internet, _, bad = world(groups=160)
    members = [internet.add(f"member{n}", f"20.20.20.{n + 1}", honest=True) for n in range(7)]
    async with victim(internet, limits=LIMITS) as here:
        # It has never met an honest peer: the first thing that it knows is the attacker.
        await storm(here, bad, seconds=300)
        assert here.honest() == set()
        assert len(list(here.sessions(Direction.OUTBOUND))) == LIMITS.max_outbound
        here.keep(*members)
        with trio.fail_after(15):
            while len(here.honest()) < len(members):  # noqa: ASYNC110 - the clock jumps
                await trio.sleep(0.5)
        await storm(here, bad, seconds=300)
        assert here.honest() >= {member.peer for member in members}, "seven in one group, and no place taken"
        members[0].is_up = False
        here.roster.sessions[members[0].peer].link.connection.end("cable pulled")
        await storm(here, bad, seconds=600)
        members[0].is_up = True
        await storm(here, bad, seconds=60)
        assert members[0].peer in here.roster.sessions, "dialed for as long as it takes"
        here.keep()
        here.roster.sessions[members[0].peer].link.connection.end("cable pulled")
        await trio.sleep(1)
        assert here.roster.is_kept(members[0].peer) is False


async def test_anchors_lead_back_from_a_poisoned_book(autojump_clock: MockClock, tmp_path: Path) -> None:
    internet, honest, bad = world(groups=160)
    path = tmp_path / "peers.json"
    async with victim(internet, honest[0], limits=LIMITS, memory=path) as here:
        await settle(here, honest)
        anchors = [PeerId(peer) for peer, _ in json.loads((tmp_path / ANCHORS).read_text())["anchors"]]
        assert len(anchors) == 2
        assert set(anchors) <= here.honest(Direction.OUTBOUND)
    book = json.loads(path.read_text())
    at = book["tried"][0][1]
    book["tried"] = [[remote.peer, at, [remote.address]] for remote in bad]
    book["heard"] = []
    path.write_text(json.dumps(book))
    for remote in honest:
        remote.tells = [(other.peer, (other.address,)) for other in honest]
    # No bootstrap peer this time.
    async with victim(internet, limits=LIMITS, memory=path, seed=2) as here:
        await trio.sleep(0.05)
        assert set(here.dialed[:2]) == set(anchors)
        await storm(here, bad, seconds=600)
        assert set(anchors) <= here.honest(Direction.OUTBOUND)
        await trio.sleep(SAVING_PAUSE)
        again = [PeerId(peer) for peer, _ in json.loads((tmp_path / ANCHORS).read_text())["anchors"]]
        assert again == anchors, "whoever was ours before stays ours"


async def test_an_anchor_gives_way_only_to_a_peer_that_lasted(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    internet, honest, bad = world(groups=160)
    path = tmp_path / "peers.json"

    def stored() -> set[str]:
        return {peer for peer, _ in json.loads((tmp_path / ANCHORS).read_text())["anchors"]}

    async with victim(internet, honest[0], limits=LIMITS, memory=path) as here:
        await settle(here, honest)
    before = stored()
    for remote in honest:
        remote.is_up = False
    async with victim(internet, limits=LIMITS, memory=path) as here:
        await storm(here, bad, seconds=int(LASTING_SECONDS) // 2)
        assert len(list(here.sessions(Direction.OUTBOUND))) >= 8
        assert stored() == before, "killed again now, it would still know its friends"
        await storm(here, bad, seconds=int(LASTING_SECONDS))
        assert not stored() & before


async def test_one_neighbourhood_cannot_fill_the_book(autojump_clock: MockClock) -> None:
    internet, honest, bad = world(groups=1)
    async with victim(internet, honest[0], limits=LIMITS) as here:
        await settle(here, honest)
        await storm(here, bad, seconds=600)
        known = [internet.remotes[peer] for peer in here.book.peers()]
        assert sum(not remote.is_honest for remote in known) <= 2 * SHARE * BUCKET_SIZE
        assert sum(remote.is_honest for remote in known) == HONEST
        assert sum(not r.is_honest for r in here.sessions(Direction.OUTBOUND)) <= 2
        assert sum(not r.is_honest for r in here.sessions(Direction.INBOUND)) <= LIMITS.inbound_per_group


async def test_a_local_testnet_becomes_a_mesh_whatever_the_limits_by_group(autojump_clock: MockClock) -> None:
    internet = Internet()
    near = [internet.add(f"n{n}", f"127.0.1.{n + 1}", honest=True) for n in range(30)]
    near[0].tells = [(remote.peer, (remote.address,)) for remote in near]
    async with victim(internet, near[0], limits=Limits()) as here:
        await trio.sleep(30)
        assert len(here.honest(Direction.OUTBOUND)) == 30


async def test_who_came_and_left_is_forgotten_by_everyone_who_was_told(autojump_clock: MockClock) -> None:
    """A new identity costs nothing: what it leaves behind must not cost anything either."""
    internet = Internet()
    stays = internet.add("stays", "30.1.1.1", honest=True)
    async with victim(internet, limits=LIMITS) as here:
        here.arrive(stays)
        session = here.roster.sessions[stays.peer]
        for n in range(40):
            remote = internet.add(f"bad{n}", f"{60 + n}.9.1.1", honest=False)
            assert here.arrive(remote)
            assert list(here.roster._news_for(session)), "it is told of"
            here.roster.sessions[remote.peer].end(Fault.CONNECTION_LOST, "gone")
            await trio.sleep(1)
        # Some were dialed back and are here again.
        assert len(here.roster.sessions) < 40
        assert session.told <= here.roster.sessions.keys()
