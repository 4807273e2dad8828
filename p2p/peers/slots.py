"""Who gets a place when places are short: pure, over what is known of each session.

Eclipse attacks fill a victim's places (Heilman et al., USENIX Security 2015). So:

- Places for peers that we dialed and for peers that dialed us are counted apart. Nobody who dials us can take
  the place of a peer that we chose, now or later.
- Of the peers that we choose, at most `Limits.outbound_per_group` come from one group (`groups`).
- A peer that dials us when its places are taken gets that of a worse one, if there is one (`loser`): never
  one of those that answered our questions lately, that stayed longest, or that sit where few others do.
- *Kept* peers need no place: the operator's bootstrap peers, and the peers of the committee's keys.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from p2p.addresses.groups import Group
from p2p.limits import Limits
from p2p.network import Direction, PeerId

PROTECTED_GROUPS: Final = 4
"""Sessions protected because a secret chose their groups: nobody can know which to move into."""

PROTECTED_USEFUL: Final = 8
"""Sessions protected because they were the latest to answer a question of ours."""


@dataclass(frozen=True, slots=True)
class Seat:
    """What counts about a session, or about one that would begin.

    Attributes:
        peer: Who sits there.
        direction: Who dialed.
        group: Where it comes from; None near us.
        since: When it began, seconds.
        answered_at: When it last answered a question of ours, seconds; minus infinity if never.
        is_kept: Needs no place.
    """

    peer: PeerId
    direction: Direction
    group: Group | None
    since: float
    answered_at: float = float("-inf")
    is_kept: bool = False


@dataclass(frozen=True, slots=True)
class Room:
    """There is a place, perhaps that of `loser`."""

    loser: PeerId | None = None


@dataclass(frozen=True, slots=True)
class NoRoom:
    """There is none; the sentence says why."""

    why: str


def room_for(new: Seat, taken: Iterable[Seat], limits: Limits, *, secret: bytes) -> Room | NoRoom:
    """Whether a session may begin beside those that are there, its own peer's not counted."""
    if new.is_kept:
        return Room()
    rivals = [s for s in taken if s.direction is new.direction and not s.is_kept and s.peer != new.peer]
    neighbours = [seat for seat in rivals if new.group is not None and seat.group == new.group]
    if new.direction is Direction.OUTBOUND:
        if len(rivals) >= limits.max_outbound:
            return NoRoom(f"{len(rivals)} peers that we dialed are connected")
        if len(neighbours) >= limits.outbound_per_group:
            return NoRoom(f"{len(neighbours)} peers that we dialed are in {new.group}")
        return Room()
    if len(neighbours) >= limits.inbound_per_group:
        return _place_of(loser(neighbours, secret=secret), f"{len(neighbours)} peers are from {new.group}")
    if len(rivals) >= limits.max_inbound:
        return _place_of(loser(rivals, secret=secret), f"{len(rivals)} peers that dialed us are connected")
    return Room()


def loser(seats: Sequence[Seat], *, secret: bytes) -> PeerId | None:
    """Who of `seats` has to go first; None if each has earned its place.

    The rule is Bitcoin's (`SelectNodeToEvict`) in short: protect what an attacker cannot have all of, then
    take the youngest of the largest group.
    """
    left = list(seats)
    for seat in _few_by_secret(left, secret):
        left.remove(seat)
    useful = [seat for seat in left if seat.answered_at > float("-inf")]
    for seat in sorted(useful, key=lambda seat: (-seat.answered_at, seat.peer))[:PROTECTED_USEFUL]:
        left.remove(seat)
    left.sort(key=lambda seat: (seat.since, seat.peer))
    left = left[(len(left) + 1) // 2 :]
    if not left:
        return None
    sizes: dict[str, int] = {}
    for seat in left:
        sizes[_group_or_peer(seat)] = sizes.get(_group_or_peer(seat), 0) + 1
    return max(left, key=lambda seat: (sizes[_group_or_peer(seat)], seat.since, seat.peer)).peer


def _few_by_secret(seats: Sequence[Seat], secret: bytes) -> list[Seat]:
    """The oldest session of each of a few groups that `secret` chooses."""
    oldest: dict[str, Seat] = {}
    for seat in sorted(seats, key=lambda seat: (seat.since, seat.peer)):
        oldest.setdefault(_group_or_peer(seat), seat)

    def place(group: str) -> bytes:
        return blake2b(group.encode(), key=secret, digest_size=8).digest()

    return [oldest[group] for group in sorted(oldest, key=place)[:PROTECTED_GROUPS]]


def _group_or_peer(seat: Seat) -> str:
    return seat.group or seat.peer


def _place_of(peer: PeerId | None, why: str) -> Room | NoRoom:
    return Room(peer) if peer is not None else NoRoom(why)
