import torch
from torch.nn import functional

from holohisto.training.loss import dice_bce, pixel_sums


def test_loss_counts_known_pixels_and_classes_only():
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 8, 9)
    target = torch.rand(2, 3, 8, 9) > 0.5
    known = torch.ones_like(target)
    known[:, 1] = False
    known[0, :, :4] = False
    loss = dice_bce(pixel_sums(logits, target, known))
    flipped = torch.where(known, target, ~target)
    assert torch.equal(dice_bce(pixel_sums(logits, flipped, known)), loss)
    parts = []
    for c in (0, 2):
        area = known[:, c]
        p, t = logits[:, c][area].sigmoid(), target[:, c][area].float()
        dice = 1 - (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1)
        parts.append(dice + functional.binary_cross_entropy(p, t))
    torch.testing.assert_close(loss, sum(parts) / 2)
    assert dice_bce(pixel_sums(logits, target, torch.zeros_like(known))) == 0
