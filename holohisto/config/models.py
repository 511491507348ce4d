"""Options of each kind of model."""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from holohisto.config.fields import EXPERT, Count, FitPath, Section, TileSize
from holohisto.runtime.paths import fit_path


def _require_one_source(weights: Path | None, pretrained: Path | None) -> None:
    if weights and pretrained:
        raise ValueError("has both `weights` (a trained segmenter) and `pretrained` (its start)")


class HolohistoModel(Section):
    """The paper's segmenter over tokens, with the ablations of its Table 3."""

    kind: Literal["holohisto"] = Field(default="holohisto", description="The method's segmenter.")
    size: Literal["T", "S", "B"] = Field(default="S", description="Tiny, small or base.")
    embedding: Literal["tokens", "linear"] = Field(
        default="tokens",
        description="Input of the network. `tokens`: the codes of the token map. `linear`"
        " (ablation): a trained linear projection of 16 x 16 px squares.",
    )
    attention: Literal["relu", "softmax"] = Field(
        default="relu",
        description="`relu`: multi-scale ReLU linear attention. `softmax` (ablation): softmax"
        " attention at one scale.",
        json_schema_extra=EXPERT,
    )
    sampler: Literal["random", "grid"] | None = Field(
        default=None,
        description="Sampler of this model, instead of `train.sampler`.",
        json_schema_extra=EXPERT,
    )
    tile: TileSize | None = Field(
        default=None,
        description="Tile of this model, instead of `train.tile` and `infer.tile`. The batch is"
        " scaled so that a step has the pixels of `train.batch` tiles of `train.tile`.",
        json_schema_extra=EXPERT,
    )
    decoder: Literal["tokens", "rgb"] = Field(
        default="rgb",
        description="`tokens`: from the backbone alone. `rgb`: also skip connections from a small"
        " convolutional stem over the pixels, for crisp edges. Semantics come from the tokens,"
        " edges from the pixels: the backbone never sees the stem.",
    )
    weights: FitPath | None = Field(
        default=None,
        description="File of a trained segmenter to use, or `starter` for the one that comes with"
        " HoloHisto; it is not trained.",
    )
    pretrained: FitPath | None = Field(
        default=None,
        description="File of a segmenter, or `starter`, from whose weights the training starts. Its"
        " tokenizer must be the run's: `tokenizer.checkpoint`. Empty: random initialisation.",
    )

    @model_validator(mode="after")
    def _one_source(self) -> "HolohistoModel":
        _require_one_source(self.weights, self.pretrained)
        return self


class ColourThresholdModel(Section):
    """The weakest baseline: the best colour threshold on the training slides."""

    kind: Literal["colour_threshold"] = Field(
        default="colour_threshold", description="Colour threshold."
    )
    weights: FitPath | None = Field(
        default=None, description="File of a fitted threshold to use; it is not fitted."
    )


MICRO_BATCH = "Micro-batch: tiles computed at a time. Gradients accumulate over a step."


class PixelModel(Section):
    """A network over pixels, a row of the paper's Table 1."""

    tile: TileSize = Field(
        default=(1024, 1024),
        description="Width and height of a tile in training and inference, working pixels. The"
        " batch is scaled so that a step has the pixels of `train.batch` tiles of `train.tile`.",
    )
    micro_batch: Count = Field(default=4, description=MICRO_BATCH, json_schema_extra=EXPERT)
    reduction: Literal[1, 2, 4, 8] = Field(
        default=1,
        description="Factor by which a tile's sides are reduced before the network reads it, as if"
        " the slide had a lower magnification: with `check.mpp: 0.25` (40x), 2 is 20x and 4 is 10x."
        " `tile` remains in working pixels, labels and scores too.",
    )
    per_class: bool = Field(
        default=False,
        description="A binary network for each class, side by side in one model, instead of one"
        " network with a channel for each class.",
    )
    weights: FitPath | None = Field(
        default=None, description="File of a trained segmenter to use; it is not trained."
    )


class BackboneModel(PixelModel):
    """A network whose backbone may start from pretrained weights."""

    pretrained: FitPath | None = Field(
        default=None,
        description="File of pretrained weights from which the backbone starts. Empty: random"
        " initialisation.",
    )

    @model_validator(mode="after")
    def _one_source(self) -> "BackboneModel":
        _require_one_source(self.weights, self.pretrained)
        return self


