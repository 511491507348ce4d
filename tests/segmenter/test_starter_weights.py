"""The weights that come with the package."""

from pathlib import Path

from holohisto.segmenter.file import load_segmenter
from holohisto.tokenizer.file import load_tokenizer, tokenizer_digest

FOLDER = Path(__file__).parents[2] / "resources" / "starter"


def test_segmenter_and_tokenizer_belong_together():
    model, card, _ = load_segmenter(FOLDER / "segmenter.safetensors")
    tokenizer = load_tokenizer(FOLDER / "tokenizer.safetensors")
    assert card.tokenizer == tokenizer_digest(tokenizer)
    assert (card.classes, card.mpp, card.mode) == (("glomerulus",), 1.0, "frozen")
    assert card.downscale == tokenizer.architecture.downscale == 16
    assert sum(p.numel() for p in model.parameters()) > 800_000


def test_all_weights_have_at_most_8_mb():
    assert sum(file.stat().st_size for file in FOLDER.glob("*.safetensors")) <= 8_000_000
