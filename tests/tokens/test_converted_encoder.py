"""The encoder's networks for OpenVINO are kept beside the tokenizer."""

import numpy as np
import pytest
from encoded_picture import encode, frozen_tokenizer, picture

from holohisto.tokenizer.file import tokenizer_digest
from holohisto.tokens import openvino_encoder
from holohisto.tokens.openvino_encoder import OpenvinoEncoder

TILE = picture()[:160, :192]


@pytest.fixture
def made(monkeypatch):
    """The phases that were converted."""
    found, network_of = [], openvino_encoder.network_of
    monkeypatch.setattr(openvino_encoder, "SMALL", 0)
    monkeypatch.setattr(
        openvino_encoder, "network_of", lambda *words: found.append(1) or network_of(*words)
    )
    return found


def encoded(kept) -> np.ndarray:
    encoder = OpenvinoEncoder(frozen_tokenizer(), kept)
    encoder.adapt([TILE])
    return encode(encoder)


def test_a_kept_network_gives_the_same_tokens_and_is_not_converted_again(made, tmp_path):
    kept = tmp_path / "tokenizer.openvino"
    first = encoded(kept)
    assert len(made) == 2
    assert len(np.unique(first)) > 10
    assert np.array_equal(encoded(kept), first)
    assert len(made) == 2
    assert np.array_equal(encoded(None), first)
    assert len(made) == 4
    assert [path.name for path in tmp_path.iterdir()] == ["tokenizer.openvino"]


@pytest.mark.parametrize("change", ["damaged", "of another tokenizer", "empty"])
def test_a_kept_network_that_does_not_match_is_made_again(made, tmp_path, change):
    kept = tmp_path / "tokenizer.openvino"
    first = encoded(kept)
    right = kept.read_bytes()
    wrong = bytearray(right)
    if change == "damaged":
        wrong[-100] ^= 1
    elif change == "empty":
        wrong.clear()
    else:
        wrong = right.replace(tokenizer_digest(frozen_tokenizer()).encode(), b"0" * 64)
    assert wrong != right
    kept.write_bytes(wrong)
    assert np.array_equal(encoded(kept), first)
    assert len(made) == 4
    assert np.array_equal(encoded(kept), first)
    assert len(made) == 4


def test_networks_are_not_kept_where_the_folder_cannot_be_written(made, tmp_path):
    kept = tmp_path / "tokenizer.openvino"
    kept.mkdir()  # cannot be replaced by a file, by root either
    assert np.array_equal(encoded(kept), encoded(None))
    assert len(made) == 4
