"""The colour threshold: features, and the fit on counted pixels."""

import numpy as np
import torch

from holohisto.segmenter.baselines.threshold import Histograms, colour_features


def test_threshold_finds_the_feature_that_separates():
    random = np.random.default_rng(0)
    target = np.zeros((1, 1, 64, 96), bool)
    target[..., 10:40, 20:60] = True
    rgb = random.integers(100, 200, (1, 3, 64, 96), dtype=np.uint8)
    rgb[:, 1][target[:, 0]] = random.integers(20, 60, target.sum(), dtype=np.uint8)
    histograms = Histograms(1)
    histograms.add(
        torch.from_numpy(rgb), torch.from_numpy(target), torch.ones(1, 1, 64, 96, dtype=torch.bool)
    )
    model = histograms.best()
    found = model(None, torch.from_numpy(rgb), (64, 96)) >= 0
    truth = torch.from_numpy(target)
    dice = 2 * (found & truth).sum() / (found.sum() + truth.sum())
    assert dice > 0.99
    assert "below" in model.describe(0)


def test_threshold_of_a_class_never_seen_finds_nothing():
    rgb = torch.randint(0, 256, (1, 3, 32, 48), dtype=torch.uint8)
    target = torch.zeros(1, 2, 32, 48, dtype=torch.bool)
    target[:, 0, 5:20] = True
    histograms = Histograms(2)
    histograms.add(rgb, target, torch.ones_like(target))
    found = histograms.best()(None, rgb, (32, 48)) >= 0
    assert found[:, 0].any()
    assert not found[:, 1].any()


def test_colour_features_of_known_pixels():
    rgb = torch.tensor([[255, 0], [0, 255], [0, 0]], dtype=torch.uint8).reshape(1, 3, 1, 2)
    found = colour_features(rgb)
    assert found[0, 0].flatten().tolist() == [1, 0]
    torch.testing.assert_close(found[0, 4].flatten(), torch.ones(2), atol=2e-3, rtol=0)
