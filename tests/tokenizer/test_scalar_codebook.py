"""Finite scalar quantisation, against the paper's text in plain Python."""

import itertools
import math

import pytest
import torch

from holohisto.tokenizer.codebook import ScalarCodebook

LEVELS = [(8, 8, 5, 5, 4), (4, 3), (5,), (4, 4, 4), (7, 3, 6)]


def slow(latent, levels):
    """Integer of each dimension: tanh to a range of `level` integers, rounded half to even."""
    integers = []
    for value, count in zip(latent, levels, strict=True):
        bound, offset = (count - 1) * 1.001 / 2, 0.5 if count % 2 == 0 else 0.0
        bounded = math.tanh(value + math.atanh(offset / bound)) * bound - offset
        integers.append(round(bounded))
    return integers


@pytest.mark.parametrize("levels", LEVELS)
def test_codes_are_all_combinations_of_levels(levels):
    codes = ScalarCodebook(levels).codes
    assert codes.shape == (math.prod(levels), len(levels))
    grids = [[(n - count // 2) / (count // 2) for n in range(count)] for count in levels]
    expected = sorted(itertools.product(*grids))
    torch.testing.assert_close(torch.tensor(sorted(codes.tolist())), torch.tensor(expected))
    assert len(codes.unique(dim=0)) == math.prod(levels)
    assert codes.abs().max() == 1


@pytest.mark.parametrize("levels", LEVELS)
def test_tokens_and_codes_are_those_of_the_paper(levels):
    torch.manual_seed(0)
    book = ScalarCodebook(levels)
    latents = 2 * torch.randn(11, 13, len(levels))
    tokens, codes = book.assign(latents), book.quantise(latents)
    assert tokens.shape == (11, 13)
    assert tokens.dtype == torch.int64
    for y, x in itertools.product(range(11), range(13)):
        integers = slow(latents[y, x].tolist(), levels)
        digits = [n + count // 2 for n, count in zip(integers, levels, strict=True)]
        assert all(0 <= digit < count for digit, count in zip(digits, levels, strict=True))
        number = sum(digit * math.prod(levels[:n]) for n, digit in enumerate(digits))
        assert tokens[y, x] == number
        expected = [n / (count // 2) for n, count in zip(integers, levels, strict=True)]
        torch.testing.assert_close(codes[y, x], torch.tensor(expected))
    torch.testing.assert_close(codes, book.codes[tokens])


@pytest.mark.parametrize("levels", LEVELS)
def test_every_code_has_a_latent_that_becomes_it(levels):
    book = ScalarCodebook(levels)
    counts = torch.tensor(levels)
    bound = (counts - 1) * 1.001 / 2
    offset = torch.where(counts % 2 == 0, 0.5, 0.0)
    centred = (book.codes * (counts // 2) + offset) / bound
    latents = torch.atanh(centred) - torch.atanh(offset / bound)
    assert torch.equal(book.assign(latents), torch.arange(math.prod(levels)))


def test_latents_of_any_size_are_bounded():
    book = ScalarCodebook((8, 5))
    far = torch.tensor([[-1e6, -1e6], [1e6, 1e6], [0.0, 0.0]])
    assert book.assign(far).tolist() == [0, 39, 4 + 8 * 2]
    torch.testing.assert_close(
        book.quantise(far), torch.tensor([[-1.0, -1.0], [0.75, 1.0], [0.0, 0.0]])
    )


def test_latents_of_spread_one_use_every_level_of_the_default():
    torch.manual_seed(0)
    levels = (8, 8, 5, 5, 4)
    book = ScalarCodebook(levels)
    codes = book.codes[book.assign(torch.randn(20_000, 5))]
    for dimension, count in enumerate(levels):
        _, uses = codes[:, dimension].unique(return_counts=True)
        assert len(uses) == count
        assert uses.min() > 0.02 * 20_000


def test_rounding_passes_its_gradient_straight_through():
    book = ScalarCodebook((5, 4))
    latents = torch.tensor([[0.3, -0.2], [-1.0, 0.8]], requires_grad=True)
    (gradient,) = torch.autograd.grad(book.quantise(latents).sum(), latents)
    counts = torch.tensor([5.0, 4.0])
    bound = (counts - 1) * 1.001 / 2
    shift = torch.tensor([0.0, math.atanh(0.5 / float(bound[1]))])
    slope = (1 - torch.tanh(latents.detach() + shift).square()) * bound / (counts // 2)
    torch.testing.assert_close(gradient, slope)


def test_nothing_of_it_is_learned_or_saved():
    book = ScalarCodebook((5, 4))
    assert list(book.parameters()) == []
    assert book.state_dict() == {}
