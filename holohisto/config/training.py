"""Options of everything that is trained: tokenizer, token maps, segmenters."""

import math
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from holohisto.config.augmentation import Augmentation
from holohisto.config.fields import (
    EXPERT,
    Count,
    Digits,
    FitPath,
    Fraction,
    PixelRange,
    Positive,
    Section,
    TileSize,
)

Level = Annotated[int, Field(ge=2)]
WIDEST = 16_384
"""Largest number of channels of a tokenizer's level."""
MOST_CODES = 65_534
"""Largest codebook: a token is stored in 16 bits."""


class TokenizerOptions(Section):
    """The VQGAN: a checkpoint, or a network to train on the cohort's own foreground."""

    checkpoint: FitPath | None = Field(
        default=None,
        description="File or folder of a tokenizer to use: one trained here, a published VQGAN"
        " (taming, latent diffusion, openMUSE, diffusers), or `starter` for the one that comes with"
        " HoloHisto. Empty: train one on the cohort.",
    )
    pixel_range: PixelRange | None = Field(
        default=None,
        description="Range of input pixels of a published VQGAN whose files do not state it.",
        json_schema_extra=EXPERT,
    )
    channels: Annotated[int, Field(ge=8, le=WIDEST, multiple_of=8)] = Field(
        default=64, description="Channels of the first level.", json_schema_extra=EXPERT
    )
    multipliers: Annotated[
        tuple[Annotated[int, Field(ge=1, le=64)], ...], Field(min_length=2, max_length=6)
    ] = Field(
        default=(1, 2, 2, 4, 4),
        description="Channels of each level, as multiples of `channels`. n levels reduce each side"
        " by f = 2^(n-1).",
    )
    residual_blocks: Annotated[int, Field(ge=1, le=32)] = Field(
        default=2, description="Residual blocks per level.", json_schema_extra=EXPERT
    )
    levels: Annotated[tuple[Level, ...], Field(min_length=2, max_length=16)] = Field(
        default=(2,) * 13,
        description="Number of values of each dimension of a code (finite scalar quantisation)."
        " Their product is the size of the codebook, at most 65534. Two values, signs, change least"
        " when a slide is stained otherwise.",
    )
    tile: Annotated[int, Field(ge=64, multiple_of=64)] = Field(
        default=256, description="Side of a training tile, working pixels."
    )
    batch: Count = Field(
        default=8,
        description="Tiles per training step, about four of each slide and stain. All of them are"
        " encoded; one of each stain is decoded.",
    )
    steps: Count = Field(default=20_000, description="Number of training steps.")
    learning_rate: Positive = Field(
        default=2e-4, description="Learning rate of the VQGAN and its discriminator."
    )
    adversarial_start: Fraction = Field(
        default=0.5,
        description="Share of the steps before the discriminator's loss is added.",
        json_schema_extra=EXPERT,
    )
    adversarial_weight: Annotated[float, Field(ge=0)] = Field(
        default=0.1,
        description="Weight of the discriminator's loss relative to the L1 loss.",
        json_schema_extra=EXPERT,
    )
    augmentation: Augmentation = Field(
        default=Augmentation(),
        description="Random changes of the tokenizer's training tiles.",
        json_schema_extra=EXPERT,
    )
    cutmix: Fraction = Field(
        default=1.0,
        description="Share of the pairs of the tokenizer's training tiles that exchange a rectangle"
        " (CutMix).",
        json_schema_extra=EXPERT,
    )
    annotation_weight: Annotated[float, Field(ge=0)] = Field(
        default=2.0,
        description="Weight of the loss of a small head that predicts the annotated classes of"
        " training slides from the codes. 0: no annotation is read and training is"
        " self-supervised.",
    )

    @field_validator("levels")
    @classmethod
    def _sixteen_bits(cls, levels: tuple[int, ...]) -> tuple[int, ...]:
        if math.prod(levels) > MOST_CODES:
            raise ValueError(f"a codebook of {math.prod(levels)} codes is over {MOST_CODES}")
        return levels

    @model_validator(mode="after")
    def _can_be_built(self) -> "TokenizerOptions":
        if (width := self.channels * max(self.multipliers)) > WIDEST:
            raise ValueError(f"a level of {width} channels is over {WIDEST}")
        return self

    @model_validator(mode="after")
    def _pixel_range_needs_a_checkpoint(self) -> "TokenizerOptions":
        if self.pixel_range is not None and self.checkpoint is None:
            raise ValueError("pixel_range belongs to a checkpoint, and none is given")
        return self


