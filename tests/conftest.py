"""Fixtures shared by the tests."""

import os
from pathlib import Path

import pytest
import torch


def pytest_configure():
    torch.set_num_threads(1)  # two processes test at once


LONGEST = (
    "test_real",
    "test_given_models",
    "test_run_errors",
    "test_whole_run",
    "test_reruns",
    "test_baseline_training",
    "test_resuming",
    "test_trainer",
    "test_training_ranks",
    "test_baselines",
    "test_real_tokens",
    "test_encode",
    "test_encoded_variants",
    "test_training",
    "test_table1",
    "test_published",
    "test_tokenizer_verb",
)
"""Files that take minutes come first, so that no process waits for another at the end."""


def pytest_collection_modifyitems(items):
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(LONGEST)))
    folder = os.environ.get("HOLOHISTO_DATA")
    for item in items:
        if item.get_closest_marker("gpu") and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))
        if item.get_closest_marker("data") and not (folder and Path(folder).is_dir()):
            item.add_marker(pytest.mark.skip(reason="HOLOHISTO_DATA names no folder of real data"))
        if item.get_closest_marker("slurm") and not os.environ.get("HOLOHISTO_SLURM"):
            item.add_marker(pytest.mark.skip(reason="it starts a cluster: make test-slurm"))


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real slides and tiles."""
    return Path(os.environ["HOLOHISTO_DATA"])