class UnetModel(PixelModel):
    """U-Net with residual units (MONAI UNet)."""

    kind: Literal["unet"] = Field(default="unet", description="Residual U-Net.")
    channels: Annotated[tuple[Count, ...], Field(min_length=2, max_length=10)] = Field(
        default=(16, 32, 64, 128, 256),
        description="Channels of each level; every level after the first halves the resolution.",
    )


class DynunetModel(PixelModel):
    """nnU-Net's architecture (MONAI DynUNet)."""

    kind: Literal["dynunet"] = Field(default="dynunet", description="The network of nnU-Net.")
    channels: Annotated[tuple[Count, ...], Field(min_length=3, max_length=10)] = Field(
        default=(32, 64, 128, 256, 512, 512, 512, 512, 512),
        description="Channels of each level; every level after the first halves the resolution.",
    )


class TransformerModel(BackboneModel):
    """A vision transformer with a decoder."""

    size: Literal["toy", "full"] = Field(
        default="full", description="Size of the network; `toy` only tries out the workflow."
    )


class UnetrModel(TransformerModel):
    """Vision transformer with a convolutional decoder (MONAI UNETR)."""

    kind: Literal["unetr"] = Field(default="unetr", description="UNETR over a ViT-B.")


class SwinunetrModel(BackboneModel):
    """Swin transformer with a convolutional decoder (MONAI SwinUNETR, v2)."""

    kind: Literal["swinunetr_v2"] = Field(default="swinunetr_v2", description="SwinUNETR-V2.")
    channels: Annotated[int, Field(ge=12, multiple_of=12)] = Field(
        default=48, description="Channels of the first level."
    )


class SegformerModel(BackboneModel):
    """Mix transformer with an all-MLP decoder (transformers' SegFormer)."""

    kind: Literal["segformer"] = Field(default="segformer", description="SegFormer.")
    size: Literal["toy", "tiny", "b0", "b1", "b2", "b3", "b4", "b5"] = Field(
        default="b5",
        description="MiT backbone. `tiny` has half of b0's widths and about as many parameters as"
        " size T of `holohisto`; `toy` only tries out the workflow.",
    )


class DeeplabModel(BackboneModel):
    """Atrous pyramid over a ResNet."""

    kind: Literal["deeplabv3plus"] = Field(default="deeplabv3plus", description="DeepLabV3+.")
    size: Literal["toy", "resnet50", "resnet101"] = Field(
        default="resnet50", description="ResNet backbone; `toy` only tries out the workflow."
    )


class SamBaseModel(TransformerModel):
    """The image encoder of Segment Anything, ViT-B, with a light decoder."""

    kind: Literal["sam_vit_b"] = Field(default="sam_vit_b", description="SAM's encoder, ViT-B.")


class SamHugeModel(TransformerModel):
    """The image encoder of Segment Anything, ViT-H, with a light decoder."""

    kind: Literal["sam_vit_h"] = Field(default="sam_vit_h", description="SAM's encoder, ViT-H.")
    micro_batch: Count = Field(default=1, description=MICRO_BATCH, json_schema_extra=EXPERT)


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
    HolohistoModel | ColourThresholdModel | PixelOptions, Field(discriminator="kind")
]


def reads_tokens(model: ModelOptions) -> bool:
    """Return whether the input of a model is tokens."""
    return isinstance(model, HolohistoModel) and model.embedding == "tokens"


class MasksModel(Section):
    """Masks made by another tool, such as published results, compared as a model."""

    kind: Literal["masks"] = Field(default="masks", description="Masks made by another tool.")
    masks: str = Field(
        description="Path of each slide's mask, with {slide} for the slide's id. TIFF, PNG or"
        " GeoJSON, read like an annotation (`classes.NAME.values`) and scored without cleaning."
    )

    @field_validator("masks")
    @classmethod
    def _pattern(cls, masks: str) -> str:
        if "{slide}" not in masks:
            raise ValueError("must have {slide} where the slide's id stands")
        if re.search(r"[{}]", masks.replace("{slide}", "")):
            raise ValueError("has other { or } than those of {slide}")
        fit_path(Path(masks.replace("{slide}", "slide")))
        return masks

    def of(self, slide: str) -> Path:
        """Return the path of a slide's mask."""
        return Path(self.masks.replace("{slide}", slide))
