"""The difference between the class frequencies of training tiles and of slides, undone in use."""

from torch import Tensor, nn, zeros


class PriorShift(nn.Module):
    """Adds a number per class to the logits, in evaluation mode only.

    The loss of a training sees the logits without it. What is validated, thresholded at a
    probability of 0.5 or delivered as probability includes it.
    """

    shift: Tensor

    def __init__(self, classes: int) -> None:
        """Start with 0 for each class."""
        super().__init__()
        self.register_buffer("shift", zeros(classes))

    def forward(self, logits: Tensor) -> Tensor:
        """Keep the shape (B, classes, H, W); `logits` are changed in place."""
        return logits if self.training else logits.add_(self.shift[:, None, None])
