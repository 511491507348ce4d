"""The hash by which an interrupted computation is recognised."""

import numpy as np
import pytest

from holohisto.runtime import identity
from holohisto.runtime.identity import hash_of_inputs

ARRAY = np.arange(6, dtype=np.uint16).reshape(2, 3)


def test_equal_inputs_have_one_hash(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"content")
    first = hash_of_inputs({"tile": [1, 2]}, None, ARRAY, tmp_path / "a")
    assert hash_of_inputs({"tile": [1, 2]}, None, ARRAY.copy("F"), tmp_path / "b") == first
    assert len(first) == 64


@pytest.mark.parametrize(
    "other",
    [
        ("a", 2, ARRAY),
        ("a", 1),
        (1, "a", ARRAY),
        ("a", 1, ARRAY.reshape(3, 2)),
        ("a", 1, ARRAY.astype(np.int16)),
        ("a", 1, ARRAY + 1),
        ("a", 1, ARRAY.tolist()),
    ],
)
def test_another_value_type_shape_or_order_has_another_hash(other):
    assert hash_of_inputs(*other) != hash_of_inputs("a", 1, ARRAY)


def test_neighbouring_inputs_are_kept_apart():
    assert hash_of_inputs("ab", "c") != hash_of_inputs("a", "bc")
    assert hash_of_inputs(np.zeros(2, bool), np.zeros(1, bool)) != hash_of_inputs(
        np.zeros(1, bool), np.zeros(2, bool)
    )


def test_files_count_by_their_content(tmp_path):
    path = tmp_path / "annotation.png"
    path.write_bytes(b"a")
    before = hash_of_inputs(path)
    path.write_bytes(b"b")
    assert hash_of_inputs(path) != before


def test_empty_arrays_have_a_hash():
    assert hash_of_inputs(np.zeros((0, 3), bool)) != hash_of_inputs(np.zeros((3, 0), bool))


def test_another_version_has_another_hash(monkeypatch):
    before = hash_of_inputs("a")
    monkeypatch.setattr(identity, "__version__", "another")
    assert hash_of_inputs("a") != before


def test_other_types_are_refused():
    with pytest.raises(TypeError):
        hash_of_inputs(object())
