"""The processes that srun started, compared with the configuration."""

import pytest

from holohisto.errors import HolohistoError
from holohisto.runtime.slurm import is_first, require


def step(monkeypatch, tasks, nodes, a_node):
    names = ("SLURM_STEP_NUM_TASKS", "SLURM_STEP_NUM_NODES", "SLURM_STEP_TASKS_PER_NODE")
    for name, value in zip(names, (tasks, nodes, a_node), strict=True):
        monkeypatch.setenv(name, str(value))


@pytest.mark.parametrize(
    ("devices", "nodes", "started"),
    [(2, 3, (6, 3, "2(x3)")), (1, 2, (2, 2, "1(x2)")), (4, 1, (1, 1, "1"))],
)
def test_what_fits_passes(monkeypatch, devices, nodes, started):
    step(monkeypatch, *started)
    require(devices, nodes)


@pytest.mark.parametrize(
    ("devices", "nodes", "started", "words"),
    [
        (2, 2, (2, 2, "1(x2)"), "found 2 on 2 nodes (1(x2) a node), allowed 4 on 2 nodes"),
        (2, 2, (4, 2, "3,1"), "found 4 on 2 nodes (3,1 a node), allowed 4 on 2 nodes"),
        (2, 2, (4, 1, "4"), "found 4 on 1 node (4 a node), allowed 4 on 2 nodes"),
        (2, 1, (2, 1, "2"), "found 2 on 1 node (2 a node), allowed 1 on 1 node"),
    ],
)
def test_what_does_not_is_reported_in_one_line(monkeypatch, devices, nodes, started, words):
    step(monkeypatch, *started)
    with pytest.raises(HolohistoError) as error:
        require(devices, nodes)
    assert words in str(error.value).replace(";", ",")
    assert "\n" not in str(error.value)


def test_several_nodes_without_srun_are_refused(monkeypatch):
    monkeypatch.delenv("SLURM_STEP_NUM_TASKS", raising=False)
    require(2, 1)
    with pytest.raises(HolohistoError, match=r"srun did not start.*--profile slurm"):
        require(1, 2)


def test_one_process_is_the_first(monkeypatch):
    for name in ("SLURM_PROCID", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert is_first()
    monkeypatch.setenv("SLURM_PROCID", "0")
    assert is_first()
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert not is_first()
