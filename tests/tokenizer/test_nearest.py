import pytest
import torch

from holohisto.tokenizer import nearest
from holohisto.tokenizer.codebook import Codebook, ProjectedCodebook
from holohisto.tokenizer.nearest import Scorer, _candidates


def test_nearest_is_float64_brute_force_for_far_off_centre_codes():
    torch.manual_seed(1)
    book = Codebook(300, 16)
    book.embedding.weight.data = torch.randn(300, 16) + 100
    latents = torch.randn(37, 29, 16) + 100
    distance = torch.cdist(latents.double().reshape(-1, 16), book.embedding.weight.double())
    assert torch.equal(book.assign(latents).reshape(-1), distance.argmin(dim=1))


def test_nearest_is_float64_brute_force_where_fp32_cannot_tell():
    torch.manual_seed(2)
    codes = torch.randn(500, 16)
    book = Codebook(1000, 16)
    book.embedding.weight.data = torch.cat([codes, codes + 1e-7 * torch.randn(500, 16)])
    latents = torch.randn(3001, 16)
    wide = book.embedding.weight.detach().double()
    exact = torch.cat(
        [
            (part.double()[:, None] - wide).square().sum(dim=2).argmin(dim=1)
            for part in latents.split(200)
        ]
    )
    in_fp32 = torch.cdist(latents, wide.float()).argmin(dim=1)
    assert (in_fp32 != exact).float().mean() > 0.2
    assert torch.equal(book.assign(latents), exact)


def test_of_equal_codes_anywhere_in_the_codebook_the_first_is_taken():
    torch.manual_seed(3)
    few = torch.randn(37, 32)
    which = torch.cat([torch.randperm(37), torch.randint(0, 37, (963,))])
    book = Codebook(1000, 32)
    book.embedding.weight.data = few[which]
    latents = few[torch.randint(0, 37, (501,))] + 0.1 * torch.randn(501, 32)
    nearest = torch.cdist(latents.double(), few.double()).argmin(dim=1)
    first = torch.tensor([which.tolist().index(n) for n in range(37)])
    assert torch.equal(book.assign(latents), first[nearest])


def test_scored_codes_are_those_of_the_highest_score():
    torch.manual_seed(4)
    book = ProjectedCodebook(100, 8)
    latents = torch.randn(7, 11, 8)
    scores = book.proj(latents.permute(2, 0, 1)[None])[0]
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(book.assign(latents), scores.argmax(dim=0))


def test_nearest_takes_the_lowest_index_on_ties_and_ignores_autocast():
    book = Codebook(4, 2)
    book.embedding.weight.data = torch.tensor([[5.0, 5.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    latents = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
    with torch.autocast("cpu", torch.bfloat16):
        assert book.assign(latents).tolist() == [1, 1, 3]


def test_nearest_does_not_depend_on_chunks(monkeypatch):
    book = Codebook(50, 4)
    book.embedding.weight.data.normal_()
    latents = torch.randn(1000, 4)
    whole = book.assign(latents)
    monkeypatch.setattr(nearest, "SCORES", {"cpu": 448})
    assert torch.equal(book.assign(latents), whole)


def brute_force(latents, codes):
    half = 0.5 * codes.double().square().sum(dim=1)
    return (half - latents.double() @ codes.double().T).argmin(dim=1)


@pytest.mark.parametrize("spread", [1.0, 1e-3, 1e-6])
def test_nearest_of_long_codes_however_close_together(spread):
    torch.manual_seed(5)
    book = Codebook(1111, 200)
    book.embedding.weight.data = torch.randn(200) + spread * torch.randn(1111, 200)
    latents = book.embedding.weight[torch.randint(0, 1111, (777,))].detach()
    latents += 0.3 * spread * torch.randn(777, 200) + 1e-3
    assert torch.equal(book.assign(latents), brute_force(latents, book.codes.detach()))


def test_no_score_above_the_mean_or_all_the_same():
    book = Codebook(70, 3)
    book.embedding.weight.data = torch.ones(70, 3) * torch.tensor([3.0, -1.0, 0.1])
    assert book.assign(torch.randn(5, 3)).tolist() == [0] * 5
    book.embedding.weight.data[40:] = 0
    assert book.assign(torch.zeros(2, 3)).tolist() == [40, 40]


def test_what_is_not_a_number_is_token_0_and_disturbs_no_other():
    torch.manual_seed(8)
    book = Codebook(90, 5)
    book.embedding.weight.data.normal_()
    latents = torch.randn(40, 5)
    whole = book.assign(latents)
    latents[7, 2] = torch.nan
    whole[7] = 0
    assert torch.equal(book.assign(latents), whole)


def test_nearest_of_codes_in_a_clump_beside_one_far_away():
    torch.manual_seed(6)
    book = Codebook(500, 140)
    clump = 1e-3 * torch.randn(499, 140)
    book.embedding.weight.data = torch.cat([clump, 50 * torch.ones(1, 140)])
    latents = -torch.rand(300, 140)
    assert torch.equal(book.assign(latents), brute_force(latents, book.codes.detach()))


@pytest.mark.parametrize("size", [400, 401])  # with and without lanes
def test_the_best_is_among_few_candidates(size):
    torch.manual_seed(7)
    codes, offsets = torch.randn(size, 130).double(), 5 * torch.randn(size).double()
    codes -= codes.mean(dim=0)
    offsets -= offsets.mean()
    near = torch.randn(200, 130).double()
    best = (near @ codes.T - offsets).argmax(dim=1)
    bound = near.norm(dim=1) * codes.norm(dim=1).max() + offsets.abs().max()
    row, code = _candidates(near.float(), bound, Scorer(codes.float(), offsets.float()))
    assert set(enumerate(best.tolist())) <= set(zip(row.tolist(), code.tolist(), strict=True))
    assert 200 <= len(row) < 1000
