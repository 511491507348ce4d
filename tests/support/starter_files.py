"""Small untrained tokenizers and segmenters in files, which stand for trained ones."""

from pathlib import Path

import torch

from holohisto.config.models import HolohistoModel
from holohisto.segmenter.card import ModelCard
from holohisto.segmenter.file import build_segmenter, save_segmenter
from holohisto.tokenizer.architecture import Architecture
from holohisto.tokenizer.file import save_tokenizer, tokenizer_digest
from holohisto.tokenizer.vqgan import VQGAN

SMALL = Architecture(
    channels=8,
    multipliers=(1, 1, 1, 1, 1),
    residual_blocks=1,
    codebook=16,
    dimension=2,
    levels=(4, 4),
)


def write_tokenizer(path: Path, seed: int = 0) -> VQGAN:
    torch.manual_seed(seed)
    tokenizer = VQGAN(SMALL).eval().requires_grad_(False)
    save_tokenizer(tokenizer, path, {})
    return tokenizer


def segmenter_of(seed: int, classes: int, codebook=None, **options):
    """A segmenter with random weights and statistics."""
    torch.manual_seed(seed)
    made = HolohistoModel(**{"size": "T", **options})
    if made.embedding == "linear":
        codebook = None
    elif codebook is None:
        codebook = torch.linspace(-1, 1, 32 * 4).reshape(32, 4)
    model = build_segmenter(made, codebook, 16, classes)
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if "running_mean" in name or name == "prior.shift":
                value.normal_()
    return model.eval(), made


def write_segmenter(path: Path, model, options, classes, tokenizer, **card) -> None:
    """Write a segmenter file, of working resolution 0.5 um/px unless `mpp` is given."""
    facts = {"mpp": 0.5, "tile": (256, 192), "mode": "frozen", "precision": "fp32", **card}
    made = ModelCard(
        name=facts.pop("name", "given"),
        options=options,
        classes=tuple(classes),
        tokenizer=tokenizer,
        downscale=16,
        summary={},
        **facts,
    )
    save_segmenter(model.state_dict(), made, path)


def write_starter(folder: Path, bias: float = 0.0, mpp: float = 0.5) -> Path:
    """A folder with an untrained tokenizer and segmenter that belong together.

    With a large bias the segmenter finds a glomerulus everywhere.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = write_tokenizer(folder / "tokenizer.safetensors")
    model, options = segmenter_of(3, 1, tokenizer.quantize.codes)
    with torch.no_grad():
        model.decoder.head.bias.fill_(bias)
    digest = tokenizer_digest(tokenizer)
    path = folder / "segmenter.safetensors"
    write_segmenter(path, model, options, ["glomerulus"], digest, mpp=mpp)
    return folder
