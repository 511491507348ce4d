"""Token maps with their tokens left out or shuffled, to measure what the tokens add."""

import hashlib
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from holohisto.tokens.conditions import AS_THEY_ARE, LEFT_OUT, SHUFFLED
from holohisto.tokens.token_map import TokenMap

MISSING = -1
"""What segmenters read as a token left out."""


def left_out(token_map: TokenMap, tissue: np.ndarray) -> TokenMap:
    """Return the map of the slide itself with every token left out; `tissue` is not looked at."""
    missing = np.broadcast_to(np.int32(MISSING), token_map.tokens[0].shape)  # takes no memory
    return replace(token_map, tokens=[missing], backgrounds=(MISSING,))


def shuffled(token_map: TokenMap, tissue: np.ndarray) -> TokenMap:
    """Return the map of the slide itself with the tokens of its tissue permuted at random.

    The permutation follows from the slide's id alone; the background keeps its tokens.

    Args:
        token_map: The tokens, (h, w).
        tissue: (h, w) bool, the tokens to permute.
    """
    seed = int.from_bytes(hashlib.sha256(token_map.slide.encode()).digest()[:8], "little")
    tokens = token_map.tokens[0].copy()
    tokens[tissue] = np.random.default_rng(seed).permutation(tokens[tissue])
    return replace(token_map, tokens=[tokens], backgrounds=token_map.backgrounds[:1])


def _unchanged(token_map: TokenMap, tissue: np.ndarray) -> TokenMap:
    return token_map


CONDITIONS: dict[str, Callable[[TokenMap, np.ndarray], TokenMap]] = {
    AS_THEY_ARE: _unchanged,
    LEFT_OUT: left_out,
    SHUFFLED: shuffled,
}
"""By the name that the tables give it: from a token map and where its tissue is to another map."""
