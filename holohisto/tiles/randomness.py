"""Random numbers as a function of seed, purpose and number alone."""

from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """What random numbers decide; those of two purposes are independent for any two seeds."""

    SAMPLE = 0
    """Slide, place and variant of a training tile, by the number of the tile."""
    APPEARANCE = 1
    """Its appearance, by the number of the tile."""
    CUTMIX = 2
    """The rectangle that two tiles exchange, by the even number of the pair."""
    GRID_ORDER = 3
    """Order of the tiles of a fixed grid, by the number of the round."""
    NETWORK = 4
    """Random numbers within the network, by the step."""
    TOKENIZER_TILE = 5
    """A training tile of the tokenizer, by its number."""
    TOKENIZER_EXAMPLE = 6
    """Tiles of the tokenizer that the report shows, by the number of the example."""
    TOKENIZER_SLIDE = 7
    """Slide, stain and exchanged rectangles of a batch of the tokenizer, by its number."""
    DROPOUT = 8
    """Tokens and channels that are left out of a training tile, by the number of the tile."""


def generator(seed: int, purpose: Purpose, n: int) -> np.random.Generator:
    """Return a generator of random numbers that depend on the arguments alone.

    Args:
        seed: Seed of the run, 0 or more.
        purpose: What the numbers decide.
        n: Number of the tile, pair or step that they decide for, 0 or more.
    """
    return np.random.Generator(np.random.Philox(key=seed, counter=[0, n, purpose, 0]))
