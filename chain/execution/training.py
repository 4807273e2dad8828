"""The model that the chain trains: rounds, checkpoints, and the votes that move it.

```
 round r        blocks r*R + 1 .. (r+1)*R, R = `round_length`. All shards of the round are looked at with the
                checkpoint that it began with; their data follow from the beacon of the block before it.
 commit         carries a vote: which way its shards say that each number should move       commits.py
 proof holds    the vote is put into the box of the running round, unless it is too old     count_vote
 last block     votes in the box, each as often as it has shards, make the next checkpoint  close_round
```

Every node computes the update: it is a few thousand additions, and the same in whatever order votes came. A
round without votes leaves the model as it is. Checkpoints are kept as long as a proof may need them.
"""

from typing import Final

import numpy as np

from chain.codec import encode
from chain.execution import state_keys
from chain.execution.invalid import Refused
from chain.execution.models import Commons
from chain.execution.records import Commit, Point, Progress, ProvenVote, Round
from chain.execution.run import Run
from chain.reasons import Reason
from chain.types.params import ChainParams
from pouw.tensors import DType
from pouw.training.voted_training import Learned

MAX_VOTE_AGE: Final = 3
"""Rounds after which a vote moves nothing any more: it speaks of a model that is long gone. Three leave a
proof time for its beacon and a block or two."""

POINTS_KEPT: Final = 256
"""Judgements that the state remembers, beside the first: 12 bytes each."""


def round_of(height: int, *, params: ChainParams) -> int:
    """Round that the block at ``height`` belongs to."""
    return (height - 1) // params.round_length


def open_training(commons: Commons, *, beacon: bytes) -> dict[bytes, bytes | None]:
    """The state entries of a model that nobody has voted on.

    Args:
        commons: The model.
        beacon: The first one: seed of round 0.
    """
    learned = commons.voted.start()
    raw = commons.voted.in_use(learned)
    judgement = commons.judge(commons.voted.arrays(raw))
    first = Point(0, 0, 0, judgement.loss, judgement.right)
    return {
        state_keys.MASTERS: learned.masters.astype(DType.INT32.numpy).tobytes(),
        state_keys.LEANINGS: learned.leaning.astype(DType.INT16.numpy).tobytes(),
        state_keys.PROGRESS: encode(Progress(judgement.images, first, ())),
        state_keys.training_round(0): encode(Round(beacon, 0, commons.voted.roots(raw))),
        state_keys.checkpoint(0): raw,
    }


def open_round(run: Run, number: int) -> Round:
    """The round of a commit: the running one or the one before.

    Raises:
        Refused: COMMONS_WRONG_ROUND.
    """
    current = round_of(run.context.height, params=run.params)
    if number not in (current, current - 1):
        raise Refused(Reason.COMMONS_WRONG_ROUND, f"work of round {number} in round {current}")
    return run.ledger.get(Round, state_keys.training_round(number))


def count_vote(run: Run, commit_id: bytes, commit: Commit) -> None:
    """Put the vote of a proven commit into the box of the running round."""
    current = round_of(run.context.height, params=run.params)
    if commit.commons_round + MAX_VOTE_AGE < current:
        run.emit(
            Reason.VOTE_TOO_OLD, commit_id, other=commit.miner, amount=commit.commons_count,
            detail=f"of round {commit.commons_round}, proven in round {current}",
        )  # fmt: skip
        return
    run.ledger.put(state_keys.proven_vote(commit_id), ProvenVote(commit.commons_count, commit.vote))
    run.emit(
        Reason.VOTE_COUNTED, commit_id, other=commit.miner, amount=commit.commons_count,
        detail=f"of round {commit.commons_round}, in round {current}",
    )  # fmt: skip


def close_round(run: Run) -> None:
    """In the last block of a round: take the step that the votes ask for, and begin the next round."""
    ledger, params = run.ledger, run.params
    number = round_of(run.context.height, params=params)
    assert run.context.height == (number + 1) * params.round_length, "a round closes in its last block"
    current = ledger.get(Round, state_keys.training_round(number))
    roots, step = current.roots, current.step
    entries = list(ledger.keys(state_keys.proven_vote()))
    if entries:
        roots, step = _step(run, entries, number=number, step=step), step + 1
    ledger.put(state_keys.training_round(number + 1), Round(run.context.beacon, step, roots))
    _forget(run, number)


def _step(run: Run, entries: list[bytes], *, number: int, step: int) -> tuple[bytes, ...]:
    """Move the model by the votes under some keys; returns the roots of the new checkpoint."""
    ledger, voted = run.ledger, run.models.commons.voted
    shape = (voted.shape.rows, voted.shape.cols)
    total, shards = np.zeros(shape, np.int64), 0
    for entry in entries:
        proven = ledger.get(ProvenVote, entry)
        vote = voted.shape.unpack(proven.vote)
        assert not isinstance(vote, str), vote
        total += vote.astype(np.int64) * proven.shards
        shards += proven.shards
        ledger.delete(entry)
    before = Learned(
        np.frombuffer(ledger.get_raw(state_keys.MASTERS), DType.INT32.numpy).reshape(shape),
        np.frombuffer(ledger.get_raw(state_keys.LEANINGS), DType.INT16.numpy).reshape(shape),
    )
    after = voted.updated(before, total, shards=shards, step=step)
    raw = voted.in_use(after)
    judgement = run.models.commons.judge(voted.arrays(raw))
    progress = ledger.get(Progress, state_keys.PROGRESS)
    point = Point(number, step + 1, shards, judgement.loss, judgement.right)
    ledger.put(state_keys.MASTERS, after.masters.astype(DType.INT32.numpy).tobytes())
    ledger.put(state_keys.LEANINGS, after.leaning.astype(DType.INT16.numpy).tobytes())
    ledger.put(state_keys.checkpoint(step + 1), raw)
    ledger.put(
        state_keys.PROGRESS,
        Progress(progress.images, progress.first, (*progress.latest, point)[-POINTS_KEPT:]),
    )
    run.emit(
        Reason.MODEL_TRAINED, run.models.commons.id, amount=step + 1,
        detail=f"by {len(entries)} votes of {shards} shards: loss {judgement.loss * 1000 >> 16} thousandths, "
        f"{judgement.right} of {judgement.images} right",
    )  # fmt: skip
    return voted.roots(raw)


def _forget(run: Run, number: int) -> None:
    """Drop what no open commit can speak of any more when round ``number`` ends."""
    ledger = run.ledger
    for entry in list(ledger.keys(state_keys.commons_cursor(number - 1))) if number else ():
        ledger.delete(entry)
    oldest = number - _rounds_of_a_proof(run.params)
    if oldest < 1:
        return
    gone = ledger.get(Round, state_keys.training_round(oldest - 1))
    ledger.delete(state_keys.training_round(oldest - 1))
    if ledger.get(Round, state_keys.training_round(oldest)).step != gone.step:
        ledger.delete(state_keys.checkpoint(gone.step))


def _rounds_of_a_proof(params: ChainParams) -> int:
    """Rounds that may end between a commit's own round and its last chance of a proof, rounded up."""
    return -(-(params.beacon_delay + params.proof_window) // params.round_length)
