"""The options that determine a VQGAN, and its downscale, reach and halo."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from holohisto.runtime.arithmetic import round_up

SHALLOW = 2
"""Levels of the encoder that are its first phase: full and half resolution, most of the work."""


Codes = Annotated[int, Field(ge=2, le=65_536)]
"""Number of codes; a token is stored in 16 bits."""


class Architecture(BaseModel):
    """The options that a VQGAN is built from; stored in the header of its file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    channels: int
    multipliers: tuple[int, ...]
    residual_blocks: int
    codebook: Codes
    dimension: int
    """Length of a code."""
    levels: tuple[int, ...] | None = None
    """Values of each dimension of a code where they are quantised one by one (FSQ); else None."""
    latent: int | None = None
    """Channels of the encoder's last layer, mapped to `dimension` by a 1x1; None: `dimension`."""
    attention: tuple[int, ...] = ()
    """Levels with attention after each residual block, from 0."""
    middle_attention: bool = False
    norm_groups: int | None = None
    """Groups of every normalisation; None: the default of FreezableNorm."""
    scored: bool = False
    """Tokens by a score (Gumbel VQGAN) instead of the nearest code."""
    pixel_range: Literal["-1..1", "0..1"] = "-1..1"

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
