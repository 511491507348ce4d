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


def test_two_ranks_compute_what_one_does(tmp_path):
    """The same global batch: losses within rounding, the same file of rows."""
    script = Path(__file__).parents[1] / "support" / "two_ranks.py"
    found = {}
    for ranks in (1, 2):
        done = subprocess.run(
            [sys.executable, script, str(ranks), tmp_path / f"{ranks}.json"],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            text=True,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        found[ranks] = json.loads((tmp_path / f"{ranks}.json").read_text())
    assert found[1]["shares"] == [4]
    assert found[2]["shares"] == [2]
    np.testing.assert_allclose(found[2]["losses"], found[1]["losses"], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found[2]["dice"], found[1]["dice"], atol=1e-3)


def test_a_step_that_cannot_be_shared_is_refused():
    with pytest.raises(HolohistoError, match=r"train.batch.*found 3 tiles a step over 2 devices"):
        require_equal_shares(3, 2)
