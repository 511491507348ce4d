"""Options of each step: defaults, limits and descriptions."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    Field,
    field_validator,
    model_validator,
)

from holohisto.config.fields import (
    Colour,
    Count,
    Digits,
    Fraction,
    PixelRange,
    Positive,
    Section,
    Split,
)


class ClassOptions(Section):
    """One class to segment."""

    values: tuple[int | Colour, ...] | None = Field(
        default=None,
        description="Grey values, or #rrggbb colours, that mean this class in annotation images."
        " Empty: any bright value (above 127, or 1 in 0/1 masks) when there is one class, or one is"
        " annotated on the slide; else the class's place in the list, from 1.",
    )
    colour: Colour = Field(default="#00c853", description="Colour in overlays and QuPath.")

    @field_validator("values")
    @classmethod
    def _grey_values(cls, values: tuple[int | str, ...] | None) -> tuple[int | str, ...] | None:
        for value in values or ():
            if isinstance(value, int) and not 0 <= value <= 65535:
                raise ValueError(f"grey value {value} is none of 0 to 65535")
        return values


Classes = dict[str, ClassOptions]
"""Classes by name; the place in the order is the bit of the labels."""


class ColourAugmentation(Section):
    """Random changes of the colour of training tiles."""

    stain_jitter: Fraction = Field(
        default=0.05,
        description="Largest relative change of a dye's optical density; 0 switches it off.",
    )
    brightness_jitter: Fraction = Field(
        default=0.1, description="Largest relative change of brightness; 0 switches it off."
    )


class Augmentation(ColourAugmentation):
    """Random changes of the colour, sharpness and size of training tiles."""

    blur_sigma: Annotated[float, Field(ge=0, le=4)] = Field(
        default=1.0,
        description="Largest standard deviation of the Gaussian blur, working pixels; 0 switches it"
        " off.",
    )
    scale_jitter: Fraction = Field(
        default=0.2, description="Largest relative change of size; 0 switches it off."
    )


class CheckOptions(Section):
    """What `check` asks of a slide before anything is computed."""

    mpp: Positive = Field(
        default=0.5, description="Working resolution in micrometres per pixel (20x)."
    )
    mpp_tolerance: Annotated[float, Field(ge=0, lt=0.5)] = Field(
        default=0.15,
        description="Allowed relative gap between the working mpp and factor x slide mpp.",
    )


class ForegroundOptions(Section):
    """How tissue is told from glass, white or black."""

    cell: Annotated[Literal[8, 16, 32], Digits] = Field(
        default=16, description="Side of a cell of the map, working pixels."
    )
    saturation: Fraction | None = Field(
        default=None, description="Saturation above which a cell is tissue; empty: Otsu per slide."
    )
    black: Fraction = Field(
        default=0.06, description="Brightness at or below which a cell is background."
    )
    min_piece_mm2: Annotated[float, Field(ge=0)] = Field(
        default=0.005, description="Smaller pieces of tissue are dropped."
    )
    max_hole_mm2: Annotated[float, Field(ge=0)] = Field(
        default=0.02, description="Smaller holes in tissue (lumina, vessels) are filled."
    )
    margin: Annotated[int, Field(ge=0, le=16)] = Field(
        default=1, description="Cells by which the tissue is widened at the end."
    )


class TokenizerOptions(Section):
    """The VQGAN: a checkpoint, or what to train on the cohort's own foreground."""

    checkpoint: Path | None = Field(
        default=None,
        description="File or folder of a tokenizer of ours or of a published VQGAN; empty: train"
        " one. See the end of config/README.md.",
    )
    pixel_range: PixelRange | None = Field(
        default=None,
        description="Range of the pixels of a published VQGAN, where its files do not tell it.",
    )
    channels: Annotated[int, Field(ge=8, multiple_of=8)] = Field(
        default=64, description="Width of the first level."
    )
    multipliers: Annotated[tuple[Count, ...], Field(min_length=2, max_length=6)] = Field(
        default=(1, 2, 2, 4, 4), description="Width of each level; n levels give f = 2^(n-1)."
    )
    residual_blocks: Count = Field(default=2, description="Residual blocks a level.")
    codebook: Annotated[int, Field(ge=2, le=65534)] = Field(
        default=1024, description="Number of codes."
    )
    dimension: Count = Field(default=32, description="Length of a code.")
    tile: Annotated[int, Field(ge=64, multiple_of=64)] = Field(
        default=256, description="Side of a training tile, working pixels."
    )
    batch: Count = Field(default=8, description="Tiles a step.")
    steps: Count = Field(default=20_000, description="Steps of training.")
    learning_rate: Positive = Field(default=2e-4, description="Learning rate of both networks.")
    adversarial_start: Fraction = Field(
        default=0.5, description="Share of the steps after which the patch-GAN joins the L1 loss."
    )
    adversarial_weight: Annotated[float, Field(ge=0)] = Field(
        default=0.1, description="Weight of the patch-GAN loss beside the L1 loss."
    )
    augmentation: ColourAugmentation = Field(
        default=ColourAugmentation(stain_jitter=0.2),
        description="Random changes of the tiles that the tokenizer is trained on.",
    )
    calibration_tiles: Count = Field(
        default=64,
        description="Foreground tiles of the training slides that set the frozen statistics.",
    )
    calibration_tolerance: Positive = Field(
        default=1e-3, description="Largest relative change of a statistic at which the sweeps stop."
    )

    @model_validator(mode="after")
    def _range_of_a_checkpoint(self) -> "TokenizerOptions":
        if self.pixel_range is not None and self.checkpoint is None:
            raise ValueError("pixel_range belongs to a checkpoint, and none is given")
        return self


