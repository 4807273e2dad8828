"""What a miner does next: a pure function of what the node says and what the miner has sent.

```
 not registered ──► Register
 registered     ──► Prove (a commit whose beacon exists) ──► Commit (tasks first, else commons) ──► Rest
 slashed, suspended, leaving: prove what is open, then Stop
```

Proofs come first because a late one costs part of the bond; tasks come before the commons because somebody
waits for them. Only commons work keeps to the duty: a task in hand has a deadline. Nothing is begun whose
stake the bond does not cover: a low bond means less work, not fees for refusals.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from chain.execution.records import MinerStatus
from chain.types.params import ChainParams
from chain.types.transaction import MAX_TASKS_A_COMMIT
from tools.amounts import coins
from tools.miner.cover import Cover
from tools.rpc.messages import AssignedTask, MinerWork, OpenCommit

COMMIT_WEIGHT: Final = 2000
"""Bytes of a commit of shards alone with their vote, rounded up; a task adds its answer."""


@dataclass(frozen=True, slots=True)
class InFlight:
    """A transaction of ours that is not known to be final."""

    id: bytes
    nonce: int
    kind: str
    """register, commit or prove."""
    encoded: bytes
    proves: bytes = b""
    """The commit that it proves."""
    tasks: tuple[bytes, ...] = ()
    commons_round: int = 0
    commons_end: int = 0
    """First shard behind the range that it commits to; 0 without one."""
    stake: int = 0
    """Of the bond, if it is a commit."""


@dataclass(frozen=True, slots=True)
class Register:
    """Lock a bond and begin."""

    bond: int


@dataclass(frozen=True, slots=True)
class TrainingRound:
    """A round of the commons: what shards follow from, and the model that looks at them."""

    number: int
    seed: bytes
    """Not yet bound to the miner."""
    step: int
    """Steps that the model has taken."""


@dataclass(frozen=True, slots=True)
class CommonsJob:
    """Consecutive shards of a round."""

    start: int
    count: int


@dataclass(frozen=True, slots=True)
class Commit:
    """Do this work and commit to it."""

    tasks: tuple[AssignedTask, ...]
    """Ascending by id."""
    commons: CommonsJob | None
    round: TrainingRound
    """Whose commons model answers, too."""
    stake: int
    """Of the bond, in coins' base units."""


@dataclass(frozen=True, slots=True)
class Prove:
    """Open what the beacon drew."""

    commit: OpenCommit
    beacon: bytes


@dataclass(frozen=True, slots=True)
class Rest:
    """Nothing to do now."""

    why: str


@dataclass(frozen=True, slots=True)
class Stop:
    """Nothing to do any more."""

    why: str


Step = Register | Commit | Prove | Rest | Stop


@dataclass(frozen=True, slots=True)
class Means:
    """What the miner can afford."""

    resting: bool
    """Whether the duty forbids commons work now."""
    units_a_commit: int
    """Shards that fill the working time of one commit, by what was measured."""
    proof_bytes: int
    """Size of a proof, by what was seen."""
    hopeless: frozenset[bytes] = frozenset()
    """Open commits that cannot be proven: better no proof than a wrong one."""


def next_step(
    work: MinerWork, in_flight: Sequence[InFlight], *, params: ChainParams, means: Means, cover: Cover
) -> Step:
    """Decide.

    Args:
        work: What the node said last.
        in_flight: What was sent and is not final.
        params: The chain's rules.
        means: What the miner can afford.
        cover: What commits put at stake.
    """
    if work.syncing:
        return Rest(f"the node is not in step with the chain: {work.syncing}")
    if work.status is None:
        return _register(work, in_flight, params=params, cover=cover)
    if work.status is MinerStatus.SLASHED:
        return Stop(
            "slashed: signed work of this miner was wrong and its bond is burned; `headrace why` says what"
        )
    proving = _prove(work, in_flight, means.hopeless)
    if proving is not None:
        return proving
    if work.status is not MinerStatus.ACTIVE:
        return _wind_up(work, params)
    waiting = sum(item.kind == "commit" for item in in_flight)
    slots = params.max_open_commits - len(work.commits) - waiting
    if slots <= 0:
        return Rest(f"all {params.max_open_commits} commits that the chain allows at once await their proof")
    taken = {task for item in in_flight for task in item.tasks}
    tasks = tuple(task for task in work.tasks if task.id not in taken and task.due > work.height)
    free = free_bond(work, in_flight)
    if tasks:
        room = _tasks_with_room(params, means)
        return _tasks(work, tasks, cover=cover, free=free, at_most=room)
    if means.resting:
        return Rest("duty")
    ends = [item.commons_end for item in in_flight if item.commons_end and item.commons_round == work.round]
    start = max([work.next_shard, *ends])
    return _commons(work, start, params=params, means=means, cover=cover, free=(free, slots))


