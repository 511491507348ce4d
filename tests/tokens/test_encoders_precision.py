"""Precision of the encoder: bf16 where it is asked for, or on a GPU."""

import pytest
import torch

from holohisto.config.training import TokensOptions
from holohisto.tokens.encoders import uses_bf16


@pytest.mark.parametrize(
    ("precision", "device", "expected"),
    [
        ("auto", "cpu", False),
        ("auto", "cuda", True),
        ("bf16", "cpu", True),
        ("fp32", "cuda", False),
    ],
)
def test_bf16_is_used_where_it_is_asked_for_or_on_a_gpu(precision, device, expected):
    assert uses_bf16(TokensOptions(precision=precision), torch.device(device)) is expected