class TokensOptions(Section):
    """How a slide's token map is computed."""

    mode: Literal["frozen", "window", "online"] = Field(
        default="frozen",
        description="frozen: seam-free maps, for tokenizers without attention. window: squares of"
        " 256 px encoded by themselves, for tokenizers with attention. online: no maps, every tile"
        " is encoded when it is used.",
    )
    orientations: Annotated[Literal[1, 8], Digits] = Field(
        default=8, description="Orientations in which training slides are encoded."
    )
    appearances: Annotated[int, Field(ge=0, le=63)] = Field(
        default=7,
        description="Other looks (stain, brightness, blur, scale) in which training slides are"
        " encoded, beside their own. Orientations and looks advance together: encodings = the"
        " larger of orientations and 1 + appearances.",
    )
    augmentation: Augmentation = Field(
        default=Augmentation(),
        description="Random changes of the appearances in which training slides are encoded.",
    )
    block: Annotated[int, Field(ge=256, multiple_of=256)] = Field(
        default=2048,
        description="Side of the area encoded at a time, about, working pixels; larger takes"
        " more memory and less time.",
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        default="auto", description="Of the encoder; auto: bf16 on GPUs, fp32 on CPUs."
    )

    @property
    def variants(self) -> int:
        """Encodings of a training slide."""
        return max(self.orientations, 1 + self.appearances)

    @property
    def as_it_is(self) -> "TokensOptions":
        """The options of a slide that is encoded once, without what decides on variants."""
        return TokensOptions(
            mode=self.mode,
            orientations=1,
            appearances=0,
            block=self.block,
            precision=self.precision,
        )


class TrainOptions(Section):
    """How segmenters are trained, equally for all models."""

    tile: tuple[Annotated[int, Field(ge=64)], Annotated[int, Field(ge=64)]] = Field(
        default=(3840, 2160), description="Width and height of a training tile, working pixels."
    )
    sampler: Literal["random", "grid"] = Field(
        default="random", description="Anywhere in the foreground, or a fixed grid of tiles."
    )
    coverage: Positive = Field(
        default=1.0,
        description="How often an epoch covers the training foreground, in expectation.",
    )
    annotated_share: Fraction = Field(
        default=0.5, description="Share of tiles centred, with jitter, on annotated objects."
    )
    epochs: Count = Field(default=200, description="Epochs of training.")
    batch: Count = Field(default=8, description="Tiles a step, over all devices.")
    micro_batch: Count | None = Field(
        default=None,
        description="Tiles that a device computes at once, when the memory does not hold its share"
        " of a step; gradients of several such parts are added up. Empty: all.",
    )
    activation_checkpointing: bool = Field(
        default=False,
        description="Blocks of `holohisto` keep their input alone and compute the rest again in"
        " the backward pass: a fraction of the memory, about a third more time, the same result.",
    )
    devices: Count = Field(
        default=1,
        description="GPUs of one machine that share a step's tiles; the result is the same but"
        " for rounding, so a change reruns nothing.",
    )
    nodes: Count = Field(
        default=1,
        description="Machines of a SLURM job with `devices` GPUs each, that share a step's tiles"
        " likewise.",
    )
    patience: Annotated[int, Field(ge=0)] = Field(
        default=0, description="Epochs without a better validation Dice that end it; 0: never."
    )
    learning_rate: Positive = Field(default=2e-4, description="Highest learning rate.")
    weight_decay: Annotated[float, Field(ge=0)] = Field(
        default=0.05, description="Weight decay of AdamW."
    )
    warmup: Fraction = Field(
        default=0.05, description="Share of the steps with rising learning rate."
    )
    clip: Positive = Field(default=1.0, description="Largest norm of the gradient.")
    ema: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.999, description="Decay of the average."
    )
    validate_every: Count = Field(default=1, description="Epochs between validations.")
    orientations: Annotated[Literal[1, 8], Digits] = Field(
        default=8,
        description="Orientations of tiles read as pixels; those of cached tokens are"
        " `tokens.orientations`.",
    )
    token_dropout: Fraction = Field(
        default=0.3,
        description="Share of a tile's cached tokens that training leaves out, at random.",
    )
    channel_dropout: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.2,
        description="Share of the channels that training leaves out of `holohisto`, at random,"
        " where pixels and tokens meet and around the fusion of both stages.",
    )
    cutmix: Fraction = Field(
        default=0.0,
        description="Share of the pairs of training tiles that exchange a rectangle, so that what"
        " surrounds an object is not learnt by heart (CutMix); for long training on few slides.",
    )
    augmentation: Augmentation = Field(
        default=Augmentation(),
        description="Random changes of training tiles read as pixels. Cached tokens come in the"
        " appearances and scales of `tokens.augmentation`; stain, brightness and blur of the pixels"
        " beside them change here in addition.",
    )