def free_bond(work: MinerWork, in_flight: Sequence[InFlight]) -> int:
    """What neither open commits nor those on their way put at stake of the bond; at least 0."""
    at_stake = sum(commit.stake for commit in work.commits) + sum(item.stake for item in in_flight)
    return max(0, work.bond - at_stake)


def wanted_bond(*, params: ChainParams, cover: Cover) -> int:
    """A fresh bond: it covers as many full commits as may be open, and the least bond is left if all lapse.

    So a machine that is away for a while loses coins, not its place.
    """
    return params.min_bond + params.max_open_commits * cover.full


def _register(work: MinerWork, in_flight: Sequence[InFlight], *, params: ChainParams, cover: Cover) -> Step:
    if any(item.kind == "register" for item in in_flight):
        return Rest("the registration is on its way")
    reserve = 2 * COMMIT_WEIGHT * max(work.base_fee, params.base_fee_floor)
    if work.balance < params.min_bond + reserve:
        return Rest(
            f"a bond of {coins(params.min_bond)} coins and fees are due, the account has "
            f"{coins(work.balance)}: send it coins"
        )
    wanted = wanted_bond(params=params, cover=cover)
    return Register(min(wanted, max(params.min_bond, work.balance - 10 * reserve)))


def _prove(work: MinerWork, in_flight: Sequence[InFlight], hopeless: frozenset[bytes]) -> Prove | None:
    sent = {item.proves for item in in_flight} | hopeless
    for commit in sorted(work.commits, key=lambda commit: (commit.due, commit.id)):
        if commit.beacon is not None and commit.id not in sent and commit.due > work.height:
            return Prove(commit, commit.beacon)
    return None


def _wind_up(work: MinerWork, params: ChainParams) -> Step:
    assert work.status is not None, "nobody to wind up"
    if work.commits:
        return Rest(f"{work.status.name}: open commits are proven, nothing new is begun")
    if work.status is MinerStatus.SUSPENDED:
        missing = coins(max(0, params.min_bond - work.bond))
        left = f"the bond fell to {coins(work.bond)} coins, the least is {coins(params.min_bond)}"
        return Stop(f"suspended: {left}; `headrace miner bond {missing}` and a new start go on")
    return Stop("the miner has left; its bond comes back after the unbonding time")


def _tasks_with_room(params: ChainParams, means: Means) -> int:
    """How many tasks a commit may have for its proof to fit a transaction.

    Each has a draw of its own besides the samples, which opens about as much as one of them.
    """
    free = params.max_transaction_bytes - means.proof_bytes
    return min(MAX_TASKS_A_COMMIT, max(1, params.samples * free // means.proof_bytes))


def _tasks(
    work: MinerWork, tasks: tuple[AssignedTask, ...], *, cover: Cover, free: int, at_most: int
) -> Step:
    chosen = cover.together(tasks, free=free, at_most=at_most)
    if chosen:
        return Commit(chosen, None, round_of(work), cover.of_tasks(chosen))
    # No shards meanwhile: they would take what the next proof sets free.
    return Rest(
        f"too little of the bond of {coins(work.bond)} coins is free for a task: it waits for proofs of "
        "open commits; `headrace miner bond AMOUNT` adds to the bond"
    )


def _commons(
    work: MinerWork, start: int, *, params: ChainParams, means: Means, cover: Cover, free: tuple[int, int]
) -> Step:
    """Shards: as many as the time allows and pay their fees, and the free bond covers.

    Stakes grow faster than shards do, so a low bond goes further when it is spread evenly.

    Args:
        work: What the node said last.
        start: The first shard.
        params: The chain's rules.
        means: What the miner can afford.
        cover: What commits put at stake.
        free: Of the bond, and for how many more commits.
    """
    fee = work.base_fee * (COMMIT_WEIGHT + means.proof_bytes + params.samples * params.cell_weight)
    if work.balance < 2 * fee:
        return Rest(
            f"a commit and its proof cost about {coins(fee)} coins in fees, "
            f"the account has {coins(work.balance)}"
        )
    reward = cover.models.commons.unit * params.reward_per_million_units
    worthwhile = fee * 1_000_000 // reward + 1 if reward else params.max_commons_units + 1
    if worthwhile > params.max_commons_units:
        return Rest(f"fees of {coins(fee)} coins would be more than {params.max_commons_units} shards earn")
    wanted = min(max(means.units_a_commit, worthwhile), params.max_commons_units)
    bond, slots = free
    even = cover.most_shards(bond // slots, at_most=wanted)
    count = max(even, min(worthwhile, cover.most_shards(bond, at_most=wanted)))
    if count < worthwhile:
        return Rest(
            f"too little of the bond of {coins(work.bond)} coins is free for {worthwhile} shards, the fewest "
            "that earn their fees: they wait for proofs of open commits; `headrace miner bond AMOUNT` adds "
            "to the bond"
        )
    return Commit((), CommonsJob(start, count), round_of(work), cover.of_shards(count))


def round_of(work: MinerWork) -> TrainingRound:
    """The running round."""
    return TrainingRound(work.round, work.round_seed, work.step)
