"""Votes: what shards say, as a program, as bytes, and as steps of a model."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pouw.models.mlp import bias_name, weight_name
from pouw.ops.ballot import Ballots, Majority
from pouw.ops.kind import Bounded
from pouw.ops.turned_rows import TurnedRows
from pouw.program_error import ProgramError, ProgramReason
from pouw.tensors import DType, TensorSpec
from pouw.trace import run_program
from pouw.training.mlp_training import MlpTraining, gradient_name, gradient_program, masters
from pouw.training.training_data import training_batch
from pouw.training.vote_program import checkpoint_of, vote_program
from pouw.training.voted_training import Learned, VotedTraining, judge
from pouw.training.votes import VoteShape
from tests.pouw.training_world import DATA
from tests.pouw.world import REFERENCE

TRAINING = MlpTraining("votes", (64, 12, 10), batch=16)
VOTED = VotedTraining(TRAINING, b"seed", step_size=1 << 14, slower=(3,), memory=2)
SHAPE = VOTED.shape
START = VOTED.start()
NUMBERS = VOTED.in_use(START)
CHECKPOINT = checkpoint_of(TRAINING, 0, VOTED.roots(NUMBERS))
WEIGHTS = VOTED.weights(NUMBERS)


def shard(index: int) -> np.ndarray:
    return training_batch(DATA, seed=b"data", index=index, batch=TRAINING.batch, noise=TRAINING.noise)


def gradients(index: int) -> list[np.ndarray]:
    """Of one shard, first layer first, by the program that has gradients for its output."""
    program = gradient_program(TRAINING, CHECKPOINT)
    trace = run_program(program, WEIGHTS, shard(index), REFERENCE)
    named = {program.name_of(number): trace.tensors[number] for number in program.kept}
    ordered = [gradient_name(name) for name in masters(TRAINING)]
    return [named[name] for pair in ((2, 3), (0, 1)) for name in (ordered[pair[0]], ordered[pair[1]])]


def said(index: int) -> np.ndarray:
    """The ballot of one shard, the plain way."""
    ballot = np.zeros((SHAPE.rows, SHAPE.cols), np.int64)
    weights_0, biases_0, weights_1, biases_1 = (np.sign(values) for values in gradients(index))
    ballot[:12, :64], ballot[:12, 64] = weights_0, biases_0[:, 0]
    ballot[12:, :12], ballot[12:, 12] = weights_1, biases_1[:, 0]
    return ballot


@pytest.mark.parametrize("shards", [1, 2, 5])
def test_the_answer_is_the_majority_of_the_signs_of_each_shards_gradient(shards: int) -> None:
    program = vote_program(TRAINING, CHECKPOINT, shards)
    inputs = np.concatenate([shard(index) for index in range(shards)])
    vote = run_program(program, WEIGHTS, inputs, REFERENCE).answer
    assert (vote == np.sign(sum(said(index) for index in range(shards)))).all()
    assert SHAPE.used.shape == vote.shape
    assert not vote[~SHAPE.used].any()


def test_a_program_is_one_checkpoints_and_one_number_of_shards() -> None:
    other = checkpoint_of(TRAINING, 0, [root[::-1] for root in VOTED.roots(NUMBERS)])
    digests = {
        vote_program(TRAINING, *args).digest for args in ((CHECKPOINT, 1), (CHECKPOINT, 2), (other, 1))
    }
    assert len(digests) == 3
    with pytest.raises(ProgramError) as caught:
        vote_program(TRAINING, CHECKPOINT, 128)
    assert caught.value.reason is ProgramReason.CONSTANT


def test_votes_have_as_many_draws_as_the_gradients_behind_them() -> None:
    program = vote_program(TRAINING, CHECKPOINT, 4)
    units = {step.op.name: step.units for step in program.steps}
    vote = units["ballots"] + units["vote"]
    behind = sum(cost for name, cost in units.items() if "gradient of shard" in name)
    assert behind <= vote <= 2 * behind


@given(st.data())
def test_a_packed_vote_is_the_vote(data: st.DataObject) -> None:
    shape = VoteShape(data.draw(st.sampled_from([(1, 1), (2, 3, 1), (6, 4, 3), (5, 7)])))
    values = data.draw(st.lists(st.integers(-1, 1), min_size=shape.numbers, max_size=shape.numbers))
    vote = np.zeros((shape.rows, shape.cols), np.int8)
    vote[shape.used] = values
    packed = shape.pack(vote)
    assert len(packed) == shape.packed_bytes
    assert (shape.unpack(packed) == vote).all()


@given(st.binary(max_size=9))
def test_what_is_read_as_a_vote_is_written_so(raw: bytes) -> None:
    shape = VoteShape((6, 4, 3))
    vote = shape.unpack(raw)
    assert isinstance(vote, str) or shape.pack(vote) == raw


def test_what_is_no_vote_is_explained() -> None:
    shape = VoteShape((2, 2))
    assert shape.unpack(b"") == "0 bytes, a vote on 6 numbers takes 2"
    assert shape.unpack(b"\xf3\x00") == "a byte of 243, five digits make at most 242"
    assert shape.unpack(b"\x00\x03") == "something is written behind the last number"


def test_numbers_follow_votes_by_one_size_of_step() -> None:
    votes = np.zeros((SHAPE.rows, SHAPE.cols), np.int64)
    votes[0, :3] = (5, -5, 0)
    after = VOTED.updated(START, votes, shards=5, step=0)
    moved = START.masters - after.masters
    assert moved[0, :3].tolist() == [1 << 14, -(1 << 14), 0]
    assert np.count_nonzero(moved) == 2
    slower = VOTED.updated(START, votes, shards=5, step=3)
    assert (START.masters - slower.masters)[0, 0] == 1 << 13


def test_what_nobody_votes_on_any_more_comes_to_rest() -> None:
    votes = np.zeros((SHAPE.rows, SHAPE.cols), np.int64)
    learned = VOTED.updated(START, votes - SHAPE.used, shards=1, step=9)
    for _ in range(40):
        learned, before = VOTED.updated(learned, votes, shards=1, step=9), learned
    assert (learned.masters == before.masters).all()


def test_no_number_leaves_its_interval() -> None:
    votes = np.where(SHAPE.used, -1, 0)
    top = Learned(np.full_like(START.masters, (1 << 31) - 1 - (1 << 14)) * SHAPE.used, START.leaning)
    arrays = VOTED.arrays(VOTED.in_use(VOTED.updated(top, votes, shards=1, step=0)))
    assert arrays[weight_name(0)].max() == 127
    assert arrays[bias_name(0)].max() == 64 << 10


def test_a_few_rounds_of_votes_teach_it() -> None:
    learned, images, labels = START, DATA.images, DATA.labels
    before = judge(TRAINING, VOTED.arrays(NUMBERS), images, labels)
    for step in range(12):
        numbers = VOTED.in_use(learned)
        program = vote_program(TRAINING, checkpoint_of(TRAINING, step, VOTED.roots(numbers)), 4)
        inputs = np.concatenate([shard(4 * step + index) for index in range(4)])
        vote = run_program(program, VOTED.weights(numbers), inputs, REFERENCE).answer
        learned = VOTED.updated(learned, vote.astype(np.int64) * 4, shards=4, step=step)
    after = judge(TRAINING, VOTED.arrays(VOTED.in_use(learned)), images, labels)
    assert after.loss * 4 < before.loss * 3
    assert after.right > 4 * before.right


def test_judging_is_what_a_float_network_would_say() -> None:
    arrays = VOTED.arrays(NUMBERS)
    values = DATA.images / 16
    for layer in range(2):
        values = values @ arrays[weight_name(layer)].T / 64 + arrays[bias_name(layer)][:, 0] / 1024
        values = np.clip(values, 0, 127 / 16) if layer == 0 else values
    chances = np.exp(values - values.max(axis=1, keepdims=True))
    chances /= chances.sum(axis=1, keepdims=True)
    loss = -np.log(chances[np.arange(len(DATA.labels)), DATA.labels]).mean()
    assert judge(TRAINING, arrays, DATA.images, DATA.labels).loss / 65536 == pytest.approx(loss, abs=0.05)


@pytest.mark.parametrize(
    ("kind", "operands", "reason"),
    [
        (TurnedRows(3, 2), [Bounded(TensorSpec(4, 2, DType.INT8), -1, 1)], ProgramReason.CONSTANT),
        (Majority(2, 1), [Bounded(TensorSpec(4, 3, DType.INT8), -1, 1)], ProgramReason.CONSTANT),
        (Majority(1, 1), [Bounded(TensorSpec(4, 3, DType.INT8), -2, 1)], ProgramReason.CONSTANT),
        (Majority(1, 1), [Bounded(TensorSpec(4, 3, DType.INT32), -1, 1)], ProgramReason.DTYPE),
        (Ballots(1, (2, 4), 1, 1), [Bounded(TensorSpec(4, 2, DType.INT32), -1, 1)], ProgramReason.SHAPE),
        (
            Ballots(1, (2, 4), 1, 1),
            [Bounded(TensorSpec(4, 2, DType.INT32), -1, 1), Bounded(TensorSpec(3, 1, DType.INT32), -1, 1)],
            ProgramReason.SHAPE,
        ),
    ],
)
def test_operands_that_do_not_fit(kind, operands, reason: ProgramReason) -> None:
    with pytest.raises(ProgramError) as caught:
        kind.infer(operands)
    assert caught.value.reason is reason
