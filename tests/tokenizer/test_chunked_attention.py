"""Attention in chunks of queries."""

import subprocess
import sys

import pytest
import torch
from taming.modules.diffusionmodules.model import AttnBlock

from holohisto.tokenizer.attention import ChunkedAttention


def attention_blocks(channels: int) -> tuple[AttnBlock, ChunkedAttention]:
    torch.manual_seed(0)
    published = AttnBlock(channels).eval().requires_grad_(False)
    ours = ChunkedAttention(channels, 32).eval().requires_grad_(False)
    ours.load_state_dict(ours.state_dict() | published.state_dict())
    return published, ours


@pytest.mark.parametrize("size", [(1, 1), (7, 13), (33, 65)])  # 2145 positions: three chunks
def test_attention_in_chunks_is_tamings(size):
    published, ours = attention_blocks(64)
    pixels = 3 * torch.randn(2, 64, *size)
    torch.testing.assert_close(ours(pixels), published(pixels), rtol=1e-5, atol=1e-5)


GROWTH = """
import resource, torch
from holohisto.tokenizer.attention import ChunkedAttention
block = ChunkedAttention(32, 32).eval().requires_grad_(False)
block(torch.randn(1, 32, 32, 32))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
block(torch.randn(1, 32, 96, 128))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_attention_does_not_keep_all_pairs_of_positions():
    done = subprocess.run(
        [sys.executable, "-c", GROWTH], check=True, capture_output=True, text=True
    )
    pairs = 4 * (96 * 128) ** 2 / 1024  # KiB in fp32
    assert int(done.stdout) < 0.25 * pairs
