"""Small networks of every kind of baseline."""

import torch

from holohisto.config.models import (
    DeeplabModel,
    DynunetModel,
    SamBaseModel,
    SamHugeModel,
    SegformerModel,
    SwinunetrModel,
    UnetModel,
    UnetrModel,
)
from holohisto.segmenter.baselines.pixels import PixelSegmenter
from holohisto.segmenter.file import build_segmenter

TILE = (96, 64)
TOYS = {
    "unet": UnetModel(channels=(4, 8, 16), tile=TILE),
    "dynunet": DynunetModel(channels=(4, 8, 16, 16), tile=TILE),
    "unetr": UnetrModel(size="toy", tile=TILE),
    "swinunetr_v2": SwinunetrModel(channels=12, tile=TILE),
    "segformer": SegformerModel(size="toy", tile=TILE),
    "deeplabv3plus": DeeplabModel(size="toy", tile=TILE),
    "sam_vit_b": SamBaseModel(size="toy", tile=TILE),
    "sam_vit_h": SamHugeModel(size="toy", tile=TILE),
}
KINDS = list(TOYS)


def built(kind, classes=2, **changes) -> PixelSegmenter:
    torch.manual_seed(0)
    return build_segmenter(TOYS[kind].model_copy(update=changes), None, 1, classes).eval()


def pixels(height, width, batch=1):
    generator = torch.Generator().manual_seed(height)
    return torch.randint(0, 256, (batch, 3, height, width), generator=generator, dtype=torch.uint8)
