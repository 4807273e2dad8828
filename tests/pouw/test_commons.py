"""Commons inputs: derivable row by row, fresh, and still images."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pouw.training.commons import PIXEL_MAX, commons_batch, commons_image, commons_row
from tests.pouw.world import DATASET


@given(seed=st.binary(max_size=40), index=st.integers(0, 2**64 - 1), batch=st.integers(1, 6))
def test_each_row_alone_is_the_row_of_the_batch(seed: bytes, index: int, batch: int) -> None:
    whole = commons_batch(DATASET, seed=seed, index=index, batch=batch)
    alone = [commons_row(DATASET, seed=seed, index=index, row=row) for row in range(batch)]
    assert np.array_equal(whole, np.stack(alone))
    assert whole.dtype == np.int8
    assert whole.min() >= 0
    assert whole.max() <= PIXEL_MAX


def test_a_vector() -> None:
    images = np.arange(3 * 64).reshape(3, 64).astype(np.int8) % 17
    row = commons_row(images, seed=b"headrace", index=1, row=2)
    assert row.tolist() == [
        0, 0, 3, 2, 2, 1, 0, 0, 2, 3, 4, 2, 6, 8, 4, 0,
        7, 9, 9, 14, 13, 12, 14, 1, 0, 2, 2, 3, 1, 5, 5, 3,
        6, 9, 10, 11, 11, 10, 16, 1, 15, 2, 3, 3, 4, 3, 6, 0,
        6, 10, 10, 13, 11, 13, 14, 3, 15, 14, 0, 0, 2, 4, 6, 1,
    ]  # fmt: skip


def test_a_row_is_its_image_moved_by_a_pixel_and_noise_of_three() -> None:
    for row in range(200):
        image = DATASET[commons_image(len(DATASET), seed=b"m", index=9, row=row)].reshape(8, 8)
        frame = np.zeros((10, 10), np.int64)
        frame[1:9, 1:9] = image
        got = commons_row(DATASET, seed=b"m", index=9, row=row).reshape(8, 8)
        moves = [frame[1 - dy : 9 - dy, 1 - dx : 9 - dx] for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
        assert any(np.abs(got - moved).max() <= 3 for moved in moves)


def test_every_move_and_every_noise_occurs_and_no_row_twice() -> None:
    paper = np.zeros((1, 64), np.int8)
    paper[0, 27] = 16
    rows = commons_batch(paper, seed=b"n", index=0, batch=2000)
    brightest = {int(row.argmax()) for row in rows}
    assert brightest == {18, 19, 20, 26, 27, 28, 34, 35, 36}
    assert {int(x) for x in rows[:, 0]} == {0, 1, 2, 3}
    assert len({row.tobytes() for row in rows}) == len(rows)
    middle = commons_batch(np.full((1, 64), 8, np.int8), seed=b"n", index=0, batch=500)[:, 27]
    assert {int(x) for x in middle} == {5, 6, 7, 8, 9, 10, 11}


def test_other_seeds_indices_and_rows_show_other_images() -> None:
    shown = {
        commons_row(DATASET, seed=seed, index=index, row=row).tobytes()
        for seed in (b"a", b"b") for index in (0, 1) for row in (0, 1)
    }  # fmt: skip
    assert len(shown) == 8
