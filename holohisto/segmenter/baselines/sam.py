"""The image encoder of Segment Anything (arXiv 2304.02643) with a light decoder."""

from typing import NamedTuple

from torch import Tensor, nn


class EncoderLayout(NamedTuple):
    """Layout of an image encoder."""

    width: int
    layers: int
    heads: int
    features: int
    """Channels of its output."""

    @property
    def everywhere(self) -> list[int]:
        """Layers that attend to the whole tile: the last of every quarter; the others: windows."""
        quarter = self.layers // 4
        return list(range(quarter - 1, self.layers, quarter))


ENCODERS = {
    "sam_vit_b": EncoderLayout(768, 12, 12, 256),
    "sam_vit_h": EncoderLayout(1280, 32, 16, 256),
}
TOY = EncoderLayout(48, 8, 3, 32)


class SamSegmenter(nn.Module):
    """From (B, 3, side, side) to logits at a quarter of the resolution."""

    def __init__(self, kind: str, size: str, side: int, classes: int) -> None:
        """Build `sam_vit_b` or `sam_vit_h`, `full` or `toy`; `side` is a multiple of 16."""
        from transformers import SamVisionConfig, SamVisionModel

        super().__init__()
        layout = ENCODERS[kind] if size == "full" else TOY
        # transformers' own spread, 1e-10, is for weights that are loaded; from scratch it would
        # take the gradients with it.
        self.encoder = SamVisionModel(
            SamVisionConfig(
                image_size=side,
                hidden_size=layout.width,
                num_hidden_layers=layout.layers,
                num_attention_heads=layout.heads,
                output_channels=layout.features,
                global_attn_indexes=layout.everywhere,
                initializer_range=0.02,
            )
        )
        self.decoder = _decoder(layout.features, classes)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, side, side) -> (B, classes, side/4, side/4)."""
        return self.decoder(self.encoder(pixels).last_hidden_state)


def _decoder(features: int, classes: int) -> nn.Module:
    """Enlarge twice by 2 as SAM's mask decoder does, then one logit per class."""
    return nn.Sequential(
        nn.ConvTranspose2d(features, features // 4, 2, stride=2),
        nn.GroupNorm(1, features // 4),
        nn.GELU(),
        nn.ConvTranspose2d(features // 4, features // 8, 2, stride=2),
        nn.GELU(),
        nn.Conv2d(features // 8, classes, 1),
    )
