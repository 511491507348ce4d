"""Dropout of channels, a function of the sample alone."""

import pytest
import torch
from torch import nn

from holohisto.config.models import HolohistoModel
from holohisto.segmenter.file import build_segmenter
from holohisto.segmenter.holohisto.channel_dropout import ChannelDropout, leave_out

CODEBOOK = torch.randn(32, 6, generator=torch.Generator().manual_seed(0))


def test_channels_left_out_follow_from_the_samples_seed():
    """Not from what else is in the batch, nor from torch's random state; the mean stays."""
    layer = ChannelDropout()
    x = torch.ones(3, 400, 2, 5)
    assert torch.equal(layer(x), x)
    leave_out(layer, 0.2, [7, 8, 9])
    first, second = layer(x), layer(x)
    left_out = (first == 0).all(dim=(2, 3))  # (3, 400)
    assert torch.equal(first, 1.25 * (~left_out[:, :, None, None] * x))
    assert (left_out.float().mean(dim=1) - 0.2).abs().max() < 0.06
    assert first.mean().item() == pytest.approx(1, abs=0.05)
    assert not torch.equal(first, second)
    assert len({tuple(row.tolist()) for row in left_out}) == 3
    leave_out(layer, 0.2, [8])
    torch.manual_seed(5)
    assert torch.equal(layer(x[:1])[0], first[1])
    assert torch.equal(layer(x[:1])[0], second[1])
    leave_out(layer, 0.2, [1, 2, 3])
    assert torch.equal(layer.eval()(x), x)


def test_a_segmenter_leaves_channels_out_while_it_is_trained():
    torch.manual_seed(0)
    model = build_segmenter(HolohistoModel(size="T"), CODEBOOK, 16, 1)
    norms = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    tokens, rgb = torch.randint(32, (1, 4, 6)), torch.randint(256, (1, 3, 64, 96)).byte()

    def logits(share, seed):
        leave_out(model.train(), share, [seed])
        for norm in norms:  # so that nothing else differs between training and use
            norm.eval()
        return model(tokens, rgb, size=(64, 96))

    assert torch.equal(logits(0.5, 1), logits(0.5, 1))
    assert not torch.equal(logits(0.5, 1), logits(0.5, 2))
    torch.testing.assert_close(logits(0.0, 1), model.eval()(tokens, rgb, size=(64, 96)))
