"""Options of the random changes of training tiles."""

from typing import Annotated

from pydantic import Field

from holohisto.config.fields import Fraction, Section


class ColourAugmentation(Section):
    """Random changes of the colour of training tiles."""

    channel_mixing: Fraction = Field(
        default=0.35,
        description="Largest share of the optical density of one colour that is mixed into another,"
        " in half of the tiles; the result is brought to the common stain. 0 disables it.",
    )
    greyscale_share: Fraction = Field(
        default=0.25, description="Share of the tiles in which all three colours are the same."
    )
    permutation_share: Fraction = Field(
        default=0.25, description="Share of the tiles whose colours are permuted."
    )
    stain_jitter: Fraction = Field(
        default=0.2,
        description="Largest relative change of the contrast and density of each colour around the"
        " common stain; 0 disables it.",
    )
    brightness_jitter: Fraction = Field(
        default=0.1, description="Largest relative change of brightness; 0 disables it."
    )


class Augmentation(ColourAugmentation):
    """Random changes of the colour, sharpness and size of training tiles."""

    blur_sigma: Annotated[float, Field(ge=0, le=4)] = Field(
        default=1.0,
        description="Largest standard deviation of the Gaussian blur, working pixels; 0 disables"
        " it.",
    )
    scale_jitter: Fraction = Field(
        default=0.2, description="Largest relative change of size; 0 disables it."
    )
