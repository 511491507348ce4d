"""The configuration: every option, its default, its limits and what it means."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from holohisto.errors import HolohistoError, SeveralErrors

NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_-]*$")
Split = Literal["train", "val", "test", "predict"]
PixelRange = Literal["-1..1", "0..1"]
Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Colour = Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")]

STAIN = "Largest relative change of a dye's optical density; 0: none."
BRIGHTNESS = "Largest relative change of brightness; 0: none."
BLUR = "Largest standard deviation of the blur, working pixels; 0: none."
SCALE = "Largest relative change of size; 0: none."
OF_TRAINING_TILES = " Of the tiles that it is trained on."
OF_PIXELS = " Of pixels, beside that of cached tokens' looks."


def _number(value: Any) -> Any:
    """Digits as a number: `--config` gives text, of which Literal knows no numbers."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value


Digits = BeforeValidator(_number)


class Section(BaseModel):
    """A frozen set of options; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


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
    stain: Fraction = Field(default=0.2, description=STAIN + OF_TRAINING_TILES)
    brightness: Fraction = Field(default=0.1, description=BRIGHTNESS + OF_TRAINING_TILES)
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
    dihedral: Annotated[Literal[1, 8], Digits] = Field(
        default=8, description="Orientations in which training slides are encoded."
    )
    looks: Annotated[int, Field(ge=0, le=63)] = Field(
        default=7,
        description="Other looks (stain, brightness, blur, scale) in which training slides are"
        " encoded, beside their own. Orientations and looks advance together: encodings = the"
        " larger of dihedral and 1 + looks.",
    )
    stain: Fraction = Field(default=0.05, description=STAIN)
    brightness: Fraction = Field(default=0.1, description=BRIGHTNESS)
    blur: Annotated[float, Field(ge=0, le=4)] = Field(default=1.0, description=BLUR)
    scale: Fraction = Field(default=0.2, description=SCALE)
    core: Annotated[int, Field(ge=256, multiple_of=256)] = Field(
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
        return max(self.dihedral, 1 + self.looks)

    @property
    def as_it_is(self) -> "TokensOptions":
        """The options of a slide that is encoded once, without what decides on variants."""
        return TokensOptions(
            mode=self.mode, dihedral=1, looks=0, core=self.core, precision=self.precision
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
    at_once: Count | None = Field(
        default=None,
        description="Tiles that a device computes at once, when the memory does not hold its share"
        " of a step; gradients of several such parts are added up. Empty: all.",
    )
    recompute: bool = Field(
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
    dihedral: Annotated[Literal[1, 8], Digits] = Field(
        default=8,
        description="Orientations of tiles read as pixels; of cached tokens see tokens.dihedral.",
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
    mixing: Fraction = Field(
        default=0.0,
        description="Share of the pairs of training tiles that exchange a rectangle, so that what"
        " surrounds an object is not learnt by heart (CutMix); for long training on few slides.",
    )
    stain: Fraction = Field(default=0.05, description=STAIN + OF_PIXELS)
    brightness: Fraction = Field(default=0.1, description=BRIGHTNESS + OF_PIXELS)
    blur: Annotated[float, Field(ge=0, le=4)] = Field(default=1.0, description=BLUR + OF_PIXELS)
    scale: Fraction = Field(
        default=0.2, description=SCALE + " Of tiles read as pixels; of cached tokens: tokens.scale."
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
    necks: dict[str, Annotated[float, Field(ge=0, le=0.95)]] = Field(
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

    level: Annotated[float, Field(gt=0, lt=0.5)] = Field(
        default=0.01, description="Level of the tests; the paper's is 0.01."
    )
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = Field(
        default=0.95, description="Confidence of the intervals."
    )
    bootstrap: Count = Field(default=2000, description="Resamples of an interval.")


class ExamplesOptions(Section):
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


class HolohistoModel(Section):
    """The paper's segmenter over tokens, and the ablations of its Table 3."""

    kind: Literal["holohisto"] = Field(default="holohisto", description="The method's segmenter.")
    size: Literal["T", "S", "B"] = Field(default="S", description="Tiny, small or base.")
    embedding: Literal["tokens", "linear"] = Field(
        default="tokens",
        description="What it reads: codes of the tokens, or (ablation) squares of 16 px brought to"
        " as many features by one linear map that is trained with the rest.",
    )
    attention: Literal["relu", "softmax"] = Field(
        default="relu",
        description="Multi-scale ReLU linear attention, or (ablation) softmax at one scale.",
    )
    sampler: Literal["random", "grid"] | None = Field(
        default=None, description="Of its own, over `train.sampler`."
    )
    tile: tuple[Annotated[int, Field(ge=64)], Annotated[int, Field(ge=64)]] | None = Field(
        default=None,
        description="Of its own, over `train.tile` and `infer.tile`. A step takes as many as give"
        " it the pixels of `train.batch` tiles of `train.tile`.",
    )
    decoder: Literal["tokens", "rgb"] = Field(
        default="rgb",
        description="Tokens alone, or with a small stem over the pixels, beside the tokens in the"
        " backbone and for crisp edges in the decoder.",
    )
    weights: Path | None = Field(
        default=None, description="A trained segmenter; its training is skipped."
    )


