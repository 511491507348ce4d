"""Losses and facts of tokenizer training, by hand."""

import math

import pytest
import torch

from holohisto.tokenizer.losses import (
    AnnotationHead,
    correlation_loss,
    effective_rank,
    structure_loss,
)


def test_equal_pictures_have_no_loss():
    x = torch.randn(2, 3, 8, 8)
    assert structure_loss(x, x) == 0


def test_a_shift_of_brightness_costs_the_error_of_pixels_alone():
    x = torch.randn(2, 3, 8, 8)
    assert structure_loss(x + 0.25, x).item() == pytest.approx(0.25, abs=1e-6)


def test_an_edge_costs_its_gradients_at_every_scale():
    edge = torch.zeros(1, 3, 8, 8)
    edge[..., 4:] = 1.0
    # Pixels: half of them differ by 1. Gradients: one of 7, of 3, and of 1 column of differences.
    expected = 0.5 + 1 / 7 + 1 / 3 + 1 / 1
    assert structure_loss(edge, torch.zeros_like(edge)).item() == pytest.approx(expected)
    assert structure_loss(edge.mT, torch.zeros_like(edge)).item() == pytest.approx(expected)


def test_correlation_of_equal_and_of_independent_dimensions():
    one = torch.tensor([-1.0, -1.0, 1.0, 1.0])
    other = torch.tensor([-1.0, 1.0, -1.0, 1.0])
    assert correlation_loss(torch.stack([one, other], dim=1)).item() == pytest.approx(0)
    assert correlation_loss(torch.stack([one, -3 * one + 1], dim=1)).item() == pytest.approx(1)
    three = torch.stack([one, one, other], dim=1)  # two of six pairs
    assert correlation_loss(three).item() == pytest.approx(1 / 3)


def test_gradients_of_a_constant_dimension_are_finite():
    latents = torch.randn(5, 7, 3)
    latents[..., 1] = 2.0
    latents.requires_grad_()
    correlation_loss(latents).backward()
    assert torch.isfinite(latents.grad).all()


def test_effective_rank_is_the_number_of_directions():
    torch.manual_seed(0)
    noise = torch.randn(20_000, 5)
    assert effective_rank(noise) == pytest.approx(5, abs=0.01)
    assert effective_rank(noise.reshape(100, 200, 5)) == pytest.approx(effective_rank(noise))
    line = torch.randn(1000, 1) * torch.tensor([1.0, -2.0, 0.5, 3.0]) + 7
    assert effective_rank(line) == pytest.approx(1, abs=1e-3)
    plane = torch.randn(20_000, 2) @ torch.linalg.qr(torch.randn(6, 6))[0][:2]
    assert effective_rank(plane) == pytest.approx(2, abs=0.01)
    assert effective_rank(torch.ones(50, 3)) == 1.0


def test_effective_rank_is_exp_of_the_entropy_of_variances():
    rows = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.5], [0.0, -0.5]])  # shares 4 : 1
    expected = math.exp(-(0.8 * math.log(0.8) + 0.2 * math.log(0.2)))
    assert effective_rank(rows) == pytest.approx(expected)


def head(classes=2):
    torch.manual_seed(0)
    return AnnotationHead(3, classes)


class Given(torch.nn.Module):
    """Stands for the layers: logits as given."""

    def __init__(self, logits):
        super().__init__()
        self.logits = logits

    def forward(self, _codes):
        return self.logits


def test_annotation_loss_is_cross_entropy_plus_soft_dice():
    made = head()
    made.layers = Given(torch.tensor([[[[0.0, 2.0]], [[-1.0, 1.0]]]]))
    annotated = torch.tensor([[[[0.25, 1.0]], [[0.0, 1.0]]]])
    found = made.loss(torch.zeros(1, 1, 2, 3), annotated, torch.tensor([[True, False]]))
    half, high = 0.5, 1 / (1 + math.exp(-2))
    entropy = (-math.log(half) - math.log(high)) / 2
    dice = (2 * (half * 0.25 + high) + 1) / (half + high + 1.25 + 1)
    assert found.item() == pytest.approx(entropy + 1 - dice, abs=1e-6)


def test_only_classes_that_are_annotated_on_the_slide_count():
    made, codes = head(), torch.randn(2, 8, 8, 3)
    annotated = (torch.rand(2, 2, 8, 8) > 0.5).float()
    wrong = annotated.clone()
    wrong[:, 1] = 1 - wrong[:, 1]
    first, both = torch.tensor([[True, False]] * 2), torch.tensor([[True, True]] * 2)
    assert made.loss(codes, annotated, first) == made.loss(codes, wrong, first)
    assert made.loss(codes, annotated, both) != made.loss(codes, wrong, both)
    assert made.loss(codes, annotated, torch.tensor([[False, False]] * 2)) == 0


def test_only_tiles_on_which_a_class_is_known_count():
    made, annotated = head(classes=1), (torch.rand(2, 1, 8, 8) > 0.5).float()
    logits = torch.randn(2, 1, 8, 8)
    made.layers = Given(logits)
    second = made.loss(torch.zeros(2, 8, 8, 3), annotated, torch.tensor([[False], [True]]))
    made.layers = Given(logits[1:])
    alone = made.loss(torch.zeros(1, 8, 8, 3), annotated[1:], torch.tensor([[True]]))
    torch.testing.assert_close(second, alone)


def test_the_head_sees_five_tokens():
    made = head().eval()
    codes = torch.randn(1, 11, 11, 3, requires_grad=True)
    made.layers(codes.permute(0, 3, 1, 2))[0, 0, 5, 5].backward()
    rows, columns = codes.grad.abs().sum(dim=(0, 3)).nonzero(as_tuple=True)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (3, 7, 3, 7)
