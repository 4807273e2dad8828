"""Models and the items of a commit, as miner and checker share them."""

import numpy as np
import pytest

from chain.execution.models import Model, ModelRegistry
from chain.execution.work import CommitItems, CommonsRange, TaskWork, commons_seed
from tests.chain.execution.world import MODEL, MODELS, TINY, WIDTH, inputs_of


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


def test_answers_are_read_or_explained():
    assert TINY.model.read_answer(3, bytes(2)) == "2 bytes of answer, the last op gives 3"
    assert TINY.model.read_answer(3, b"\x01\x02\x03").reshape(-1).tolist() == [1, 2, 3]


def test_a_registry_has_its_commons_model():
    with pytest.raises(ValueError, match="the commons model is not among the models"):
        ModelRegistry(models={}, commons_model=MODEL, commons_batch=1, commons_row=MODELS.commons_row)
    with pytest.raises(ValueError, match="a model's id has 32 bytes, got 1"):
        Model(model_id=b"x", name="x", build=TINY.model.build, input_low=0, input_high=1)


def test_items_are_tasks_and_then_commons_units_made_when_looked_at():
    looked: list[int] = []

    def task(number: int) -> TaskWork:
        looked.append(number)
        return TaskWork(bytes([number]) * 32, MODEL, 2, inputs_of(2, salt=number), bytes(2))

    seed = commons_seed(bytes(32), b"miner")
    items = CommitItems([lambda: task(1), lambda: task(2)], CommonsRange(seed, 7, 3), models=MODELS)
    assert (len(items), items.answered, looked) == (5, range(2), [])
    assert (items[1].item_id, looked) == (bytes([2]) * 32, [2])
    assert [item.answer is None for item in items[1:4]] == [False, True, True]
    assert items[1].input_row(1).tolist() == list(inputs_of(2, salt=2)[WIDTH:])
    again = CommitItems([], CommonsRange(seed, 8, 1), models=MODELS)
    assert items[3].item_id == again[0].item_id
    assert (items[3].input_row(0) == again[0].input_row(0)).all()
    assert len({item.item_id for item in items}) == 5
    with pytest.raises(IndexError, match="item 5 of 5"):
        items[5]


def test_commons_seeds_differ_by_miner_and_epoch():
    assert len({commons_seed(a, b) for a in (bytes(32), b"\x01" * 32) for b in (b"x", b"y")}) == 4
