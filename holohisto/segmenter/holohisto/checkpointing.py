"""Activation checkpointing: a block keeps its input alone and recomputes its activations.

Chen et al. 2016, arXiv 1604.06174. Less memory for the backward pass, about a third more time, and
the same result bit for bit.
"""

import contextlib
from collections.abc import Iterator

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

Context = contextlib.AbstractContextManager[None]


def checkpointed(block: nn.Module, x: Tensor) -> Tensor:
    """Return block(x), keeping only x for the backward pass."""

    def contexts() -> tuple[Context, Context]:
        return contextlib.nullcontext(), statistics_untouched(block)

    out = checkpoint(block, x, use_reentrant=False, context_fn=contexts)
    assert isinstance(out, Tensor)
    return out


@contextlib.contextmanager
def statistics_untouched(block: nn.Module) -> Iterator[None]:
    """Freeze the running statistics of batch norms while tiles pass that pass a second time."""
    norms = [module for module in block.modules() if isinstance(module, nn.BatchNorm2d)]
    usual = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
        norm.num_batches_tracked = None
    try:
        yield
    finally:
        for norm, (momentum, batches) in zip(norms, usual, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, batches
