"""The simplest baseline: the best threshold on one blurred colour of the training tiles."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from holohisto.segmenter.sides import Sides

FEATURES = ("red", "green", "blue", "density", "saturation", "red share", "blue share")
BLURS = (1, 8, 32)  # side of the box, working pixels
BINS = 128
SOFTNESS = 32.0  # logits per unit of feature: soft enough to blend tiles, same 0.5 line


def colour_features(rgb: Tensor) -> Tensor:
    """Return the colour features of uint8 (B, 3, H, W): (B, features, H, W) float in 0..1."""
    x = rgb.float() / 255
    red, green, blue = x.unbind(dim=1)
    total = x.sum(dim=1) + 1e-3
    density = -torch.log10((x + 1e-3).clamp(max=1)).mean(dim=1) / 3
    high, low = x.amax(dim=1), x.amin(dim=1)
    saturation = (high - low) / (high + 1e-3)
    return torch.stack(
        [red, green, blue, density, saturation, red / total, blue / total], dim=1
    ).clamp(0, 1)


def blur(features: Tensor, side: int) -> Tensor:
    """Average (B, C, H, W) over boxes of `side` and interpolate back."""
    if side == 1:
        return features
    small = functional.avg_pool2d(features, side, ceil_mode=True, count_include_pad=False)
    return functional.interpolate(small, size=features.shape[2:], mode="bilinear")


class ThresholdSegmenter(nn.Module):
    """Per class: a colour feature, a blur, a threshold, and the side of it that is the class."""

    choice: Tensor
    threshold: Tensor
    sign: Tensor

    def __init__(self, classes: int) -> None:
        """Build unfitted: every class is `red` at least 0."""
        super().__init__()
        self.downscale = 1
        self.needs_pixels = True
        self.needs_tokens = False
        self.tile = self.micro_batch = None
        self.sides = Sides(least=1)
        self.register_buffer("choice", torch.zeros(classes, dtype=torch.int64))
        self.register_buffer("threshold", torch.zeros(classes))
        self.register_buffer("sign", torch.ones(classes))

    def forward(self, tokens: Tensor | None, rgb: Tensor, size: tuple[int, int]) -> Tensor:
        """Return logits (B, classes, H, W) of uint8 (B, 3, H, W)."""
        return self.accepted(tokens, rgb)[:, :, : size[0], : size[1]]

    def accepted(self, tokens: Tensor | None, rgb: Tensor) -> Tensor:
        """Return logits (B, classes, H, W) of uint8 (B, 3, H, W) of any size."""
        features = colour_features(rgb)
        logits = []
        for choice, threshold, sign in zip(self.choice, self.threshold, self.sign, strict=True):
            scale, index = divmod(int(choice), len(FEATURES))
            value = blur(features[:, index : index + 1], BLURS[scale])
            logits.append(SOFTNESS * sign * (value - threshold))
        return torch.cat(logits, dim=1)

    def describe(self, index: int) -> str:
        """Return the fitted rule of a class as words."""
        scale, feature = divmod(int(self.choice[index]), len(FEATURES))
        side = "above" if self.sign[index] > 0 else "below"
        return (
            f"{FEATURES[feature]} blurred over {BLURS[scale]} px {side}"
            f" {float(self.threshold[index]):.3f}"
        )


@dataclass
class Histograms:
    """Counts of feature values inside and outside of each class over the training tiles."""

    classes: int
    inside: Tensor = field(init=False)
    outside: Tensor = field(init=False)

    def __post_init__(self) -> None:
        """Allocate counts, (classes, blurs * features, BINS) float64."""
        shape = (self.classes, len(BLURS) * len(FEATURES), BINS)
        self.inside = torch.zeros(shape, dtype=torch.float64)
        self.outside = torch.zeros(shape, dtype=torch.float64)

    def add(self, rgb: Tensor, target: Tensor, known: Tensor) -> None:
        """Count a batch: uint8 (B, 3, H, W); bool (B, classes, H, W) twice."""
        features = colour_features(rgb)
        for scale, side in enumerate(BLURS):
            bins = (blur(features, side) * (BINS - 1)).round().long()
            for index in range(len(FEATURES)):
                row = scale * len(FEATURES) + index
                for c in range(self.classes):
                    for counts, area in (
                        (self.inside, target[:, c] & known[:, c]),
                        (self.outside, ~target[:, c] & known[:, c]),
                    ):
                        counts[c, row] += torch.bincount(bins[:, index][area], minlength=BINS)

    def best(self) -> ThresholdSegmenter:
        """Return the segmenter with the highest Dice over the counted pixels."""
        model = ThresholdSegmenter(self.classes)
        for c in range(self.classes):
            if not self.inside[c].any():
                model.threshold[c] = 2.0  # never annotated: above every value, so never predicted
                continue
            above = _dice_above(self.inside[c], self.outside[c])
            below = _dice_above(self.inside[c].flip(1), self.outside[c].flip(1))
            dice, sign = (above, 1.0) if above.max() >= below.max() else (below, -1.0)
            row, index = divmod(int(dice.argmax()), BINS)
            if sign < 0:
                index = BINS - 1 - index
            model.choice[c], model.sign[c] = row, sign
            model.threshold[c] = (index - 0.5 * sign) / (BINS - 1)
        return model


def _dice_above(inside: Tensor, outside: Tensor) -> Tensor:
    """Dice of `value >= bin` for every row and bin: (rows, BINS)."""
    tp = inside.flip(1).cumsum(1).flip(1)
    fp = outside.flip(1).cumsum(1).flip(1)
    return 2 * tp / (tp + fp + inside.sum(1, keepdim=True)).clamp_min(1)