class InferOptions(Section):
    """Whole-slide inference."""

    splits: Annotated[tuple[Split, ...], Field(min_length=1)] = Field(
        default=("val", "test", "predict"), description="Which slides are segmented."
    )
    tile: tuple[Annotated[int, Field(ge=64)], Annotated[int, Field(ge=64)]] = Field(
        default=(3840, 2160), description="Width and height of a tile, working pixels."
    )
    overlap: Annotated[float, Field(ge=0, le=0.75)] = Field(
        default=0.25, description="Share of a tile that its neighbour covers too."
    )
    threshold: Fraction = Field(
        default=0.5, description="Probability from which a pixel is the class."
    )


class MaskOptions(Section):
    """Delivered masks, outlines and overlays."""

    min_object_um2: Annotated[float, Field(ge=0)] = Field(
        default=500.0, description="Smaller objects are left out of masks and GeoJSON."
    )
    max_hole_um2: Annotated[float, Field(ge=0)] = Field(
        default=500.0, description="Smaller holes in objects are filled."
    )
    split_touching: dict[str, Annotated[float, Field(ge=0, le=0.95)]] = Field(
        default={"glomerulus": 0.7},
        description="Of each class of round objects: two that touch are cut apart where they are"
        " narrower than this share of the lesser one's width. Classes not named are left as they"
        " are.",
    )
    min_probability: dict[str, Annotated[float, Field(ge=0, lt=1)]] = Field(
        default={},
        description="Of each class: objects with a lower mean probability are left out. The report"
        " says what it would do on validation slides. Classes not named keep all.",
    )
    simplify_um: Annotated[float, Field(ge=0)] = Field(
        default=0.25, description="Largest shift of an outline when its points are thinned."
    )
    overlay_side: Annotated[int, Field(ge=200, le=8000)] = Field(
        default=1200, description="Longer side of the overlay picture, pixels."
    )
    ome: bool = Field(
        default=False, description="Also write each mask as OME-TIFF, `{slide}_{class}.ome.tif`."
    )
    gzip: bool = Field(default=False, description="Pack the outlines: `{slide}.geojson.gz`.")


class MetricsOptions(Section):
    """How masks are scored against annotations."""

    tile: tuple[Count, Count] = Field(
        default=(3840, 2160), description="Grid of the tile-level Dice, working pixels."
    )
    iou: Annotated[float, Field(ge=0.5, lt=1)] = Field(
        default=0.5,
        description="Overlap from which two objects are the same; >= 0.5 is one-to-one.",
    )
    boundary_um: Annotated[float, Field(ge=0, le=50)] = Field(
        default=2.0,
        description="Tolerance of the boundary F1: how far apart two outlines may run.",
    )
    protocol: Literal["kpis2024"] | None = Field(
        default=None,
        description="Also give the Dice as this challenge's scorer computes it, in columns of"
        " its own: `kpis2024`.",
    )


class CohortOptions(Section):
    """Statistics over the cohort."""

    alpha: Annotated[float, Field(gt=0, lt=0.5)] = Field(
        default=0.01, description="Level of the tests; the paper's is 0.01."
    )
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = Field(
        default=0.95, description="Confidence of the intervals."
    )
    bootstrap: Count = Field(default=2000, description="Resamples of an interval.")


class GalleryOptions(Section):
    """Pictures of typical fields and of the largest errors."""

    groups: Annotated[int, Field(ge=0)] = Field(
        default=6,
        description="Groups of which a typical field is shown beside every model: one field of the"
        " slide with the group's median Dice.",
    )
    field_um: Annotated[float, Field(ge=50, le=2000)] = Field(
        default=800.0, description="Side of such a field; at most 4096 px of the slide are read."
    )
    worst: Annotated[int, Field(ge=0)] = Field(
        default=4,
        description="Slides with the lowest Dice whose largest errors are shown; at most a third of"
        " the scored slides.",
    )
    errors: Annotated[int, Field(ge=1, le=20)] = Field(
        default=3, description="False positives, and false negatives, of each of them."
    )
    side: Annotated[int, Field(ge=100, le=1000)] = Field(
        default=320, description="Longer side of a picture, pixels; errors are not enlarged."
    )


class ReportOptions(Section):
    """The HTML report."""

    title: str = Field(default="HoloHisto cohort report", description="Heading of the report.")
    picture_side: Annotated[int, Field(ge=200, le=4000)] = Field(
        default=640, description="Longer side of the pictures in the report, pixels."
    )
