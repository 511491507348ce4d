"""Random numbers as a function of seed, epoch and sample."""

import numpy as np


def generator(seed: int, epoch: int, n: int) -> np.random.Generator:
    """Return a generator of random numbers that depend on seed, epoch and sample alone.

    Args:
        seed: Seed of the run, 0 or more.
        epoch: Epoch, 0 or more.
        n: Number of the sample within the epoch, 0 or more.
    """
    return np.random.Generator(np.random.Philox(key=seed, counter=[0, n, epoch, 0]))
