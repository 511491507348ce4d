"""Options of each kind of model."""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    Field,
    field_validator,
    model_validator,
)

from holohisto.config.fields import Count, Section


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


class ColourThresholdModel(Section):
    """The floor: the best colour threshold found on the training slides."""

    kind: Literal["colour_threshold"] = Field(
        default="colour_threshold", description="Reads pixels."
    )
    weights: Path | None = Field(
        default=None, description="A fitted threshold; its fitting is skipped."
    )


MICRO_BATCH = "Tiles computed at once; a step adds up the gradients of several such parts."


class PixelModel(Section):
    """A network over pixels, a row of the paper's Table 1."""

    tile: tuple[Annotated[int, Field(ge=64)], Annotated[int, Field(ge=64)]] = Field(
        default=(1024, 1024),
        description="Width and height of its tiles, in training and inference, working pixels."
        " A step takes as many as give it the pixels of `train.batch` tiles of `train.tile`.",
    )
    micro_batch: Count = Field(default=4, description=MICRO_BATCH)
    weights: Path | None = Field(
        default=None, description="A trained segmenter; its training is skipped."
    )


class BackboneModel(PixelModel):
    """A network whose backbone may start from pretrained weights."""

    pretrained: Path | None = Field(
        default=None,
        description="File of pretrained weights that its backbone starts from; empty: scratch.",
    )

    @model_validator(mode="after")
    def _weights_need_no_start(self) -> "BackboneModel":
        if self.weights and self.pretrained:
            raise ValueError(
                "has both `weights` (a trained segmenter) and `pretrained` (its start)"
            )
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
    micro_batch: Count = Field(default=1, description=MICRO_BATCH)


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
