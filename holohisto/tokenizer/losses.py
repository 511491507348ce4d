"""Losses of tokenizer training that ask for structure, not for colour."""

import torch
from torch import Tensor, nn
from torch.nn import functional

SCALES = (1, 2, 4)
"""Reductions at which gradients are compared."""
WIDTH = 48
"""Channels of the annotation head."""


def structure_loss(output: Tensor, target: Tensor) -> Tensor:
    """Return the mean absolute error of pixels plus that of their gradients at several scales.

    Gradients weigh edges and texture, which the error of pixels alone neglects for mean colours.

    Args:
        output: (B, 3, H, W) float.
        target: The same shape.

    Returns:
        Scalar.
    """
    loss = (output - target).abs().mean()
    for scale in SCALES:
        difference = functional.avg_pool2d(output - target, scale)
        for axis in (2, 3):
            loss = loss + difference.diff(dim=axis).abs().mean()
    return loss


def correlation_loss(latents: Tensor) -> Tensor:
    """Return the mean squared correlation of the dimensions of latents (arXiv 2103.03230).

    Dimensions that say the same would waste the code.

    Args:
        latents: (..., d) float, d at least 2.

    Returns:
        Scalar, from 0 to 1.
    """
    rows = latents.reshape(-1, latents.shape[-1])
    covariance = rows.T.cov(correction=0)  # (d, d)
    variance = covariance.diagonal()
    # Not divided by standard deviations, whose gradient is infinite where a dimension is constant.
    squares = covariance.square() / (torch.outer(variance, variance) + 1e-6)
    others = ~torch.eye(len(squares), dtype=torch.bool, device=rows.device)
    return squares[others].mean()


class AnnotationHead(nn.Module):
    """Predicts from the codes which classes are annotated; it is dropped after training.

    A few layers with a context of five tokens, so that a code describes what it sees and its
    neighbours complete it, instead of naming a class by itself.
    """

    def __init__(self, dimension: int, classes: int) -> None:
        """`dimension`: length of a code."""
        super().__init__()
        layers: list[nn.Module] = []
        for width in (dimension, WIDTH):
            layers += [
                nn.Conv2d(width, WIDTH, 3, padding=1, bias=False),
                nn.BatchNorm2d(WIDTH),
                nn.SiLU(),
            ]
        self.layers = nn.Sequential(*layers, nn.Conv2d(WIDTH, classes, 1))

    def loss(self, codes: Tensor, annotated: Tensor, known: Tensor) -> Tensor:
        """Return soft Dice loss plus cross-entropy of the classes, a scalar.

        Args:
            codes: (B, h, w, d).
            annotated: (B, C, h, w) float, share of each token's pixels that is annotated.
            known: (B, C) bool, classes that are annotated on each tile's slide; others do not
                count.
        """
        logits = self.layers(codes.permute(0, 3, 1, 2))
        entropy = functional.binary_cross_entropy_with_logits(logits, annotated, reduction="none")
        probability = logits.sigmoid()

        def summed(values: Tensor) -> Tensor:  # over the tiles on which the class is known, (C,)
            return (values.sum((2, 3)) * known).sum(0)

        overlap, total = summed(probability * annotated), summed(probability + annotated)
        pixels = known.sum(0) * logits.shape[2] * logits.shape[3]
        loss = summed(entropy) / pixels.clamp_min(1) + 1 - (2 * overlap + 1) / (total + 1)
        anywhere = known.any(0)
        return (loss * anywhere).sum() / anywhere.sum().clamp_min(1)


@torch.no_grad()
def effective_rank(codes: Tensor) -> float:
    """Return the number of directions in which codes vary, from 1 to d.

    exp of the entropy of the covariance's eigenvalues (Roy and Vetterli 2007).

    Args:
        codes: (..., d) float.
    """
    rows = codes.reshape(-1, codes.shape[-1]).double()
    values = torch.linalg.eigvalsh((rows - rows.mean(dim=0)).T.cov()).clamp_min(0)
    if float(values.sum()) == 0:
        return 1.0
    share = values / values.sum()
    return float((-(share * share.clamp_min(1e-12).log()).sum()).exp())
