"""Several ranks share a step."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from holohisto.errors import HolohistoError
from holohisto.training.ranks import require_equal_shares

SEEDS = ("0", "1", "2")


def test_two_ranks_compute_what_one_does(tmp_path):
    """The same global batches: losses, weights and running statistics but for rounding in fp64."""
    script = Path(__file__).parents[1] / "support" / "two_ranks.py"
    found = {}
    for ranks in (1, 2):
        done = subprocess.run(
            [sys.executable, script, str(ranks), tmp_path / f"{ranks}.json", *SEEDS],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            text=True,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        found[ranks] = json.loads((tmp_path / f"{ranks}.json").read_text())
    for seed in SEEDS:
        one, two = found[1][seed], found[2][seed]
        assert one["shares"] == [4]
        assert two["shares"] == [2]
        np.testing.assert_allclose(two["losses"], one["losses"], rtol=0, atol=1e-9)
        assert two["dice"] == pytest.approx(one["dice"], abs=1e-9)
        assert two["state"].keys() == one["state"].keys()
        for name, values in one["state"].items():
            np.testing.assert_allclose(two["state"][name], values, rtol=1e-7, atol=1e-7)


def test_a_step_that_cannot_be_shared_is_refused():
    with pytest.raises(HolohistoError, match=r"train.batch.*found 3 tiles a step over 2 devices"):
        require_equal_shares(3, 2)
