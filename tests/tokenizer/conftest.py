"""Fixtures of the tests of published tokenizers."""

import numpy as np
import pytest
import torch
from checkpoint_files import Published


@pytest.fixture(scope="module", params=[False, True], ids=["local", "attention"])
def network(request):
    return Published(attention=request.param)


@pytest.fixture(scope="module")
def plain():
    return Published()


@pytest.fixture(scope="module")
def x():
    """Pixels in -1..1 with structure at several scales."""
    random = np.random.default_rng(1)
    scales = [
        np.kron(random.uniform(-1, 1, (3, 48 // s, 80 // s)), np.ones((1, s, s))) / 3
        for s in (1, 4, 16)
    ]
    return torch.from_numpy(sum(scales))[None].float()