class TokensOptions(Section):
    """How a slide's token map is computed."""

    mode: Literal["frozen", "window", "online"] = Field(
        default="frozen",
        description="`frozen`: seam-free token maps, for tokenizers without attention. `window`:"
        " every window of 256 px is encoded separately, for tokenizers with attention. `online`: no"
        " token maps; every tile is encoded each time it is used.",
    )
    orientations: Annotated[Literal[1, 8], Digits] = Field(
        default=8,
        description="Orientations (rotations and flips) in which training slides are encoded.",
    )
    appearances: Annotated[int, Field(ge=0, le=63)] = Field(
        default=7,
        description="Augmented appearances in which training slides are encoded, in addition to the"
        " original one. The token map holds the larger of `orientations` and 1 + `appearances`"
        " variants; each combines one orientation with one appearance.",
    )
    augmentation: Augmentation = Field(
        default=Augmentation(),
        description="Random changes that make up the appearances of training slides.",
        json_schema_extra=EXPERT,
    )
    calibration_tiles: Count = Field(
        default=16,
        description="Squares of 256 px of a slide's foreground from which the normalisation"
        " statistics of its tokens are computed (mode `frozen`).",
        json_schema_extra=EXPERT,
    )
    block: Annotated[int, Field(ge=256, multiple_of=256)] = Field(
        default=2048,
        description="Approximate side of the area encoded at a time, working pixels. A larger block"
        " needs more memory and less time; latents differ by rounding only.",
        json_schema_extra=EXPERT,
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        default="auto",
        description="Precision of the encoder. `auto`: bf16 on GPUs, fp32 on CPUs.",
        json_schema_extra=EXPERT,
    )

    @property
    def variants(self) -> int:
        """Number of variants in the token map of a training slide."""
        return max(self.orientations, 1 + self.appearances)

    @property
    def single_variant(self) -> "TokensOptions":
        """The options of a slide that is encoded once, without those that define variants."""
        return TokensOptions(
            mode=self.mode,
            orientations=1,
            appearances=0,
            calibration_tiles=self.calibration_tiles,
            block=self.block,
            precision=self.precision,
        )


class TrainOptions(Section):
    """Training of segmenters, the same for every model."""

    tile: TileSize = Field(
        default=(3840, 2160), description="Width and height of a training tile, working pixels."
    )
    sampler: Literal["random", "grid"] = Field(
        default="random",
        description="`random`: tiles at random places of the foreground. `grid`: the tiles of a"
        " fixed grid that contain foreground.",
    )
    annotated_share: Fraction = Field(
        default=0.5,
        description="Share of the training tiles that are drawn around annotated objects.",
    )
    steps: Count = Field(
        default=20_000,
        description="Number of optimiser steps, each over `batch` tiles of `tile`.",
    )
    batch: Count = Field(default=8, description="Tiles per training step, over all devices.")
    micro_batch: Count | None = Field(
        default=None,
        description="Micro-batch per device. Gradients accumulate over the micro-batches of a step."
        " Empty: the whole share of the step.",
        json_schema_extra=EXPERT,
    )
    activation_checkpointing: bool | None = Field(
        default=None,
        description="Recompute the blocks of `holohisto` in the backward pass instead of keeping"
        " their activations: a fraction of the memory, about a third more time, the same result."
        " Empty: where a step would not fit the GPU otherwise.",
        json_schema_extra=EXPERT,
    )
    devices: Count = Field(
        default=1,
        description="GPUs per machine that share the tiles of a step. The result differs by"
        " rounding only, so a change reruns nothing.",
    )
    nodes: Count = Field(
        default=1,
        description="Machines of a SLURM job, each with `devices` GPUs, that share the tiles of a"
        " step.",
    )
    validate_every: Count = Field(
        default=1000,
        description="Steps between two validations. Each ends with a row of the training table; the"
        " weights with the best validation Dice are saved. A validation reads at most a tenth as"
        " many tiles as these steps do, or 64.",
    )
    patience: Annotated[int, Field(ge=0)] = Field(
        default=0,
        description="Validations without a better Dice after which training stops early; 0 disables"
        " early stopping.",
        json_schema_extra=EXPERT,
    )
    learning_rate: Positive = Field(
        default=2e-4, description="Peak learning rate, after warm-up and before the cosine decay."
    )
    weight_decay: Annotated[float, Field(ge=0)] = Field(
        default=0.05, description="Weight decay of AdamW.", json_schema_extra=EXPERT
    )
    warmup: Fraction = Field(
        default=0.05,
        description="Share of the steps over which the learning rate rises to its peak.",
        json_schema_extra=EXPERT,
    )
    clip: Positive = Field(
        default=1.0,
        description="Gradient norm above which gradients are clipped.",
        json_schema_extra=EXPERT,
    )
    ema: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.999,
        description="Decay of the exponential moving average of the weights, which is what is"
        " validated and saved.",
        json_schema_extra=EXPERT,
    )
    orientations: Annotated[Literal[1, 8], Digits] = Field(
        default=8,
        description="Orientations (rotations and flips) of training tiles read as pixels. Those of"
        " cached tokens are set by `tokens.orientations`.",
    )
    token_dropout: Fraction = Field(
        default=0.5,
        description="Largest share of a training tile's cached tokens that are masked at random."
        " Each tile's share is drawn evenly from 0 to it.",
        json_schema_extra=EXPERT,
    )
    channel_dropout: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.2,
        description="Share of the channels of `holohisto` that are dropped at random in training,"
        " around the fusion of both stages.",
        json_schema_extra=EXPERT,
    )
    cutmix: Fraction = Field(
        default=0.0,
        description="Share of the pairs of training tiles that exchange a rectangle (CutMix). Helps"
        " long training on few slides not to memorise the surroundings of objects.",
        json_schema_extra=EXPERT,
    )
    augmentation: Augmentation = Field(
        default=Augmentation(),
        description="Random changes of training tiles read as pixels. Cached tokens have the"
        " appearances of `tokens.augmentation`, and the pixels beside them change in addition.",
        json_schema_extra=EXPERT,
    )