class ThresholdModel(Section):
    """The floor: the best colour threshold found on the training slides."""

    kind: Literal["threshold"] = Field(default="threshold", description="Reads pixels.")
    weights: Path | None = Field(
        default=None, description="A fitted threshold; its fitting is skipped."
    )


AT_ONCE = "Tiles computed at once; a step adds up the gradients of several such parts."


class PixelModel(Section):
    """A network over pixels, a row of the paper's Table 1."""

    tile: tuple[Annotated[int, Field(ge=64)], Annotated[int, Field(ge=64)]] = Field(
        default=(1024, 1024),
        description="Width and height of its tiles, in training and inference, working pixels."
        " A step takes as many as give it the pixels of `train.batch` tiles of `train.tile`.",
    )
    at_once: Count = Field(default=4, description=AT_ONCE)
    weights: Path | None = Field(
        default=None, description="A trained segmenter; its training is skipped."
    )


class BackboneModel(PixelModel):
    """A network whose backbone may start from pretrained weights."""

    init: Path | None = Field(
        default=None,
        description="File of pretrained weights that its backbone starts from; empty: scratch.",
    )

    @model_validator(mode="after")
    def _weights_need_no_start(self) -> "BackboneModel":
        if self.weights and self.init:
            raise ValueError("has both `weights` (a trained segmenter) and `init` (its start)")
        return self


class UnetModel(PixelModel):
    """U-Net with residual units (MONAI UNet)."""

    kind: Literal["unet"] = Field(default="unet", description="Residual U-Net.")
    channels: Annotated[tuple[Count, ...], Field(min_length=2, max_length=10)] = Field(
        default=(16, 32, 64, 128, 256),
        description="Width of each level; every level after the first halves the resolution.",
    )


class DynunetModel(PixelModel):
    """nnU-Net's architecture (MONAI DynUNet)."""

    kind: Literal["dynunet"] = Field(default="dynunet", description="The network of nnU-Net.")
    channels: Annotated[tuple[Count, ...], Field(min_length=3, max_length=10)] = Field(
        default=(32, 64, 128, 256, 512, 512, 512, 512, 512),
        description="Width of each level; every level after the first halves the resolution.",
    )


class UnetrModel(BackboneModel):
    """Vision transformer with a convolutional decoder (MONAI UNETR)."""

    kind: Literal["unetr"] = Field(default="unetr", description="UNETR over a ViT-B.")
    size: Literal["toy", "full"] = Field(
        default="full", description="`toy` is for trying out the workflow only."
    )


class SwinunetrModel(BackboneModel):
    """Swin transformer with a convolutional decoder (MONAI SwinUNETR, v2)."""

    kind: Literal["swinunetr_v2"] = Field(default="swinunetr_v2", description="SwinUNETR-V2.")
    channels: Annotated[int, Field(ge=12, multiple_of=12)] = Field(
        default=48, description="Width of the first level."
    )


class SegformerModel(BackboneModel):
    """Mix transformer with an all-MLP decoder (transformers' SegFormer)."""

    kind: Literal["segformer"] = Field(default="segformer", description="SegFormer.")
    size: Literal["toy", "b0", "b1", "b2", "b3", "b4", "b5"] = Field(
        default="b5", description="Its MiT backbone; `toy` is for trying out the workflow only."
    )


class DeeplabModel(BackboneModel):
    """Atrous pyramid over a ResNet."""

    kind: Literal["deeplabv3plus"] = Field(default="deeplabv3plus", description="DeepLabV3+.")
    size: Literal["toy", "resnet50", "resnet101"] = Field(
        default="resnet50", description="Its backbone; `toy` is for trying out the workflow only."
    )


class SamModel(BackboneModel):
    """The image encoder of Segment Anything with a light decoder."""

    size: Literal["toy", "full"] = Field(
        default="full", description="`toy` is for trying out the workflow only."
    )


