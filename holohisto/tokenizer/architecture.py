"""The options that determine a VQGAN, and its downscale, reach and halo."""

import math
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from holohisto.config.training import WIDEST
from holohisto.runtime.arithmetic import round_up

SHALLOW = 2
"""Levels of the encoder that are its first phase: full and half resolution, most of the work."""


Codes = Annotated[int, Field(ge=2, le=65_536)]
"""Number of codes; a token is stored in 16 bits."""


Width = Annotated[int, Field(ge=1, le=WIDEST)]
Levels = Field(min_length=2, max_length=7)


def groups_of(width: int, groups: int | None) -> int:
    """Return the groups of a normalisation of `width` channels; None: the default.

    32 groups from 128 channels, as published; below, 4 channels per group.
    """
    if groups is not None:
        return groups
    return math.gcd(width, 32) if width >= 128 else width // 4


class Architecture(BaseModel):
    """The options that a VQGAN is built from; stored in the header of its file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    channels: Width
    multipliers: Annotated[tuple[Annotated[int, Field(ge=1, le=64)], ...], Levels]
    residual_blocks: Annotated[int, Field(ge=1, le=32)]
    codebook: Codes
    dimension: Width
    """Length of a code."""
    levels: Annotated[tuple[Codes, ...], Field(min_length=1, max_length=64)] | None = None
    """Values of each dimension of a code where they are quantised one by one (FSQ); else None."""
    latent: Width | None = None
    """Channels of the encoder's last layer, mapped to `dimension` by a 1x1; None: `dimension`."""
    attention: Annotated[tuple[Annotated[int, Field(ge=0, le=6)], ...], Field(max_length=7)] = ()
    """Levels with attention after each residual block, from 0."""
    middle_attention: bool = False
    norm_groups: Width | None = None
    """Groups of every normalisation; None: the default of FreezableNorm."""
    scored: bool = False
    """Tokens by a score (Gumbel VQGAN) instead of the nearest code."""
    pixel_range: Literal["-1..1", "0..1"] = "-1..1"

    @model_validator(mode="after")
    def _widths_divide_into_groups(self) -> "Architecture":
        for multiplier in (1, *self.multipliers):
            width = self.channels * multiplier
            if width > WIDEST:
                raise ValueError(f"a level of {width} channels is over {WIDEST}")
            groups = groups_of(width, self.norm_groups)
            if groups < 1 or width % groups:
                raise ValueError(
                    "a level's width is no multiple of the groups of its normalisation"
                    f" (found {width}; allowed multiples of {groups})"
                )
        return self

    @property
    def downscale(self) -> int:
        """Side of the block of pixels that becomes one token (f)."""
        return 2 ** (len(self.multipliers) - 1)

    @property
    def local(self) -> bool:
        """Whether a token depends on its neighbourhood alone, once statistics are frozen."""
        return not (self.attention or self.middle_attention)

    @property
    def shallow_levels(self) -> int:
        """Levels of the encoder's first phase."""
        return min(SHALLOW, len(self.multipliers) - 1)

    @property
    def shallow_reach(self) -> int:
        """Pixels beyond its own block that a feature of the first phase depends on."""
        return self._reach(self.shallow_levels)

    @property
    def reach(self) -> int:
        """Pixels beyond its own block that a token depends on, to the right and below.

        To the left and above fewer: downsampling pads on one side only.
        """
        levels = len(self.multipliers) - 1
        last_level = 2 * self.residual_blocks * 2**levels
        middle_and_end = 5 * 2**levels
        return self._reach(levels) + last_level + middle_and_end

    @property
    def halo(self) -> int:
        """Context, in whole tokens, under which tokens do not depend on the tiling; in pixels."""
        return round_up(self.reach, self.downscale)

    def _reach(self, levels: int) -> int:
        """Pixels beyond its own block that the output of the first `levels` levels depends on."""
        residual = 2 * self.residual_blocks * (2**levels - 1)
        downsampling = 2**levels - 1
        return 1 + residual + downsampling
