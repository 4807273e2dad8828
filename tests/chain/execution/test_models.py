"""Models and the items of a commit, as miner and checker share them."""

import numpy as np
import pytest

from chain.execution.models import _PROGRAMS_KEPT, Model, ModelRegistry, TaskShape
from chain.execution.stakes import task_item
from chain.execution.work import CommitItems, CommonsWork, TaskWork, commons_seed
from pouw.program import Program
from tests.chain.execution.world import COMMONS, MODEL, MODELS, PARAMS, TINY, WIDTH, World, inputs_of


def test_programs_are_built_once():
    model = TINY.model
    assert model.program(5) is model.program(5)
    assert model.program(5).digest != model.program(6).digest


def test_inputs_are_read_or_explained():
    model = TINY.model
    values = model.read_inputs(2, inputs_of(2))
    assert (values.shape, values.dtype) == ((2, WIDTH), np.int8)
    assert model.read_inputs(2, b"") == f"0 bytes of input, 2 rows of {WIDTH} take {2 * WIDTH}"
    assert model.read_inputs(1, bytes([17] * WIDTH)) == "inputs from 17 to 17, the model takes 0 to 16"
    assert model.read_inputs(1, bytes([255] * WIDTH)) == "inputs from -1 to -1, the model takes 0 to 16"


def counted_model() -> tuple[Model, list[int]]:
    """A model, and the rows for which it has built a program."""
    built: list[int] = []

    def build(rows: int) -> Program:
        built.append(rows)
        return TINY.model.build(rows)

    model = Model(model_id=bytes(32), name="counted", build=build, input_low=0, input_high=16)
    built.clear()
    return model, built


def test_no_program_is_built_for_inputs_that_are_refused():
    model, built = counted_model()
    for rows in range(1, 33):
        assert isinstance(model.read_inputs(rows, b""), str)
    assert not built


def test_who_asks_in_turn_for_more_sizes_than_there_are_programs_kept_has_each_built_once():
    """A commit that is refused pays for its bytes, and may name as many tasks of different sizes."""
    model, built = counted_model()
    sizes = range(1, 2 * _PROGRAMS_KEPT + 1)
    for _ in range(3):
        for rows in sizes:
            task_item(model, rows=rows, payment=5, params=PARAMS)
            assert model.read_answer(rows, b"") == f"0 bytes of answer, the last op gives {rows}"
    assert sorted(built) == list(sizes)[1:], "that of one row was built when the model was made"
    program = model.program(7)
    assert model.shape(7) == TaskShape(program.units, len(program.tensors), program.tensors[program.last])
    assert model.input_bytes(7) == program.tensors[0].rows * program.tensors[0].row_bytes


def test_answers_are_read_or_explained():
    assert TINY.model.read_answer(3, bytes(2)) == "2 bytes of answer, the last op gives 3"
    assert TINY.model.read_answer(3, b"\x01\x02\x03").reshape(-1).tolist() == [1, 2, 3]


def test_a_registry_has_its_commons_model():
    with pytest.raises(ValueError, match="the commons model is not among the models"):
        ModelRegistry(models={}, commons=COMMONS)
    with pytest.raises(ValueError, match="a model's id has 32 bytes, got 1"):
        Model(model_id=b"x", name="x", build=TINY.model.build, input_low=0, input_high=1)


def test_items_are_tasks_and_then_the_shards_made_when_looked_at():
    looked: list[int] = []

    def task(number: int) -> TaskWork:
        looked.append(number)
        return TaskWork(bytes([number]) * 32, MODEL, 2, inputs_of(2, salt=number), bytes(2))

    shards = World().shards("alice", 3, 0)
    vote = bytes(COMMONS.voted.shape.packed_bytes)
    work = CommonsWork(shards.seed, shards.roots, 7, 3, vote)
    items = CommitItems([lambda: task(1), lambda: task(2)], work, models=MODELS)
    assert (len(items), items.answered, looked) == (3, range(3), [])
    assert (items[1].item_id, looked) == (bytes([2]) * 32, [2])
    assert items[1].input_row(1).tolist() == list(inputs_of(2, salt=2)[WIDTH:])
    assert items[2].program.units == COMMONS.units(3)
    assert not items[2].answer.any()
    with pytest.raises(IndexError, match="item 3 of 3"):
        items[3]


def test_a_shard_is_the_same_whatever_it_is_committed_with():
    seed, batch = bytes(32), COMMONS.voted.training.batch
    assert (COMMONS.input_row(seed, 7, batch) == COMMONS.input_row(seed, 8, 0)).all()
    assert (COMMONS.input_row(seed, 7, 0) != COMMONS.input_row(seed, 8, 0)).any()


def test_the_cost_of_shards_is_known_without_their_program():
    roots = World().shards("alice", 1, 0).roots
    assert COMMONS.units(0) == 0
    assert [COMMONS.program(roots, count).units for count in (1, 2, 9)] == [
        COMMONS.units(count) for count in (1, 2, 9)
    ]


def test_a_model_in_training_has_a_program_a_checkpoint():
    model, roots = MODELS.get(COMMONS.id), World().shards("alice", 1, 0).roots
    other = tuple(root[::-1] for root in roots)
    assert model.program_at(3, roots).digest == model.program(3).digest
    assert model.program_at(3, other).digest != model.program(3).digest
    assert model.program_at(3, other).units == model.program(3).units


def test_commons_seeds_differ_by_miner_and_round():
    assert len({commons_seed(a, b) for a in (bytes(32), b"\x01" * 32) for b in (b"x", b"y")}) == 4