class SamBaseModel(SamModel):
    """With the encoder ViT-B."""

    kind: Literal["sam_vit_b"] = Field(default="sam_vit_b", description="SAM's encoder, ViT-B.")


class SamHugeModel(SamModel):
    """With the encoder ViT-H."""

    kind: Literal["sam_vit_h"] = Field(default="sam_vit_h", description="SAM's encoder, ViT-H.")
    at_once: Count = Field(default=1, description=AT_ONCE)


PixelOptions = (
    UnetModel
    | DynunetModel
    | UnetrModel
    | SwinunetrModel
    | SegformerModel
    | DeeplabModel
    | SamBaseModel
    | SamHugeModel
)
ModelOptions = Annotated[
    HolohistoModel | ThresholdModel | PixelOptions, Field(discriminator="kind")
]


def reads_tokens(model: ModelOptions) -> bool:
    """Whether a model's input are tokens."""
    return isinstance(model, HolohistoModel) and model.embedding == "tokens"


class MasksModel(Section):
    """Masks from elsewhere, such as published results, that stand as a model."""

    kind: Literal["masks"] = Field(default="masks", description="Trains and infers nothing.")
    masks: str = Field(
        description="Path of each slide's mask, with {slide} for its id: TIFF, PNG or GeoJSON, read"
        " as annotations are (`classes.NAME.values`) and scored as it is, without cleaning."
    )

    @field_validator("masks")
    @classmethod
    def _pattern(cls, masks: str) -> str:
        if "{slide}" not in masks:
            raise ValueError("must have {slide} where the slide's id stands")
        if re.search(r"[{}]", masks.replace("{slide}", "")):
            raise ValueError("has other { or } than those of {slide}")
        return masks

    def of(self, slide: str) -> Path:
        """The file of a slide."""
        return Path(self.masks.replace("{slide}", slide))


class Config(Section):
    """Everything a run can be told; where and how fast it runs is in the profile."""

    slides: Path = Field(default=Path("config/slides.tsv"), description="The sample sheet.")
    scratch: str | None = Field(
        default=None,
        description="Folder on a disk of the node, such as `$TMPDIR` (filled in by each job), that"
        " `tokens` and `infer` copy the slide to first. Best set in the profile; reruns nothing.",
    )
    seed: Annotated[int, Field(ge=0)] = Field(
        default=0, description="Of everything random in training."
    )
    classes: Annotated[dict[str, ClassOptions], Field(min_length=1, max_length=8)] = Field(
        default={"glomerulus": ClassOptions()},
        description="Classes; bit i of the labels is class i.",
    )
    models: Annotated[
        dict[str, Annotated[ModelOptions | MasksModel, Field(discriminator="kind")]],
        Field(min_length=1),
    ] = Field(default={"holohisto": HolohistoModel()}, description="Models to train and compare.")
    reference: str | None = Field(
        default=None, description="The model that the others are tested against; empty: the first."
    )
    check: CheckOptions = CheckOptions()
    foreground: ForegroundOptions = ForegroundOptions()
    tokenizer: TokenizerOptions = TokenizerOptions()
    tokens: TokensOptions = TokensOptions()
    train: TrainOptions = TrainOptions()
    infer: InferOptions = InferOptions()
    mask: MaskOptions = MaskOptions()
    metrics: MetricsOptions = MetricsOptions()
    cohort: CohortOptions = CohortOptions()
    examples: ExamplesOptions = ExamplesOptions()
    report: ReportOptions = ReportOptions()

    @field_validator("classes", "models")
    @classmethod
    def _names(cls, value: dict[str, Any]) -> dict[str, Any]:
        """Names become file names."""
        for name in value:
            if not NAME.match(name):
                raise ValueError(f"name {name!r} must match {NAME.pattern}")
        if twins := [name for name in value if [n.lower() for n in value].count(name.lower()) > 1]:
            raise ValueError(f"names that differ only in case: {', '.join(twins)}")
        return value

    @model_validator(mode="after")
    def _reference_is_a_model(self) -> "Config":
        if self.reference is not None and self.reference not in self.models:
            raise ValueError(f"reference {self.reference!r} is not one of {sorted(self.models)}")
        return self

    @model_validator(mode="after")
    def _masks_are_of_classes(self) -> "Config":
        for key in ("necks", "min_probability"):
            unknown = sorted(set(getattr(self.mask, key)) - set(self.classes))
            if unknown and key in self.mask.model_fields_set:
                raise ValueError(
                    f"mask.{key} names {unknown[0]!r}, which is not one of {sorted(self.classes)}"
                )
        return self

    @property
    def reference_model(self) -> str:
        """Name of the model that the others are tested against."""
        return self.reference or next(iter(self.models))

    @property
    def computed(self) -> dict[str, ModelOptions]:
        """Models that are run; the others are masks from elsewhere."""
        return {n: m for n, m in self.models.items() if not isinstance(m, MasksModel)}

    @property
    def from_elsewhere(self) -> dict[str, MasksModel]:
        """Models that are masks from elsewhere."""
        return {n: m for n, m in self.models.items() if isinstance(m, MasksModel)}

    @property
    def over_tokens(self) -> list[str]:
        """Names of the models that read tokens."""
        return [name for name, model in self.computed.items() if reads_tokens(model)]

    def encodings(self, split: str) -> int:
        """Number of variants in the token map of a slide of this split; 0: it needs no map."""
        learning = [name for name in self.over_tokens if not self.computed[name].weights]
        taught = split in ("train", "val") and bool(learning)
        segmented = split in self.infer.splits and bool(self.over_tokens)
        if self.tokens.mode == "online" or not (taught or segmented):
            return 0
        return self.tokens.variants if split == "train" else 1


