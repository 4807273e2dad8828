"""One machine on a bench: the test hands it every event and looks at every effect."""

import functools
from dataclasses import replace

from chain.hashing import digest as hash_of
from chain.types.block import Block, Header
from chain.types.evidence import Evidence
from chain.types.statement import NOTHING, Kind, Statement, excludes
from consensus.messages import Certificate, Proposal, Seal, Vote
from consensus.simplex import effects, events
from consensus.simplex.events import Timer
from consensus.simplex.instance import Setting
from consensus.simplex.leader import leader_of
from consensus.simplex.protocol import Simplex
from consensus.simplex.timers import Pace
from p2p.network import PeerId
from tests.consensus.fakes import TagKey, committee_of, genesis

PEER = PeerId("peer")
KEYS = sorted((TagKey(number) for number in range(4)), key=lambda key: key.public_key)
COMMITTEE = committee_of(key.public_key for key in KEYS)


@functools.cache
def beacon_for(*leaders: int) -> bytes:
    """A beacon under which these validators lead the first views of epoch 0."""
    number = 0
    while True:
        beacon = hash_of("test/beacon", number.to_bytes(4, "big"))
        found = (leader_of(COMMITTEE, beacon=beacon, epoch=0, view=view) for view in range(len(leaders)))
        if all(
            key == COMMITTEE.validators[want].consensus_key for key, want in zip(found, leaders, strict=True)
        ):
            return beacon
        number += 1


class Bench:
    """A committee of four; we are one of them and sign at once whatever we are asked to."""

    def __init__(
        self, me: int | None = 3, *, leaders: tuple[int, ...] = (0, 1, 2), last_height: int = 8
    ) -> None:
        self.base = replace(genesis(COMMITTEE), beacon=beacon_for(*leaders))
        self.me = me
        self.simplex = Simplex(Setting(
            0, COMMITTEE, self.base.beacon, last_height, Pace(1000, 500),
            None if me is None else KEYS[me].public_key, self.base, self.base.digest, None,
        ))  # fmt: skip
        self.signed: list[Statement] = []
        self.said: list[object] = []
        self.sent: list[object] = []
        self.saved: list[object] = []
        self.fetches: list[effects.Fetch] = []
        self.builds: list[effects.Build] = []
        self.timers: dict[Timer, tuple[int, int]] = {}
        self.final: list[Block] = []
        self.evidence: list[Evidence] = []
        self.reports: list[str] = []
        self.invalid: set[bytes] = set()
        self.kinds: list[type] = []
        """Types of all effects, in order."""

    def start(self, **survived: object) -> "Bench":
        return self.give(events.Resumed(**survived))  # type: ignore[arg-type]

    def give(self, *given: events.Event) -> "Bench":
        for event in given:
            waiting = [event]
            while waiting:
                for effect in self.simplex.step(waiting.pop(0)):
                    self.kinds.append(type(effect))
                    waiting += self._perform(effect)
        return self

    def _perform(self, effect: effects.Effect) -> list[events.Event]:  # noqa: C901 - a table
        match effect:
            case effects.Sign(statement):
                for earlier in self.signed:
                    assert not excludes(earlier, statement), f"{earlier} and {statement}"
                self.signed.append(statement)
                assert self.me is not None
                return [events.Signed(vote(self.me, statement.kind, statement.view, statement.digest))]
            case effects.Propose(view, block):
                assert self.me is not None
                return [events.Proposed(Proposal(0, view, block, bytes(64)), block.digest)]
            case effects.Validate(block, digest):
                fault = "state_root: planted" if digest in self.invalid else None
                return [events.Validated(digest, fault)]
            case effects.Build():
                self.builds.append(effect)
            case effects.Broadcast(message):
                self.said.append(message)
            case effects.Send(_, message):
                self.sent.append(message)
            case effects.Save():
                self.saved += [*effect.certificates, *(digest for digest, _ in effect.blocks)]
            case effects.Fetch():
                self.fetches.append(effect)
            case effects.SetTimer(timer, _, view, delay):
                self.timers[timer] = (view, delay)
            case effects.Finalize(blocks, _):
                self.final += blocks
            case effects.Accuse(evidence):
                self.evidence.append(evidence)
            case effects.Report(_, reason):
                self.reports.append(reason)
        return []

    def proposal(self, view: int, block: Block) -> "Bench":
        return self.give(seen(view, block))

    def votes(self, kind: Kind, view: int, named: Block | None, *voters: int) -> "Bench":
        digest = NOTHING if named is None else named.digest
        return self.give(*(events.VoteSeen(PEER, vote(i, kind, view, digest)) for i in voters))

    def certificate(self, kind: Kind, view: int, named: Block | None = None) -> "Bench":
        return self.give(events.CertificateSeen(PEER, certificate(kind, view, named)))

    def fire(self, timer: Timer) -> "Bench":
        return self.give(events.TimerFired(timer, 0, self.simplex.view))

    def has_signed(self, kind: Kind, view: int, named: Block | None = None) -> bool:
        return Statement(kind, 0, view, NOTHING if named is None else named.digest) in self.signed

    def block(self, view: int, parent: Block | None = None, *, mark: int = 0) -> Block:
        """A block of the leader of ``view``; ``mark`` tells siblings apart."""
        above: Header = self.base if parent is None else parent.header
        header = replace(
            above,
            height=above.height + 1,
            view=view,
            parent=above.digest,
            proposer=self.simplex.leader(view),
            timestamp_ms=above.timestamp_ms + 1 + mark,
        )
        return Block(header, ())


def vote(index: int, kind: Kind, view: int, digest: bytes) -> Vote:
    statement = Statement(kind, 0, view, digest)
    return Vote(kind, 0, view, digest, KEYS[index].public_key, KEYS[index].sign(statement.signing_bytes("x")))


def certificate(
    kind: Kind, view: int, named: Block | None, voters: tuple[int, ...] = (0, 1, 2)
) -> Certificate:
    digest = NOTHING if named is None else named.digest
    seals = tuple(Seal(i, vote(i, kind, view, digest).signature) for i in voters)
    return Certificate(kind, 0, view, digest, seals)


def seen(view: int, block: Block, origin: PeerId = PEER) -> events.ProposalSeen:
    return events.ProposalSeen(origin, Proposal(0, view, block, block.digest * 2), block.digest)
