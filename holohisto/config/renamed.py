"""Former names of configuration keys, so that an old configuration ends in a line that helps."""

from typing import Any

RENAMED = {
    "train.at_once": "train.micro_batch",
    "train.recompute": "train.activation_checkpointing",
    "train.mixing": "train.cutmix",
    "train.dihedral": "train.orientations",
    "train.stain": "train.augmentation.stain_jitter",
    "train.brightness": "train.augmentation.brightness_jitter",
    "train.blur": "train.augmentation.blur_sigma",
    "train.scale": "train.augmentation.scale_jitter",
    "tokenizer.stain": "tokenizer.augmentation.stain_jitter",
    "tokenizer.brightness": "tokenizer.augmentation.brightness_jitter",
    "tokenizer.calibration_tiles": "tokens.calibration_tiles",
    "tokens.dihedral": "tokens.orientations",
    "tokens.looks": "tokens.appearances",
    "tokens.core": "tokens.block",
    "tokens.stain": "tokens.augmentation.stain_jitter",
    "tokens.brightness": "tokens.augmentation.brightness_jitter",
    "tokens.blur": "tokens.augmentation.blur_sigma",
    "tokens.scale": "tokens.augmentation.scale_jitter",
    "models.*.at_once": "models.*.micro_batch",
    "models.*.init": "models.*.pretrained",
    "mask.necks": "mask.split_touching",
    "cohort.level": "cohort.alpha",
    "examples": "gallery",
}
"""Former name of a key -> present name; `*` stands for the name of a model."""
REPLACED = {
    "tokenizer.codebook": "tokenizer.levels",
    "tokenizer.dimension": "tokenizer.levels",
    "train.epochs": "train.steps",
    "train.coverage": "train.steps",
}
"""Former key -> present key that has another meaning."""
RENAMED_KINDS = {"threshold": "colour_threshold"}
"""Former kind of a model -> present kind."""


def new_name(key: list[Any]) -> str | None:
    """Return the present name of a former key, given as the list of its parts; else None."""
    parts = [str(part) for part in key]
    if parts[:1] == ["models"] and len(parts) > 2:
        new = RENAMED.get(".".join(["models", "*", *parts[2:]]))
        return new.replace("*", parts[1]) if new else None
    return RENAMED.get(".".join(parts))
