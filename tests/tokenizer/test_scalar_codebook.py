"""Finite scalar quantisation, against plain Python."""

import itertools
import math

import pytest
import torch

from holohisto.tokenizer.codebook import ScalarCodebook

LEVELS = [(8, 8, 5, 5, 4), (2, 3), (5,), (4, 4, 4), (7, 2, 6)]


def slow(latent, levels):
    """Level of each dimension: the interval of -1 to 1, cut into equal parts, that tanh is in."""
    return [
        next(
            n for n in range(count) if math.tanh(value) <= 2 * (n + 1) / count - 1 or n == count - 1
        )
        for value, count in zip(latent, levels, strict=True)
    ]


@pytest.mark.parametrize("levels", LEVELS)
def test_codes_are_all_combinations_of_levels(levels):
    codes = ScalarCodebook(levels).codes
    assert codes.shape == (math.prod(levels), len(levels))
    assert codes.dtype == torch.float32
    grids = [[(2 * n + 1) / count - 1 for n in range(count)] for count in levels]
    expected = sorted(itertools.product(*grids))
    torch.testing.assert_close(torch.tensor(sorted(codes.tolist())), torch.tensor(expected))
    assert len(codes.unique(dim=0)) == math.prod(levels)
    torch.testing.assert_close(codes.mean(dim=0), torch.zeros(len(levels)))


@pytest.mark.parametrize("levels", LEVELS)
def test_tokens_and_codes_are_those_of_the_interval_of_each_dimension(levels):
    torch.manual_seed(0)
    book = ScalarCodebook(levels)
    latents = 2 * torch.randn(11, 13, len(levels))
    tokens, codes = book.assign(latents), book.quantise(latents)
    assert tokens.shape == (11, 13)
    assert tokens.dtype == torch.int64
    for y, x in itertools.product(range(11), range(13)):
        places = slow(latents[y, x].tolist(), levels)
        number = sum(place * math.prod(levels[:n]) for n, place in enumerate(places))
        assert tokens[y, x] == number
        expected = [(2 * n + 1) / count - 1 for n, count in zip(places, levels, strict=True)]
        torch.testing.assert_close(codes[y, x], torch.tensor(expected))
    torch.testing.assert_close(codes, book.codes[tokens])


@pytest.mark.parametrize("levels", LEVELS)
def test_every_code_has_a_latent_that_becomes_it(levels):
    book = ScalarCodebook(levels)
    latents = torch.atanh(book.codes)
    assert torch.equal(book.assign(latents), torch.arange(math.prod(levels)))
    torch.testing.assert_close(book.quantise(latents), book.codes)


def test_latents_of_any_size_are_bounded():
    book = ScalarCodebook((8, 5))
    far = torch.tensor([[-1e6, -1e6], [1e6, 1e6], [0.0, 0.0]])
    assert book.assign(far).tolist() == [0, 39, 4 + 8 * 2]
    expected = torch.tensor([[-0.875, -0.8], [0.875, 0.8], [0.125, 0.0]])
    torch.testing.assert_close(book.quantise(far), expected)


def test_two_levels_are_signs():
    book = ScalarCodebook((2, 2))
    latents = torch.tensor([[-0.01, 0.01], [3.0, -2.0]])
    torch.testing.assert_close(book.quantise(latents), 0.5 * latents.sign())


@pytest.mark.parametrize("count", [2, 3, 4, 5, 8])
def test_latents_of_spread_1_use_every_level(count):
    torch.manual_seed(0)
    tokens = ScalarCodebook((count, 2)).assign(torch.randn(20_000, 2))
    uses = torch.bincount(tokens % count, minlength=count) / 20_000
    assert uses.min() > 0.5 / count
    torch.testing.assert_close(uses, uses.flip(0), rtol=0, atol=0.015)  # symmetric


def test_rounding_passes_its_gradient_straight_through():
    book = ScalarCodebook((5, 4))
    latents = torch.tensor([[0.3, -0.2], [-1.0, 0.8]], requires_grad=True)
    (gradient,) = torch.autograd.grad(book.quantise(latents).sum(), latents)
    torch.testing.assert_close(gradient, 1 - torch.tanh(latents.detach()).square())


def test_nothing_of_it_is_learned_or_saved():
    book = ScalarCodebook((5, 4))
    assert list(book.parameters()) == []
    assert book.state_dict() == {}
