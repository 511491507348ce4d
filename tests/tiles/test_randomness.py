"""Every purpose, seed and number has random numbers of its own."""

import itertools

import numpy as np
import pytest

from holohisto.tiles.randomness import Purpose, generator


def first(seed: int, purpose: Purpose, n: int) -> tuple[int, ...]:
    """The first draws of a generator."""
    return tuple(generator(seed, purpose, n).integers(2**63, size=8).tolist())


def test_no_two_purposes_seeds_or_numbers_share_a_stream():
    """Of runs with neighbouring seeds too: the looks of one are not the tiles of another."""
    keys = list(itertools.product((0, 1, 2, 3), Purpose, (0, 1, 2)))
    blocks = {key: first(*key) for key in keys}
    numbers = set(itertools.chain.from_iterable(blocks.values()))
    assert len(numbers) == 8 * len(keys)
    assert blocks[0, Purpose.SAMPLE, 2] == first(0, Purpose.SAMPLE, 2)


@pytest.mark.parametrize("pair", list(itertools.combinations(Purpose, 2)), ids=str)
def test_draws_of_two_purposes_are_not_correlated(pair):
    one, other = (
        np.array([generator(7, purpose, n).random() for n in range(1500)]) for purpose in pair
    )
    assert abs(np.corrcoef(one, other)[0, 1]) < 4 / np.sqrt(1500)
