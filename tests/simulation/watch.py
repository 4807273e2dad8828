"""What must always hold, checked whenever anything is said or becomes final anywhere.

- Agreement: all honest nodes have the same block at every height.
- Nothing final is ever lost: a node that told of a final block has it in every later life.
- No honest key says two things that exclude each other.
- Nobody honest is accused, reported, or asks its signing guard for a contradiction.
"""

from typing import TYPE_CHECKING

from chain.execution import queries
from chain.types.committee import Committee
from chain.types.evidence import Evidence
from chain.types.statement import Statement, excludes
from consensus.messages import Certificate, ConsensusMessage, Hearsay, Proposal
from consensus.signing.signing_guard import GuardError, GuardReason
from tests.simulation.wire import Links, Wire

if TYPE_CHECKING:
    from tests.simulation.node import Node
    from tests.simulation.world import World


CONVICTED_WITHIN = 10
"""Heights from the moment a contradiction is seen in a well network to its conviction."""

_PASSED_ON_WITHIN = 4
"""Heights in which what was told to some is told to all; what is told later in an epoch ends with it."""


class Violation(AssertionError):  # noqa: N818 - reads as a sentence where it is caught
    """Something that must never happen happened."""


class Watch:
    """The eyes of the simulator."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.canon: dict[int, bytes] = {}
        """The one final block of each height."""
        self.committees: dict[int, Committee] = {0: world.stage.first_committee}
        """The committee of each epoch that has been decided."""
        self.work: dict[bytes, tuple[bytes, int]] = {}
        """Miner and units of each commit that stands for work really done."""
        self.accusations: list[tuple[int, Evidence]] = []
        self.reports: list[tuple[int, int, str]] = []
        self.refusals: list[tuple[int, GuardError]] = []
        self._said: dict[tuple[bytes, int, int], list[Statement]] = {}
        self._acknowledged: dict[int, int] = {}
        self._corrupt: dict[int, frozenset[int]] = {}
        self._due: dict[bytes, tuple[Node, int, int, int]] = {}
        """Who saw a key contradict itself, in which life, at which height, and the epoch of it."""
        self.healed_at = 0
        """Height of the chain when trouble last ended."""
        self.convicted_after: list[int] = []
        """Heights from a contradiction to its conviction."""

    def fail(self, what: str) -> None:
        raise Violation(f"seed {self._world.seed} at {self._world.now} ms: {what}")

    def settled(self, node: "Node", count: int) -> None:
        """``node`` made its newest ``count`` blocks final, and would tell anybody who asks."""
        if not node.is_honest:
            return
        top = node.height
        for height in range(top - count + 1, top + 1):
            digest = node.ledger.digest_at(height)
            if self.canon.setdefault(height, digest) != digest:
                self.fail(f"node {node.number} forks at height {height}")
            self._world.note("final", node.number, height, digest)
        self._acknowledged[node.number] = top
        epoch = node.ledger.params.epoch_of(top + 1)
        if epoch not in self.committees:
            self.committees[epoch] = node.ledger.committee(epoch)

    def booted(self, node: "Node") -> None:
        """``node`` came back with what its disk holds."""
        if not node.is_honest:
            return
        if node.height < self._acknowledged.get(node.number, 0):
            self.fail(f"node {node.number} lost height {self._acknowledged[node.number]}, has {node.height}")
        if node.height and self.canon.setdefault(node.height, node.ledger.digest_at(node.height)) != (
            node.ledger.digest_at(node.height)
        ):
            self.fail(f"node {node.number} came back on a fork at height {node.height}")

    def said(self, sender: "Node", message: ConsensusMessage, digest: bytes | None) -> None:
        """No honest key ever says two things that exclude each other."""
        if isinstance(message, Hearsay):
            # The words of others: nobody answers for them but their signers.
            self._world.note("tells", sender.number, message.epoch, message.view, len(message.words))
            return
        if isinstance(message, Proposal):
            assert digest is not None
            self._world.note("says", sender.number, 0, message.epoch, message.view, digest)
        else:
            self._world.note(
                "says", sender.number, int(message.kind), message.epoch, message.view, message.digest
            )
        if not sender.is_honest or isinstance(message, Certificate):
            return
        statement = message.statement
        said = self._said.setdefault((sender.key.public_key, statement.epoch, statement.view), [])
        for earlier in said:
            if excludes(earlier, statement):
                self.fail(f"node {sender.number} said {earlier} and {statement}")
        if statement not in said:
            said.append(statement)

    def worked(self, commit_id: bytes, miner: bytes, units: int) -> None:
        """``miner`` has really done what it is about to commit to."""
        self.work[commit_id] = (miner, units)

    def accused(self, accuser: "Node", evidence: Evidence) -> None:
        self.accusations.append((accuser.number, evidence))
        if accuser.is_honest and accuser.worker is not None:
            self._due.setdefault(evidence.signer, (accuser, accuser.life, accuser.height, evidence.epoch))
        if accuser.is_honest and evidence.signer in {node.key.public_key for node in self._world.honest}:
            self.fail(f"node {accuser.number} accuses an honest validator: {evidence}")

    def told_apart(self, traitor: "Node", told: list["Node"]) -> None:
        """Two nodes have each been told one half of a contradiction: due as if it had been seen.

        Only in a well network, between honest nodes that keep up, and not where the epoch is about to end.
        """
        first, second, world = *told, self._world
        params = world.params
        is_well = world.wire == Wire() and world.drops is None and world.links == Links()
        places = [(node.simplex.epoch, node.simplex.view) for node in (traitor, first, second)]
        is_close = max(places)[0] == min(places)[0] and max(places)[1] - min(places)[1] <= 1
        is_early = params.last_height(places[1][0]) - first.height >= _PASSED_ON_WITHIN
        are_honest = all(node.is_up and node.is_honest for node in told)
        if is_well and is_close and is_early and are_honest and first.worker is not None:
            due = first, first.life, first.height, places[1][0]
            self._due.setdefault(traitor.key.public_key, due)

    def check_convictions(self) -> None:
        """A contradiction that was seen is on the chain ten heights later, if who saw it stayed alive.

        Called when the network has been well for some time; heights in times of trouble do not count.
        """
        for signer, (accuser, life, seen_at, epoch) in list(self._due.items()):
            height = max(seen_at, self.healed_at)
            if accuser.life != life or epoch < accuser.ledger.params.epoch_of(height + 1):
                # The report went with its maker's memory, or is of an epoch that was over.
                del self._due[signer]
            elif accuser.height >= height + CONVICTED_WITHIN:
                del self._due[signer]
                conviction = queries.conviction(accuser.ledger.state, signer)
                if conviction is None or conviction.height > height + CONVICTED_WITHIN:
                    self.fail(
                        f"{signer.hex()} contradicted itself, seen at {seen_at}; conviction {conviction}"
                    )
                self.convicted_after.append(max(0, conviction.height - height))

    def reported(self, reporter: "Node", origin: int, reason: str) -> None:
        self.reports.append((reporter.number, origin, reason))
        if reporter.is_honest and self._world.nodes[origin].is_honest:
            self.fail(f"node {reporter.number} reports honest node {origin}: {reason}")

    def refused(self, node: "Node", error: GuardError) -> None:
        self.refusals.append((node.number, error))
        if error.reason is GuardReason.CONFLICT and node.is_honest:
            self.fail(f"node {node.number} asked its guard for a contradiction: {error}")

    def is_corrupt(self, seat: int, epoch: int) -> bool:
        """Whether a traitor may betray in an epoch: as many may as hold less than a third of its seats."""
        if epoch not in self._corrupt:
            if epoch not in self.committees:
                return False
            self._corrupt[epoch] = self._choose(self.committees[epoch])
        return seat in self._corrupt[epoch]

    def _choose(self, committee: Committee) -> frozenset[int]:
        plan, taken, chosen = self._world.plan, 0, set[int]()
        for seat in range(len(plan.habits)):
            seats = committee.seats_of(self._world.nodes[seat].key.public_key)
            if plan.is_control or 3 * (taken + seats) < committee.seats:
                taken += seats
                chosen.add(seat)
        return frozenset(chosen)