def parse(data: dict[str, Any], where: object = "config") -> Config:
    """Validate a configuration, reporting every mistake at once.

    Raises:
        HolohistoError: one line per mistake, `where: key: problem (found X)`.
    """
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        raise SeveralErrors([_line(where, item) for item in error.errors()]) from error


def read(path: Path) -> Config:
    """Read a YAML configuration file."""
    try:
        data = yaml.safe_load(path.read_text())
    except OSError as error:
        raise HolohistoError(path, f"cannot be read: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise HolohistoError(path, f"is not YAML: {error}") from error
    if not isinstance(data, dict):
        raise HolohistoError(path, "must hold a mapping of sections", found=type(data).__name__)
    return parse(data, path)


def _line(where: object, item: Any) -> str:
    parts = list(item["loc"])
    if parts[:1] == ["models"] and len(parts) > 2:
        del parts[2]  # the kind, which pydantic puts between a model's name and its key
    key = ".".join(str(part) for part in parts) or "(whole)"
    if item["type"] == "extra_forbidden":
        return f"{where}: {key}: unknown key; see config/README.md for the keys there are"
    if item["type"] == "union_tag_not_found":
        return f"{where}: {key}.kind: missing; it says what the model is, see config/README.md"
    problem = item["msg"].removeprefix("Value error, ")
    mappings = ("model_type", "dict_type", "model_attributes_type")
    if item["input"] is None and item["type"] in mappings:
        return f"{where}: {key}: empty; remove it or give it keys"
    if not item["loc"]:  # what was found is the whole configuration
        return f"{where}: {problem}"
    return f"{where}: {key}: {problem} (found {item['input']!r})"


def from_json(kind: Any) -> Callable[[str], Any]:
    """Return what reads options of this kind from a verb's JSON argument.

    Raises:
        HolohistoError: (from what is returned) one line per mistake.
    """

    def options(text: str) -> Any:
        try:
            return TypeAdapter(kind).validate_json(text)
        except ValidationError as error:
            lines = [_line("options", item) for item in error.errors()]
            raise SeveralErrors(lines) from error

    return options


def as_json(config: Config) -> dict[str, str]:
    """Each section as the JSON text that its verb reads.

    Defaults are in it too, so that a default changed by a new release reruns its step. `values` are
    the classes without their colours, which most steps have no use for; `train_tokens` is what of
    the tokens' options training goes by, beside the maps; `tokens_as_it_is` those of a slide that
    is not trained on, which is encoded once.
    """
    sections = config.model_dump(mode="json")
    sections["infer"].pop("splits")  # which slides, not how
    for speed_only in ("devices", "nodes", "recompute"):
        sections["train"].pop(speed_only)
    sections["train_tokens"] = {"mode": sections["tokens"]["mode"]}
    sections["tokens_as_it_is"] = config.tokens.as_it_is.model_dump(mode="json")
    sections["values"] = {
        name: {"values": one["values"]} for name, one in sections["classes"].items()
    }
    sections["as_it_is"] = sections["mask"] | {
        "min_object_um2": 0.0, "max_hole_um2": 0.0, "necks": {}, "min_probability": {}
    }  # fmt: skip
    return {name: json.dumps(value) for name, value in sections.items()}


def schema() -> str:
    """The JSON schema of the configuration, as committed in config/config.schema.json."""
    return json.dumps(Config.model_json_schema(), indent=2) + "\n"
