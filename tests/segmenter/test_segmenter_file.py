"""Segmenter files: what they keep, and which are refused."""

import pytest
import torch

from holohisto.config.models import ColourThresholdModel, HolohistoModel
from holohisto.errors import HolohistoError
from holohisto.segmenter import card as card_file
from holohisto.segmenter.card import ModelCard
from holohisto.segmenter.file import build_segmenter, load_segmenter, save_segmenter

CODEBOOK = torch.randn(32, 6, generator=torch.Generator().manual_seed(0))


def card(options):
    return ModelCard(
        "m", options, ("a", "b"), 0.5, (640, 480), "digest", 16, "frozen", "fp32", {"steps": 3}
    )


@pytest.mark.parametrize(
    "options", [HolohistoModel(size="T", decoder="tokens"), ColourThresholdModel()]
)
def test_file_keeps_weights_and_card(options, tmp_path):
    torch.manual_seed(0)
    model = build_segmenter(options, CODEBOOK, 16, 2).eval()
    save_segmenter(model.state_dict(), card(options), tmp_path / "s.safetensors")
    again, found, _ = load_segmenter(tmp_path / "s.safetensors")
    assert found == card(options)
    tokens = torch.randint(0, 32, (1, 3, 4))
    rgb = torch.randint(0, 256, (1, 3, 48, 64), dtype=torch.uint8)
    assert torch.equal(again(tokens, rgb, (48, 64)), model(tokens, rgb, (48, 64)))


def test_a_damaged_segmenter_is_refused(tmp_path):
    path = tmp_path / "s.safetensors"
    model = build_segmenter(ColourThresholdModel(), None, 1, 2)
    save_segmenter(model.state_dict(), card(ColourThresholdModel()), path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 0x40
    path.write_bytes(bytes(content))
    with pytest.raises(HolohistoError, match="damaged"):
        load_segmenter(path)


def test_a_segmenter_file_of_another_format_is_refused(tmp_path, monkeypatch):
    model = build_segmenter(ColourThresholdModel(), None, 1, 1)
    card = ModelCard(
        "m", ColourThresholdModel(), ("a",), 0.5, (64, 64), None, 1, "frozen", None, {}
    )
    monkeypatch.setattr(card_file, "FORMAT", "holohisto-segmenter-2")
    save_segmenter(model.state_dict(), card, tmp_path / "old.safetensors")
    monkeypatch.undo()
    with pytest.raises(
        HolohistoError, match=r"is not a HoloHisto segmenter of this version.*segmenter-2"
    ):
        load_segmenter(tmp_path / "old.safetensors")
