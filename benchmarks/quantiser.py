"""The quantiser beside taming-transformers' VectorQuantizer2.

    python benchmarks/quantiser.py

One 4K tile: N = 32,400 latents, a codebook of 8,192 codes of length 64 and one of 16,384 of length
256. Targets: three times as fast, a twentieth of the memory, and the same indices wherever the
published ones are those of float64. `product alone` multiplies latents and codes by the same
chunks: a lower bound for any exact search in fp32.
"""

from functools import partial

import race
import torch
from taming.modules.vqvae.quantize import VectorQuantizer2
from torch import Tensor

from holohisto.tokenizer.codebook import Codebook
from holohisto.tokenizer.nearest import SCORES

GRID = (135, 240)
BOOKS = {"K=8192 d=64": (8192, 64), "K=16384 d=256": (16384, 256)}
FASTER, SMALLER = 3, 20


def data(size: int, dimension: int, device: str) -> tuple[Tensor, Tensor]:
    """Codes (K, d) and latents (1, d, 135, 240), neither centred, as an encoder's are not."""
    random = torch.Generator().manual_seed(0)
    centre = torch.randn(dimension, generator=random)
    codes = torch.randn(size, dimension, generator=random) + centre
    latents = torch.randn(*GRID, dimension, generator=random) + centre
    return codes.to(device), latents.permute(2, 0, 1)[None].contiguous().to(device)


def contenders(size: int, dimension: int, device: str) -> race.Contenders:
    """From latents as the encoder gives them to indices (N,)."""
    codes, latents = data(size, dimension, device)
    published = VectorQuantizer2(size, dimension, beta=0.25).to(device).requires_grad_(False)
    published.embedding.weight.copy_(codes)
    ours = Codebook(size, dimension).to(device).requires_grad_(False)
    ours.embedding.weight.copy_(codes)
    return {
        "VectorQuantizer2": lambda: published(latents)[2][2],
        "ours": lambda: ours.assign(latents.permute(0, 2, 3, 1)).reshape(-1),
        "product alone": lambda: product(latents.permute(0, 2, 3, 1).flatten(0, 2), codes),
    }


def product(rows: Tensor, codes: Tensor) -> None:
    """Multiply (N, d) by (K, d) transposed, by the chunks that the quantiser takes."""
    step = SCORES[rows.device.type] // len(codes)
    buffer = codes.new_empty(step, len(codes))
    for chunk in rows.split(step):
        torch.mm(chunk, codes.T, out=buffer[: len(chunk)])


def brute_force(codes: Tensor, latents: Tensor) -> Tensor:
    """The nearest codes in float64, (N,)."""
    rows, codes = latents.permute(0, 2, 3, 1).flatten(0, 2), codes.double()
    half = 0.5 * codes.square().sum(dim=1)
    chunks = rows.split(512)
    return torch.cat([(half - chunk.double() @ codes.T).argmin(dim=1) for chunk in chunks])


def main() -> None:
    """Print the table; exit 1 if a target is missed."""
    arguments = race.options(__doc__).parse_args()
    races = {name: partial(contenders, *book) for name, book in BOOKS.items()}
    missed = []
    for name, results in race.run(races, arguments).items():
        book, device = BOOKS[name], arguments.device
        exact = brute_force(*data(*book, device))
        runs = contenders(*book, device)
        wrong = {key: runs[key]() != exact for key in ("VectorQuantizer2", "ours")}
        for key, differs in wrong.items():
            print(f"{name:<34}{key:<22}{int(differs.sum())} of {len(exact)} are not float64's")
        published, ours, _ = results.values()
        if published.best / ours.best < FASTER:
            missed.append(f"{name}: {FASTER} times as fast")
        if published.peak_mb / ours.peak_mb < SMALLER:
            missed.append(f"{name}: 1/{SMALLER} of the memory")
        if (wrong["ours"] & ~wrong["VectorQuantizer2"]).any():
            missed.append(f"{name}: the same indices where float64 agrees")
    race.verdict(missed)


if __name__ == "__main__":
    main()
