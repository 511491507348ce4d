"""Random numbers as a function of seed, epoch and sample."""

import numpy as np


def generator(seed: int, epoch: int, n: int) -> np.random.Generator:
    """Return the random numbers of sample n: a function of (seed, epoch, n) and nothing else."""
    return np.random.Generator(np.random.Philox(key=seed, counter=[0, n, epoch, 0]))
